//! How many files a process may have open. A dispatcher needs some for every link, an agent for every run: each takes what it
//! may have, and what it starts is given what itself was given.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::process::Child;
use std::sync::OnceLock;

/// More is never needed, and some programs close all that they may have.
const MOST: u64 = 65_536;

static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many as this process may have.
pub fn raise() {
    let given = getrlimit(Resource::Nofile);
    let wanted = given.maximum.unwrap_or(MOST).min(MOST);
    let more = given.current.is_some_and(|current| current < wanted);
    if more && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..given }).is_ok() {
        let _ = GIVEN.set(given);
    }
}

/// A child has what this process was given: tasks must not see that we took more.
pub fn pass_on(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(given), Some(pid)) = (GIVEN.get(), pid) {
        // It has ended already: then it needs none.
        let _ = prlimit(Some(pid), Resource::Nofile, *given);
    }
}
