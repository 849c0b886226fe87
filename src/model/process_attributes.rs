//! Attributes that a process passes on to its children: umask, niceness, oom score, soft limits (fork(2), execve(2)).

use super::open_files;
use super::processors::Processors;
use rustix::fs::Mode;
use rustix::process::{
    Resource, Rlimit, geteuid, getpid, getpriority_process, getrlimit, setpriority_process, setrlimit, umask,
};
use serde::{Deserialize, Serialize};
use std::process::{Command, Stdio};

/// The resources that have a limit, by their numbers, each with its name.
const RESOURCES: [(Resource, &str); 16] = [
    (Resource::Cpu, "processor time"),
    (Resource::Fsize, "file size"),
    (Resource::Data, "data size"),
    (Resource::Stack, "stack size"),
    (Resource::Core, "core size"),
    (Resource::Rss, "resident memory"),
    (Resource::Nproc, "processes"),
    (Resource::Nofile, "open files"),
    (Resource::Memlock, "locked memory"),
    (Resource::As, "virtual memory"),
    (Resource::Locks, "file locks"),
    (Resource::Sigpending, "pending signals"),
    (Resource::Msgqueue, "message queues"),
    (Resource::Nice, "nice"),
    (Resource::Rtprio, "real-time priority"),
    (Resource::Rttime, "real-time processor time"),
];
/// Soft limits of a login where nobody sets others, of resources that this differs for.
const OF_LOGIN: [(Resource, u64); 3] = [(Resource::Stack, 8 << 20), (Resource::Core, 0), (Resource::Nofile, 1024)];
/// Resources whose soft limit is the hard one for a login.
const AS_HARD: [Resource; 6] =
    [Resource::Nproc, Resource::Memlock, Resource::Sigpending, Resource::Msgqueue, Resource::Nice, Resource::Rtprio];
/// Resources without a limit for a login.
const WITHOUT: [Resource; 7] =
    [Resource::Cpu, Resource::Fsize, Resource::Data, Resource::Rss, Resource::As, Resource::Locks, Resource::Rttime];
/// Soft limits that a supervisor takes on for itself, each from this value on, as it does nothing that they limit.
const HARMLESS: [(Resource, u64); 9] = [
    (Resource::Stack, 1 << 20),
    (Resource::Core, 0),
    (Resource::Rss, 0),
    (Resource::Nofile, 256),
    (Resource::Memlock, 0),
    (Resource::Locks, 1024),
    (Resource::Msgqueue, 0),
    (Resource::Nice, 0),
    (Resource::Rtprio, 0),
];
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Soft limits, in the order of the resources' numbers; None: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SoftLimits([Option<u64>; RESOURCES.len()]);

impl SoftLimits {
    /// No limits.
    pub const NONE: Self = Self([None; RESOURCES.len()]);
}

/// What a process passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessAttributes {
    pub umask: u32,
    pub nice: i32,
    pub oom_score: i32,
    pub limits: SoftLimits,
}

impl ProcessAttributes {
    /// Those of this process.
    pub fn own() -> Self {
        // The umask is read by setting it.
        let mask = umask(Mode::empty());
        umask(mask);
        Self {
            umask: mask.as_raw_mode(),
            nice: getpriority_process(None).unwrap_or(0),
            oom_score: own_oom_score(),
            limits: SoftLimits(RESOURCES.map(|(resource, _)| getrlimit(resource).current)),
        }
    }

    /// Those that this process can take on: its hard limits bind it.
    pub fn attainable(self) -> Self {
        let mut limits = self.limits;
        for (limit, (resource, _)) in limits.0.iter_mut().zip(RESOURCES) {
            *limit = at_most(*limit, getrlimit(resource).maximum);
        }
        Self { limits, ..self }
    }

    /// True if a process with these other attributes can't take them on for a child: it would be limited itself. The umask is not
    /// looked at.
    pub fn needs_child(&self, own: &Self) -> bool {
        let mut reached = Self { umask: self.umask, ..*own };
        for (at, limit) in self.limits.0.into_iter().enumerate() {
            if is_harmless(at, limit) {
                reached.limits.0[at] = limit;
            }
        }
        reached != *self
    }

    /// Takes on those limits of others that do no harm here, for children that begin from now on.
    pub fn take_on_harmless(&mut self, others: &Self) {
        for (at, limit) in others.limits.0.into_iter().enumerate() {
            if self.limits.0[at] != limit && is_harmless(at, limit) {
                let (resource, _) = RESOURCES[at];
                if setrlimit(resource, Rlimit { current: limit, ..getrlimit(resource) }).is_ok() {
                    self.limits.0[at] = limit;
                }
            }
        }
    }

    /// Takes them on, each as far as it is allowed.
    pub fn take_on(&self) {
        umask(Mode::from_raw_mode(self.umask));
        if getpriority_process(None).is_ok_and(|nice| nice != self.nice) {
            let _ = setpriority_process(None, self.nice);
        }
        if own_oom_score() != self.oom_score {
            let _ = std::fs::write(OOM_SCORE, self.oom_score.to_string());
        }
        for (wanted, (resource, _)) in self.attainable().limits.0.into_iter().zip(RESOURCES) {
            let limit = getrlimit(resource);
            if limit.current != wanted {
                let _ = setrlimit(resource, Rlimit { current: wanted, ..limit });
            }
        }
    }

