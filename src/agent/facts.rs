//! Reads a host: /proc, /sys, and a few tools, each with a time limit.

use super::apps::{self, Versions};
use super::probe::ProbeRequest;
use super::prologue_probe::PrologueProbes;
use super::{cpus, gpus, memory, power};
use crate::model::ambient::Ambient;
use crate::model::attribute::Value;
use crate::model::facts::{Facts, Residing};
use crate::model::id::BootId;
use crate::model::resources::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A host, with what is kept between readings.
#[derive(Debug)]
pub struct Host {
    spool: PathBuf,
    boot: BootId,
    ticks: Option<cpus::Ticks>,
    prologues: PrologueProbes,
}

impl Host {
    /// Before the first reading.
    pub fn new(spool: &Path, boot: BootId) -> Self {
        Self { spool: spool.to_owned(), boot, ticks: None, prologues: PrologueProbes::default() }
    }

    /// Reads the host.
    pub fn read(&mut self, question: &ProbeRequest, ambient: &dyn Ambient) -> Facts {
        let mut complaints = Vec::new();
        let machine = machine();
        let usable = cpus::usable();
        // Before the tools and the score loop, which keep processors busy themselves.
        let idle_cpus = or_complain(cpus::idle(&mut self.ticks, usable), 0.0, "/proc/stat", &mut complaints);
        let load1 = or_complain(cpus::load1(), 0.0, "/proc/loadavg", &mut complaints);
        let memory = memory::total_and_available();
        let (mem_total, mem_available) = or_complain(memory, (Bytes(0), Bytes(0)), "/proc/meminfo", &mut complaints);
        let disk_free = rustix::fs::statvfs(&self.spool).map(|stat| Bytes(stat.f_bavail * stat.f_frsize));
        let disk_free = or_complain(disk_free.ok(), Bytes(0), "the spool's file system", &mut complaints);
        let score = power::core_score(&self.spool, &machine, &self.boot);
        let gpus = gpus::read(&mut complaints);
        let mut versions = Versions::kept(&self.spool);
        let (apps, any_asked) = apps::watched(&question.watch, None, &mut versions);
        if any_asked {
            versions.keep(&self.spool);
        }
        let (os, os_version) = os();
        let of_host: BTreeMap<Box<str>, Value> =
            os_version.map(|version| ("os_version".into(), Value::Text(version.into()))).into_iter().collect();
        let mut residing = Residing { apps, probed: of_host.clone() };
        if let Some(script) = &question.script {
            residing.probed.append(&mut apps::probe(script, None, &mut residing.apps, &mut complaints));
        }
        let behind = self.prologues.probe(question, &of_host, &mut complaints, ambient);
        let uname = rustix::system::uname();
        Facts {
            machine,
            boot: self.boot.clone(),
            hostname: hostname(),
            os,
            arch: uname.machine().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            cpus: usable,
            power: (f64::from(usable) * score * 10.0).round() / 10.0,
            load1,
            idle_cpus,
            mem_total,
            mem_available,
            disk_free,
            gpus,
            apps: residing.apps,
            probed: residing.probed,
            complaints,
            behind,
        }
    }
}

/// The protocol has no place for "not read": a value that claims no capacity, and a line that says so.
fn or_complain<T>(read: Option<T>, none: T, what: &str, complaints: &mut Vec<String>) -> T {
    read.unwrap_or_else(|| {
        complaints.push(format!("{what} can't be read"));
        none
    })
}

/// ID of /etc/os-release (`debian`, `ubuntu`, `rhel`), and VERSION_ID apart from it: expressions compare the first.
fn os() -> (String, Option<String>) {
    let text = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release"));
    parse_os(&text.unwrap_or_default())
}

fn parse_os(text: &str) -> (String, Option<String>) {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    (field("ID").unwrap_or_else(|| "linux".to_owned()), field("VERSION_ID"))
}

/// `/etc/machine-id` (or `host`) and the host name: cloned machines share the first, unnamed ones the second.
pub fn machine() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    match id.trim() {
        "" | "uninitialized" => format!("host-{}", hostname()),
        id => format!("{id}-{}", hostname()),
    }
}

/// As `uname -n` says it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_parsed_with_and_without_quotes() {
        assert_eq!(parse_os("NAME=x\nID=debian\nVERSION_ID=\"12\"\n"), ("debian".into(), Some("12".into())));
        assert_eq!(parse_os("ID='arch'\n"), ("arch".into(), None));
        assert_eq!(parse_os(""), ("linux".into(), None));
    }
}
