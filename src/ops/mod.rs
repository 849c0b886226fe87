//! The spine: one file a verb, each reads from top to bottom as the flow. Nothing here prints; every verb gives a report.

pub mod error;
pub mod home;
pub mod report;
pub mod submit;

pub use error::OpsError;
pub use home::Grid;
