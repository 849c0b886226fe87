pub mod matching;
pub mod model;
pub mod protocol;
