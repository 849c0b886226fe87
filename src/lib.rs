pub mod cli;
pub mod dispatch;
pub mod model;
pub mod ops;
pub mod protocol;
pub mod store;
