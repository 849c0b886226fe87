//! Ids as types, so that kinds of ids can't be confused.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

row_id!(
    /// The number of a task in its home, as people type it. Never reused.
    TaskId
);
row_id!(
    /// A server row of this home.
    ServerId
);
row_id!(
    /// A host (machine) that one or more servers of this home share.
    HostId
);
row_id!(
    /// A user row of this home.
    UserId
);
row_id!(
    /// A client row of this home.
    ClientId
);
row_id!(
    /// A distributor row of this home.
    DistributorId
);
row_id!(
    /// A class of tasks that are equal for the matcher.
    ClassId
);
row_id!(
    /// A place on a server that runs attempts one after the other; unique in a home.
    LaneId
);
row_id!(
    /// A machine that answered as a server.
    MachineId
);
row_id!(
    /// What tasks of one shell inherit, kept once.
    EnvironmentId
);

/// A task's identity between homes (uuid v7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskUuid(pub Uuid);

impl TaskUuid {
    /// A new uuid, ordered by time.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl Default for TaskUuid {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TaskUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The identity of a home; survives moves and restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HomeId(pub Uuid);

impl fmt::Display for HomeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the dispatchers that a home has had. An agent refuses a start below the highest it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The kernel's boot id of a host: pids are only valid within one boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl BootId {
    /// The boot id of this host.
    pub fn of_this_host() -> Self {
        #[cfg(feature = "failpoints")]
        if let Ok(stand_in) = std::env::var("GRID_TEST_BOOT_ID") {
            return Self(stand_in);
        }
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self(id.trim().to_owned())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A member of a task: 0 for a single task, else the array index or the line number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Index(pub u32);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key of a member in the database of its home. Written `TASK.INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey {
    pub task: TaskId,
    pub index: Index,
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.index)
    }
}

/// The key of an attempt in the database of its home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptKey {
    pub task: TaskId,
    pub index: Index,
    /// From 1.
    pub number: u32,
}

impl AttemptKey {
    /// Its member.
    pub const fn member(self) -> MemberKey {
        MemberKey { task: self.task, index: self.index }
    }

    /// Its id between homes, by that of its task.
    pub const fn id(self, task: TaskUuid) -> AttemptId {
        AttemptId { task, index: self.index, number: self.number }
    }
}

/// One start of one member on one server. Written `UUID.INDEX.NUMBER`; the number counts from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId {
    pub task: TaskUuid,
    pub index: Index,
    pub number: u32,
}

impl AttemptId {
    /// How the home keys it that numbers its task so.
    pub const fn key(self, task: TaskId) -> AttemptKey {
        AttemptKey { task, index: self.index, number: self.number }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.task, self.index, self.number)
    }
}

/// A text that is no attempt id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no attempt id (UUID.INDEX.NUMBER)")]
pub struct BadAttemptId(String);

impl FromStr for AttemptId {
    type Err = BadAttemptId;

    fn from_str(text: &str) -> Result<Self, BadAttemptId> {
        let bad = || BadAttemptId(text.to_owned());
        let mut parts = text.splitn(3, '.');
        let mut part = || parts.next().ok_or_else(bad);
        let task = TaskUuid(Uuid::parse_str(part()?).map_err(|_| bad())?);
        let index = Index(part()?.parse().map_err(|_| bad())?);
        let number = part()?.parse().map_err(|_| bad())?;
        Ok(Self { task, index, number })
    }
}
