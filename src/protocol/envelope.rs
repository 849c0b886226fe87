//! What travels from a client through both tiers: a task, sealed, with the little that the way needs outside.

use crate::model::id::TaskUuid;
use crate::model::name::Name;
use serde::{Deserialize, Serialize};

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
