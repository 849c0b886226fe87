//! A process and all that came from it: below a supervisor (a subreaper) nothing gets away.

use super::process::{self, Stat, is_ours};
use crate::model::attempt::ProcessId;
use crate::model::resources::Bytes;
use rustix::process::{Signal, WaitOptions, wait};
use std::collections::HashSet;

/// All living descendants of a process, except grid's own processes and what is below those.
pub fn descendants(of: i32) -> Vec<Stat> {
    let mut rest = process::all();
    let mut parents = HashSet::from([of]);
    let mut found = Vec::new();
    loop {
        let (children, others): (Vec<Stat>, Vec<Stat>) = rest.into_iter().partition(|s| parents.contains(&s.parent));
        if children.is_empty() {
            return found;
        }
        rest = others;
        let children: Vec<Stat> = children.into_iter().filter(|s| !s.zombie && !is_ours(s.id.pid)).collect();
        parents = children.iter().map(|s| s.id.pid).collect();
        found.extend(children);
    }
}

/// Resident memory of all descendants.
pub fn resident(of: i32) -> Bytes {
    let pages: u64 = descendants(of).iter().map(|s| s.rss_pages).sum();
    Bytes(pages * rustix::param::page_size() as u64)
}

/// Sends a signal to each of them, as long as it is still that process.
pub fn signal_all(processes: &[ProcessId], signal: Signal) {
    for id in processes {
        process::signal(id, signal);
    }
}

/// Buries what has ended. True: there are no children left at all.
pub fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}
