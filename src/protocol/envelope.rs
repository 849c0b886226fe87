//! The envelope of a task between homes: the sealed task, and the few fields that routing needs outside of the seal.

use crate::model::id::TaskUuid;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};

/// Longest sealed task that is sent, in bytes, without the list of an array.
pub const ENVELOPE_MAX: usize = 1 << 20;
/// Longest list of an array that is sent, in bytes.
pub const LIST_MAX: usize = 64 << 20;

/// A task to be sent. Outside of the seal are only the fields that routing needs; a redirect uses none of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub version: u32,
    pub uuid: TaskUuid,
    /// The number of offers for this task so far; a commit belongs to a round.
    pub round: u32,
    /// The user that the receiving home authenticated; None: the home's owner.
    pub user: Option<Name>,
    /// How many homes it has passed.
    pub hops: u8,
    pub sealed: Sealed,
    /// The lines of a long array. They are outside of the seal because an offer needs none of them.
    #[serde(default)]
    pub list: Option<Sealed>,
}

impl Envelope {
    /// Checks whether it may be sent to another home. Gives the reason if not.
    pub fn may_travel(&self) -> Result<(), String> {
        let bound = |what: &str, sealed: &Sealed, max: usize| match sealed.0.len() {
            len if len > max => Err(format!("{what} of {len} bytes: {max} at most may travel between homes")),
            _ => Ok(()),
        };
        bound("a task", &self.sealed, ENVELOPE_MAX)?;
        self.list.as_ref().map_or(Ok(()), |list| bound("a list", list, LIST_MAX))
    }

    /// The envelope for an offer: without the list.
    pub fn without_list(&self) -> Self {
        Self { list: None, sealed: self.sealed.clone(), user: self.user.clone(), ..*self }
    }
}

/// The bytes of a task. Only [`super::seal`] opens them, and the first tier may not import that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(#[serde(with = "serde_bytes")] pub(super) Vec<u8>);

impl Sealed {
    /// Wraps received bytes, unchecked.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for storing or relaying unchanged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
