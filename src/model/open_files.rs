//! How many files a process may have open. A dispatcher needs some for every link, an agent for every run: each takes what it may
//! have, and hands down how many it was given, so that tasks do not see that we took more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// More is never needed, and some programs close all that they may have.
const MOST: u64 = 65_536;
/// With fewer a dispatcher does not begin: an agent, a link, a supervisor each need some.
pub const LEAST: u64 = 64;

static GIVEN: OnceLock<u64> = OnceLock::new();

/// Whoever started this process was given so many.
pub fn handed_down(files: u64) {
    let _ = GIVEN.set(files);
}

/// How many whoever began all this was given.
pub fn given() -> u64 {
    *GIVEN.get_or_init(|| getrlimit(Resource::Nofile).current.unwrap_or(MOST))
}

/// How many this process may have open now.
pub fn may_open() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(MOST)
}

/// How many a process that is started here could take by [`raise`].
pub fn attainable() -> u64 {
    let before = getrlimit(Resource::Nofile);
    raise();
    let may = may_open();
    // Lowering a limit is always allowed.
    let _ = setrlimit(Resource::Nofile, before);
    may
}

/// Takes as many as this process may have; root may have more than it was given.
pub fn raise() {
    given();
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < MOST) && rustix::process::geteuid().is_root() {
        let more = Rlimit { current: limit.current, maximum: Some(MOST) };
        // In a container root may be without that right.
        if setrlimit(Resource::Nofile, more).is_ok() {
            limit.maximum = Some(MOST);
        }
    }
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    if limit.current.is_some_and(|current| current < wanted) {
        // With fewer it works as well, for fewer runs.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit });
    }
}

/// Keeps to so many from here on, and with it what is started.
pub fn keep_to(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(limit.maximum.map_or(files, |most| files.min(most))), ..limit },
    );
}
