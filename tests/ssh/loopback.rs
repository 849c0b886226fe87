//! Without namespaces: one plain sshd on the loopback, for machines where [`Rig`](crate::support::Rig) has to be skipped (a container,
//! say). It has a $HOME of its own; host name, /tmp and processes are those of this machine. What a network does can't be
//! ordered here: sessions that break, a port at which nobody listens and a changed key can.

use crate::support::rig::{find, keygen};
use crate::support::{Grid, process, skipped};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

struct Loopback {
    grid: Grid,
    sshd: Option<Child>,
}

impl Loopback {
    /// None, after saying why, where there is no sshd or it lets nobody in.
    fn up(test: &str) -> Option<Self> {
        static TAKEN: AtomicU8 = AtomicU8::new(1);
        let mut grid = Grid::new();
        for program in ["sshd", "ssh"] {
            if find(program).is_none() {
                skipped(test, &format!("no {program}; .ci/setup installs it"));
                return None;
            }
        }
        // sshd as root wants it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let dir = grid.file("there");
        std::fs::create_dir_all(dir.join("home")).expect("a directory");
        keygen(&dir.join("key"));
        keygen(&dir.join("hostkey"));
        // The whole of 127/8 is ours: no two tests of this machine meet.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let address = format!("127.{}.{b}.{c}", 1 + (a ^ TAKEN.fetch_add(1, Ordering::Relaxed)) % 250);
        let path = dir.display();
        let put = |name: &str, text: &str| std::fs::write(dir.join(name), text).expect(name);
        // Its $HOME is no account's: every command is led there.
        put(
            "login",
            &format!("#!/bin/sh\nexport HOME='{path}/home'; cd && exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"\n"),
        );
        put(
            "sshd_config",
            &format!(
                "ListenAddress {address}\nPort 2222\nHostKey {path}/hostkey\nAuthorizedKeysFile {path}/key.pub\nForceCommand /bin/sh {path}/login\n\
                 PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            ),
        );
        put(
            "config",
            &format!(
                "Host one\n  HostName {address}\n  Port 2222\n  IdentityFile {path}/key\n  IdentitiesOnly yes\n\
                 \x20 UserKnownHostsFile {path}/known_hosts\n  GlobalKnownHostsFile none\n  HostKeyAlias one\n  KexAlgorithms curve25519-sha256\n"
            ),
        );
        grid.set_env("GRID_SSH_COMMAND", &format!("ssh -F {path}/config"));
        let mut up = Self { grid, sshd: None };
        up.know_key();
        up.start();
        if up.grid.sh("$GRID_SSH_COMMAND -o BatchMode=yes one true").code() != 0 {
            let log = std::fs::read_to_string(up.there("log")).unwrap_or_default();
            skipped(test, &format!("sshd lets nobody in here: {}", log.lines().last().unwrap_or_default()));
            return None;
        }
        up.grid.grid(["server", "import", "--config", &up.there("config").display().to_string(), "--yes"]).ok();
        Some(up)
    }

    fn there(&self, name: &str) -> PathBuf {
        self.grid.file("there").join(name)
    }

    /// The person has accepted the key that the host shows now.
    fn know_key(&self) {
        let key = std::fs::read_to_string(self.there("hostkey.pub")).expect("a key");
        std::fs::write(self.there("known_hosts"), format!("one {key}")).expect("known_hosts");
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.there("log")).expect("a log");
        let mut command = self.grid.command(find("sshd").expect("sshd"));
        command.args(["-D", "-e", "-f"]).arg(self.there("sshd_config")).stdin(Stdio::null()).stdout(Stdio::null());
        self.sshd = Some(command.stderr(log).spawn().expect("sshd"));
        process::until("sshd listens or has left", || {
            let log = std::fs::read_to_string(self.there("log")).unwrap_or_default();
            log.contains("Server listening")
                || self.sshd.as_mut().is_some_and(|s| s.try_wait().is_ok_and(|e| e.is_some()))
        });
    }

    /// Nobody gets in any more; who is in, is thrown out too.
    fn stop(&mut self) {
        let Some(mut sshd) = self.sshd.take() else { return };
        let sessions = children(sshd.id().cast_signed());
        sshd.kill().expect("a signal");
        sshd.wait().expect("its end");
        for pid in sessions.into_iter().filter_map(Pid::from_raw) {
            // Where sshd is root, the one that we want is a child of its.
            for pid in children(pid.as_raw_nonzero().get()).into_iter().filter_map(Pid::from_raw).chain([pid]) {
                let _ = kill_process(pid, Signal::KILL);
                process::wait_pid_gone(pid, process::HANG);
            }
        }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.stop();
    }
}

fn children(of: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    let ssh = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sshd"));
    pids.filter(|pid| parent(pid) == Some(of) && ssh(pid)).collect()
}

#[test]
fn a_task_on_the_loopback_is_as_at_home() {
    let Some(host) = Loopback::up("a task on the loopback") else { return };
    let script = "echo $HOME; echo loud >&2; exit 7";
    let done = host.grid.grid(["run", "-w", "one", "--cwd", "/", "--", "sh", "-c", script]).expect(7);
    assert_eq!((done.out(), done.err()), (format!("{}\n", host.there("home").display()), "loud\n".to_owned()));
    assert!(host.there("home/.cache/grid/bin").is_dir(), "installed there, not in the account's home");
}

#[test]
fn a_task_outlives_its_session_on_the_loopback() {
    let Some(mut host) = Loopback::up("a task that outlives its session on the loopback") else { return };
    let go = host.grid.fifo("go");
    let script = format!("echo $GRID_TASK_ID >> ran; echo first; read x < {}; echo last; exit 7", go.display());
    let home = host.there("home").display().to_string();
    let id = host.grid.submit(["-w", "one", "--cwd", &home, "--", "sh", "-c", &script]);
    host.grid.until_state(&id, "RUNNING");
    host.stop();
    process::until("it is told", || host.grid.show(&id)["reason"].as_str().is_some_and(|r| r.contains("last contact")));
    assert_eq!(host.grid.state(&id), "RUNNING");
    host.grid.sh(&format!("echo > {}", go.display())).ok();
    // It comes back with another key: that is not taken.
    for name in ["hostkey", "hostkey.pub"] {
        std::fs::remove_file(host.there(name)).expect("a key");
    }
    keygen(&host.there("hostkey"));
    host.start();
    host.grid.grid(["server", "refresh", "one"]).expect(1).says(&["host key has changed"]);
    assert_eq!(host.grid.state(&id), "RUNNING");
    host.know_key();
    host.grid.grid(["server", "refresh", "one"]).ok();
    host.grid.grid(["wait", &id]).expect(7);
    assert_eq!(host.grid.grid(["logs", &id]).ok(), "first\nlast");
    assert_eq!(std::fs::read_to_string(host.there("home/ran")).expect("a mark"), format!("{id}\n"));
}
