//! Checks of every message from another process, before it is used: complete, finite, bounded. [`frame`](super::frame) decodes
//! only types with a [`Message::check`], so that an unacceptable message is never stored.

mod agent;
mod dispatcher;
mod distributor;
mod launch;
mod supervisor;
mod task;

use crate::model::bounds::OutOfBounds;
use serde::de::DeserializeOwned;

pub use distributor::question;
pub use task::{Lines, MEMBERS_MAX};

/// A message from another process.
pub trait Message: DeserializeOwned {
    /// Cuts texts that only people read ([`crate::model::bounds::cut`]): a long one is no fault. Runs before the check.
    fn cut(&mut self) {}

    /// Checks what the types do not: lengths, depths, finite numbers, no NUL bytes. Runs once, when the message is decoded.
    fn check(&self) -> Result<(), Unacceptable>;
}

/// A decoded message with unacceptable content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct Unacceptable {
    /// The name of the field in the message.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

/// Adds the name of the field to the result of a check.
pub(super) fn field<T>(field: &'static str, checked: Result<T, OutOfBounds>) -> Result<T, Unacceptable> {
    checked.map_err(|error| Unacceptable { field, fault: error.to_string() })
}
