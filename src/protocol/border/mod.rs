//! What every message from another process must be before anyone looks at it: whole, finite, bounded. [`frame`](super::frame)
//! decodes nothing that has no [`Message::check`], so a message that fails it never reaches whoever would store it.

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

/// A message that another process sends.
pub trait Message: DeserializeOwned {
    /// Cuts the texts that only people read ([`crate::model::bounds::cut`]): a long one is no fault. Runs before the check.
    fn cut(&mut self) {}

    /// Checks all of it that the types do not: lengths, depths, finite numbers, no NUL bytes. Runs once, when it is decoded.
    fn check(&self) -> Result<(), Unacceptable>;
}

/// A message whose form is right and whose content can't be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct Unacceptable {
    /// The field, as the message names it.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

/// Says of which field a check is.
pub(super) fn field<T>(field: &'static str, checked: Result<T, OutOfBounds>) -> Result<T, Unacceptable> {
    checked.map_err(|error| Unacceptable { field, fault: error.to_string() })
}
