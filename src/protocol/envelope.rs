//! What travels from a client through both tiers: a task, sealed, with the little that the way needs outside.

use crate::model::id::TaskUuid;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};

/// The longest sealed task that travels, without the list of an array.
pub const ENVELOPE_MAX: usize = 1 << 20;
/// The longest list of an array that travels.
pub const LIST_MAX: usize = 64 << 20;

/// A task on its way. Outside the seal stands only what the way needs; a redirect uses none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub version: u32,
    pub uuid: TaskUuid,
    /// Counts the offers of this task; a commit belongs to a round.
    pub round: u32,
    /// The user that the receiving home authenticated; None: the home's owner.
    pub user: Option<Name>,
    /// How many homes it has passed.
    pub hops: u8,
    pub sealed: Sealed,
    /// The lines of an array of many: not in the seal, for who is only asked for an offer needs none of them.
    #[serde(default)]
    pub list: Option<Sealed>,
}

impl Envelope {
    /// May it travel to another home? Why not, if not.
    pub fn may_travel(&self) -> Result<(), String> {
        let bound = |what: &str, sealed: &Sealed, max: usize| match sealed.0.len() {
            len if len > max => Err(format!("{what} of {len} bytes: {max} at most may travel between homes")),
            _ => Ok(()),
        };
        bound("a task", &self.sealed, ENVELOPE_MAX)?;
        self.list.as_ref().map_or(Ok(()), |list| bound("a list", list, LIST_MAX))
    }

    /// For an offer: without the list.
    pub fn without_list(&self) -> Self {
        Self { list: None, sealed: self.sealed.clone(), user: self.user.clone(), ..*self }
    }
}

/// The task's bytes. Only [`super::seal`] opens them, and the first tier may not import that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(#[serde(with = "serde_bytes")] pub(super) Vec<u8>);

impl Sealed {
    /// Bytes as they came, whatever they hold.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, to be kept or passed on as they are.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}
