pub mod agent;
pub mod model;
pub mod protocol;
