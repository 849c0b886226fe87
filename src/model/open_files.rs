//! The limit of open files. A dispatcher needs files for every link, an agent for every run: each raises the limit as far as it
//! may, and hands down the limit that it was given, so that tasks do not get the raised one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// The highest limit that is set: more is never needed, and some programs close every file up to the limit.
const MOST: u64 = 65_536;
/// The lowest limit with which a dispatcher starts: an agent, a link, a supervisor each need some.
pub const LEAST: u64 = 64;

static GIVEN: OnceLock<u64> = OnceLock::new();

/// Records the limit that the starter of this process was given.
pub fn handed_down(files: u64) {
    let _ = GIVEN.set(files);
}

/// The limit that the first process of the chain was given.
pub fn given() -> u64 {
    *GIVEN.get_or_init(|| getrlimit(Resource::Nofile).current.unwrap_or(MOST))
}

/// The current limit of this process.
pub fn may_open() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MOST)
}

/// The limit that a process started here could reach by [`raise`].
pub fn attainable() -> u64 {
    let before = getrlimit(Resource::Nofile);
    raise();
    let may = may_open();
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Nofile, before);
    may
}

/// Raises the limit as far as this process may; root may exceed the one it was given.
pub fn raise() {
    given();
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < MOST) && rustix::process::geteuid().is_root() {
        let more = Rlimit { current: limit.current, maximum: Some(MOST) };
        // Root may lack that right in a container.
        if setrlimit(Resource::Nofile, more).is_ok() {
            limit.maximum = Some(MOST);
        }
    }
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < wanted) {
        // A lower limit works too, for fewer runs.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

/// Lowers the limit for this process and those that it starts.
pub fn keep_to(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(limit.maximum.map_or(files, |most| files.min(most))), ..limit },
    );
}
