//! Reads a host: /proc, /sys, and a few tools, each within its time.

use crate::model::facts::Facts;
use crate::model::id::BootId;
use crate::model::resources::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A host, with what is remembered between readings.
#[derive(Debug)]
pub struct Host {
    spool: PathBuf,
    boot: BootId,
}

impl Host {
    /// Nothing is read yet.
    pub fn new(spool: &Path, boot: BootId) -> Self {
        Self { spool: spool.to_owned(), boot }
    }

    /// One reading.
    pub fn read(&mut self, _watch: &[String], _script: Option<&str>) -> Facts {
        let _ = &self.spool;
        Facts {
            machine: machine(),
            boot: self.boot.clone(),
            hostname: hostname(),
            os: String::new(),
            arch: String::new(),
            kernel: String::new(),
            cpus: 1,
            power: 1.0,
            load1: 0.0,
            idle_cpus: 0.0,
            mem_total: Bytes(0),
            mem_available: Bytes(0),
            disk_free: Bytes(0),
            gpus: Vec::new(),
            apps: BTreeMap::new(),
            probed: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }
}

/// `/etc/machine-id`, or a stand-in made of the host name.
pub fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match id.trim() {
        "" | "uninitialized" => format!("host-{}", hostname()),
        id => id.to_owned(),
    }
}

/// As `uname -n` says it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
