//! What can be the matter with sshd and with logins.

use super::{Rig, files, find, hosts};
use crate::support::process;
use rustix::process::{Pid, Signal, kill_process};

/// Which part of sshd is shot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// Nobody gets in any more; who is in stays.
    Listener,
    /// Who is in is thrown out.
    Sessions,
    All,
}

impl Rig {
    /// Starts the listener with options as in sshd_config ("MaxStartups 2:100:3"); one that runs is ended first.
    #[track_caller]
    pub fn start_sshd(&self, host: &str, options: &[&str]) {
        self.kill_sshd(host, Killed::Listener);
        let sshd = find("sshd").expect("sshd").display().to_string();
        let script = r#"
            "$@" </dev/null >/dev/null 2>>/run/sshd.log & pid=$!
            until [ -n "$(ss -Hltn 'sport = :22')" ]; do kill -0 $pid || exit 1; sleep 0.01; done"#;
        let mut command = self.command(host, ["bash", "-c", script, "bash"]);
        command.args(hosts::become_user()).args(["setsid", &sshd, "-D", "-e"]);
        command.args(options.iter().flat_map(|option| ["-o", option]));
        let done = process::run(&mut command);
        let log = || std::fs::read_to_string(self.file(host, "sshd.log")).unwrap_or_default();
        assert_eq!(done.code(), 0, "sshd on {host}: {done:?}\n{}", log());
    }

    /// Shoots sshd, or a part of it.
    #[track_caller]
    pub fn kill_sshd(&self, host: &str, which: Killed) {
        for (pid, line) in self.processes(host) {
            // "sshd: /usr/sbin/sshd -D .. [listener]", "sshd: grid@notty", "sshd: grid [priv]"; of newer versions "sshd-session: .."
            let listener = line.contains("[listener]") || line.contains("sshd -D");
            let session = !listener && (line.starts_with("sshd: ") || line.starts_with("sshd-"));
            let hit = match which {
                Killed::Listener => listener,
                Killed::Sessions => session,
                Killed::All => listener || session,
            };
            if let Some(pid) = Pid::from_raw(pid).filter(|_| hit) {
                let _ = kill_process(pid, Signal::KILL);
                assert!(process::wait_pid_gone(pid, process::HANG), "{line} does not end");
            }
        }
    }

    /// As after a new installation: the host has another key.
    #[track_caller]
    pub fn new_host_key(&self, host: &str) {
        let key = self.file(host, "etc/ssh/hostkey");
        for file in [key.clone(), key.with_extension("pub")] {
            std::fs::remove_file(file).expect("the old key");
        }
        files::keygen(&key);
        self.give_to_user(&key);
        self.start_sshd(host, &[]);
    }

    /// The login shell of a host's user.
    pub fn shell(&self, host: &str, shell: &str) {
        // Written in place: the host has this very file mounted.
        std::fs::write(self.file(host, "etc/passwd"), files::passwd(files::user(host), shell)).expect("passwd");
    }

    /// A file in a host's home, for its user: `.bashrc`, `.ssh/config`.
    #[track_caller]
    pub fn put(&self, host: &str, name: &str, text: &str) {
        let path = self.home(host).join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.give_to_user(&path);
    }

    fn give_to_user(&self, path: &std::path::Path) {
        if super::is_root() {
            std::os::unix::fs::chown(path, Some(super::UID), Some(super::UID)).expect("chown");
        }
    }
}
