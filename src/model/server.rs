//! A server, on which tasks run.

use super::attribute::Attributes;
use super::id::{DistributorId, HostId, ServerId, TaskId};
use super::name::Name;
use super::resources::Bytes;
use super::ssh::SshTarget;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The attribute by which the owner allows others' tasks to run under the home's own account.
pub const SHARED_ACCOUNT: &str = "shared_account";

/// Why a server is drained while `grid server remove` or `grid uninstall` takes it away.
pub const BEING_REMOVED: &str = "it is being removed";
pub const BEING_UNINSTALLED: &str = "grid is being uninstalled";
/// The reasons of drains that no person resumes.
pub const PASSING_DRAINS: [&str; 2] = [BEING_REMOVED, BEING_UNINSTALLED];

/// How a server is driven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Engine {
    /// The agent is a child process on this host.
    Local,
    /// The agent is reached over ssh.
    Ssh(SshTarget),
    /// A group of servers; a task runs on one of them.
    Group { members: Vec<ServerId> },
}

impl Engine {
    /// The word that the database and JSON use.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh(_) => "ssh",
            Self::Group { .. } => "group",
        }
    }
}

/// Whether a server can be given tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Up,
    /// It was never reached.
    Unknown,
    /// It is not reached; why, and since when.
    Down {
        error: String,
        since: Timestamp,
    },
}

impl Health {
    /// The word that tables, JSON and the database use.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Unknown => "UNKNOWN",
            Self::Down { .. } => "DOWN",
        }
    }
}

/// Resources that running tasks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Taken {
    pub slots: u32,
    pub cpus: u32,
    pub mem: Bytes,
}

/// The processors and memory of one host, shared by all servers of this home on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    pub host: HostId,
    pub cpus: u32,
    pub mem_total: Bytes,
    /// Measured free memory; the matcher subtracts what is reserved and not yet used.
    pub mem_available: Bytes,
    pub taken: Taken,
    /// Cpus started less cpus ended since the last reading: corrects the measured load.
    pub started_since: i32,
    /// Memory reserved by what was started since the last reading.
    pub mem_since: i64,
    /// When the host was last read.
    pub read_at: Timestamp,
}

/// What is reserved on one server now, and on its host's pool since the last reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Booked {
    pub server: ServerId,
    pub taken: Taken,
    /// The task that it is reserved for.
    pub kept_for: Option<TaskId>,
    pub pool: Option<(Taken, i32, i64)>,
}

/// A server with all that matching needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub id: ServerId,
    pub name: Name,
    pub distributor: DistributorId,
    pub distributor_name: Name,
    pub engine: Engine,
    pub health: Health,
    /// Drained, with the reason (may be empty).
    pub drained: Option<String>,
    /// Tasks that may run at once: declared with `--slots`, else the cpus.
    pub slots: u32,
    /// The part of the pool's cpus that this server may use: declared with `--cpus`, else all.
    pub cpus: u32,
    /// The part of the pool's memory: declared with `--mem`, else all.
    pub mem: Bytes,
    pub taken: Taken,
    /// No tasks are started while the load is at or above this.
    pub max_load: Option<f64>,
    /// CEL: which tasks the server accepts.
    pub accepts: Option<String>,
    /// The oldest task that waits too long, for which the server is reserved.
    pub kept_for: Option<TaskId>,
    /// None until the host was read once, and for groups.
    pub pool: Option<Pool>,
    /// All effective attributes: built-in ones and declared ones, a declared value before a probed one.
    pub attributes: Attributes,
}
