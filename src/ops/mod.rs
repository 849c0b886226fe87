//! The spine: one file a verb, each reads from top to bottom as the flow. Nothing here prints; every verb gives a report.

pub mod attributes;
pub mod cancel;
pub mod clients;
pub mod dispatcher;
pub mod distributors;
pub mod doctor;
pub mod draft;
pub mod error;
pub mod explain;
pub mod expressions;
pub mod follow;
pub mod gc;
pub mod hold;
pub mod home;
pub mod logs;
pub mod profiles;
pub mod refresh;
pub mod release;
pub mod report;
pub mod retry;
pub mod selecting;
pub mod servers;
pub mod settings;
pub mod show;
pub mod sql;
pub mod status;
pub mod submit;
pub mod users;
pub mod wait;

pub use error::OpsError;
pub use home::Grid;

#[cfg(test)]
pub mod fixture;

#[cfg(test)]
mod reports_test;