    /// What of these attributes a child of this process can't have, in words.
    pub fn out_of_reach(&self) -> Vec<String> {
        let of = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
        let mut all = Vec::new();
        for (wanted, (resource, name)) in self.limits.0.into_iter().zip(RESOURCES) {
            let hard = getrlimit(resource).maximum;
            if at_most(wanted, hard) != wanted {
                all.push(format!("{name} {} (here {})", of(hard), of(wanted)));
            }
        }
        let nice = getpriority_process(None).unwrap_or(0);
        if nice > self.nice && !geteuid().is_root() {
            all.push(format!("niceness {nice} (here {})", self.nice));
        }
        let oom_score = own_oom_score();
        if oom_score > self.oom_score && !geteuid().is_root() {
            all.push(format!("oom score {oom_score} (here {})", self.oom_score));
        }
        all
    }
}

/// Does this limit of a resource, by its place in the list, not get in a supervisor's way?
fn is_harmless(at: usize, limit: Option<u64>) -> bool {
    let (of, _) = RESOURCES[at];
    HARMLESS.iter().any(|(resource, least)| *resource == of && limit.is_none_or(|limit| limit >= *least))
}

/// The lower of two limits.
fn at_most(limit: Option<u64>, hard: Option<u64>) -> Option<u64> {
    match (limit, hard) {
        (Some(limit), Some(hard)) => Some(limit.min(hard)),
        (limit, hard) => limit.or(hard),
    }
}

fn own_oom_score() -> i32 {
    std::fs::read_to_string(OOM_SCORE).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Takes on what a login has, as far as it is allowed, whatever the starter of this process had: processors, niceness, scheduling,
/// oom score, limits.
pub fn shed() {
    Processors::take_all();
    let nice = getpriority_process(None).unwrap_or(0);
    if nice > 0 || scheduling_policy() != Some(0) {
        shed_scheduling();
    }
    if nice != 0 {
        let _ = setpriority_process(None, 0);
    }
    if own_oom_score() != 0 {
        let _ = std::fs::write(OOM_SCORE, "0");
    }
    for resource in WITHOUT {
        raise(resource, None);
    }
    for resource in AS_HARD {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let _ = setrlimit(resource, Rlimit { current: limit.maximum, ..limit });
        }
    }
    for (resource, limit) in OF_LOGIN {
        raise(resource, Some(limit));
    }
    // What the children of this process are given.
    open_files::given();
}

/// Sets a soft limit, as near as the hard one allows; root may raise that one too.
fn raise(resource: Resource, wanted: Option<u64>) {
    let limit = getrlimit(resource);
    if limit.current == wanted {
        return;
    }
    let maximum = limit.maximum.zip(wanted).map(|(hard, wanted)| hard.max(wanted));
    let whole = Rlimit { current: wanted, maximum };
    if setrlimit(resource, whole).is_err() {
        let _ = setrlimit(resource, Rlimit { current: at_most(wanted, limit.maximum), ..limit });
    }
}

/// The scheduling policy of this process; 0 is the usual one (proc_pid_stat(5), field 41).
fn scheduling_policy() -> Option<u32> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(41 - 3)?.parse().ok()
}

/// Returns to the usual scheduling policy and input/output class, with the tools of util-linux where they are.
fn shed_scheduling() {
    let pid = getpid().as_raw_nonzero().to_string();
    for (tool, words) in [("chrt", ["-o", "-p", "0"].as_slice()), ("ionice", ["-c", "0", "-p"].as_slice())] {
        let mut command = Command::new(tool);
        let _ = command.args(words).arg(&pid).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_attributes_are_attainable_and_need_no_change() {
        let own = ProcessAttributes::own();
        assert_eq!(own.attainable(), own);
        assert!(!own.needs_child(&own));
        assert!(!ProcessAttributes { umask: 0o777, ..own }.needs_child(&own), "a umask is set by the parent");
        assert!(ProcessAttributes { nice: own.nice + 1, ..own }.needs_child(&own));
        let with = |resource: Resource, limit: Option<u64>| {
            let mut other = own;
            let at = RESOURCES.iter().position(|(known, _)| *known == resource).unwrap();
            other.limits.0[at] = limit;
            other
        };
        assert!(!with(Resource::Core, Some(7)).needs_child(&own), "a supervisor dumps no core");
        assert!(!with(Resource::Nofile, Some(300)).needs_child(&own));
        assert!(with(Resource::Nofile, Some(20)).needs_child(&own), "it has files open");
        assert!(with(Resource::Cpu, Some(1)).needs_child(&own));
        assert!(own.out_of_reach().is_empty(), "{:?}", own.out_of_reach());
    }

    #[test]
    fn limit_is_bound_by_the_hard_one() {
        assert_eq!(at_most(None, Some(5)), Some(5));
        assert_eq!(at_most(Some(9), Some(5)), Some(5));
        assert_eq!(at_most(Some(4), Some(5)), Some(4));
        assert_eq!(at_most(None, None), None);
    }

    #[test]
    fn attributes_survive_the_database() {
        let own = ProcessAttributes::own();
        assert_eq!(serde_json::from_str::<ProcessAttributes>(&serde_json::to_string(&own).unwrap()).unwrap(), own);
    }
}
