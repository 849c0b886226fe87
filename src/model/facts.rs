//! The facts that an agent reads of its host.

use super::demand::Version;
use super::id::BootId;
use super::name::Name;
use super::resources::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One reading of a host. What could not be read is absent, never guessed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// `/etc/machine-id` and the host name: what no two machines share.
    pub machine: String,
    pub boot: BootId,
    pub hostname: String,
    pub os: String,
    pub arch: String,
    pub kernel: String,
    /// Logical processors that this process may use (affinity and cgroup quota considered).
    pub cpus: u32,
    /// Computing power: `cpus` times the measured score of one core. Unit: million rounds per second of the score loop.
    pub power: f64,
    /// One-minute load average.
    pub load1: f64,
    /// Idle cores, measured over the interval since the agent's last reading (or 100 ms).
    pub idle_cpus: f64,
    pub mem_total: Bytes,
    pub mem_available: Bytes,
    /// Free bytes on the file system of the spool.
    pub disk_free: Bytes,
    pub gpus: Vec<Gpu>,
    /// Applications found: on PATH from the watch list, or printed by the probe script as `app.NAME=VERSION`.
    pub apps: BTreeMap<Name, Option<Version>>,
    /// Open attributes that the probe script printed as `name=value`.
    pub probed: BTreeMap<Box<str>, super::attribute::Value>,
    /// What could not be read and why, one line each.
    pub complaints: Vec<String>,
    /// Applications and attributes after each prologue that was asked for, by its lines.
    #[serde(default)]
    pub behind: BTreeMap<String, Residing>,
}

/// Applications and attributes of an environment, as [`Facts::apps`] and [`Facts::probed`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Residing {
    pub apps: BTreeMap<Name, Option<Version>>,
    pub probed: BTreeMap<Box<str>, super::attribute::Value>,
}

impl Facts {
    /// Applications and attributes for tasks of a server with this prologue. Older agents read them without a prologue only.
    pub fn residing(&self, prologue: Option<&str>) -> Residing {
        let behind = prologue.and_then(|lines| self.behind.get(lines)).cloned();
        behind.unwrap_or_else(|| Residing { apps: self.apps.clone(), probed: self.probed.clone() })
    }
}

/// A graphics processor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    pub model: String,
    pub memory: Bytes,
    pub memory_used: Bytes,
    /// True if a process, not necessarily of a task of ours, uses it.
    pub in_use: bool,
}
