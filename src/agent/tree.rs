//! A process and its descendants: below a supervisor (a subreaper) none can escape.

use super::process::{self, Stat, is_ours};
use crate::model::attempt::ProcessId;
use crate::model::resources::Bytes;
use rustix::process::{Signal, WaitOptions, wait};
use std::collections::HashSet;

/// Each thread has a list of children of its own: from so many on, all of /proc is read instead.
const MOST_THREADS: usize = 500;

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

/// Resident memory of all descendants, as [`descendants`] defines them.
pub fn resident(of: i32) -> Bytes {
    let all = by_children(of).unwrap_or_else(|| descendants(of));
    let pages: u64 = all.iter().map(|s| s.rss_pages).sum();
    Bytes(pages * rustix::param::page_size() as u64)
}

/// The descendants by the kernel's lists of children: the cost grows with the descendants, not with the processes of the host. Good
/// enough to measure, not to stop them: a process that forks or ends meanwhile can hide another. None: the kernel has no such lists, or
/// all of /proc is read faster.
fn by_children(of: i32) -> Option<Vec<Stat>> {
    let mut threads = 0;
    let mut waiting = process::children(of, &mut threads)?;
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    while let Some(pid) = waiting.pop() {
        // An orphan moves into the list of a subreaper, which may be read after that of its parent.
        if !seen.insert(pid) {
            continue;
        }
        let Some(stat) = process::stat(pid).filter(|s| !s.zombie && !is_ours(pid)) else { continue };
        found.push(stat);
        waiting.extend(process::children(pid, &mut threads).unwrap_or_default());
        if threads > MOST_THREADS {
            return None;
        }
    }
    Some(found)
}

/// Sends a signal to each of them, as long as it is still that process.
pub fn signal_all(processes: &[ProcessId], signal: Signal) {
    for id in processes {
        process::signal(id, signal);
    }
}

/// Reaps the children that have ended. True: no children are left.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// A shell with a shell with a sleep, and its output, which ends with them.
    fn family() -> (std::process::Child, impl BufRead) {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'sleep 60 & echo; wait' & wait"]).process_group(0);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut String::new()).unwrap();
        (child, said)
    }

    #[test]
    fn lists_of_children_lead_to_the_same_descendants_as_all_of_proc() {
        let (mut child, _said) = family();
        let pid = i32::try_from(child.id()).unwrap();
        let pids = |found: Vec<Stat>| found.iter().map(|s| s.id.pid).collect::<BTreeSet<_>>();
        let all = pids(descendants(pid));
        assert_eq!(all.len(), 2);
        if let Some(found) = by_children(pid) {
            assert_eq!(pids(found), all);
            // This thread is not the first one of its process.
            let of_us = by_children(process::myself().pid);
            assert!(of_us.is_none_or(|found| pids(found).contains(&pid)));
        }
        assert!(resident(pid) > Bytes(0));
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }
}
