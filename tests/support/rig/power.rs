//! A host that stands still, one that is busy, and one that goes out.

use super::{Rig, hosts};
use crate::support::process;
use rustix::process::{Pid, Signal, kill_process};

impl Rig {
    /// Every process of a host stands still; its kernel still answers, as that of a host that swaps itself to death.
    #[track_caller]
    pub fn freeze(&self, host: &str) {
        self.signal_all(host, Signal::STOP);
    }

    /// And goes on.
    #[track_caller]
    pub fn thaw(&self, host: &str) {
        self.signal_all(host, Signal::CONT);
    }

    fn signal_all(&self, host: &str, signal: Signal) {
        // Twice: what was forked while the first round went through the list.
        for _ in 0..2 {
            for (pid, _) in self.processes(host) {
                if let Some(pid) = Pid::from_raw(pid) {
                    let _ = kill_process(pid, signal);
                }
            }
        }
    }

    /// The power goes: nothing is said to anybody, no connection is closed. The home stays.
    #[track_caller]
    pub fn crash(&self, host: &str) {
        self.cut(host);
        let first = hosts::pid_of(&self.dir, host);
        let first = Pid::from_raw(first).expect("a pid");
        kill_process(first, Signal::KILL).expect("the first process of a host");
        assert!(process::wait_pid_gone(first, process::HANG), "{host} does not go out");
        self.unplug(host);
    }

    /// What a host says its load is: hosts of one kernel have one load, so it is a stand-in. None: the kernel's own again.
    #[track_caller]
    pub fn load(&self, host: &str, load1: Option<f64>) {
        let script = match load1 {
            Some(load) => format!(
                "echo {load:.2} {load:.2} {load:.2} 1/100 1 >/run/loadavg
                 grep -q ' /proc/loadavg ' /proc/mounts || mount --bind /run/loadavg /proc/loadavg"
            ),
            None => "umount /proc/loadavg".to_owned(),
        };
        self.root(host, &script).expect(0);
    }

    /// Shoots processes of a host by a part of their command line; how many there were.
    #[track_caller]
    pub fn shoot(&self, host: &str, part: &str) -> usize {
        let hit: Vec<_> = self.processes(host).into_iter().filter(|(_, line)| line.contains(part)).collect();
        for pid in hit.iter().filter_map(|(pid, _)| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, Signal::KILL);
            process::wait_pid_gone(pid, process::HANG);
        }
        hit.len()
    }
}
