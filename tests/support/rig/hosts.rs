//! What is asked of one host: run this there, which processes are there.

use super::{Rig, UID, files, is_root, spaces};
use crate::support::{Done, process};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// The words that lead into a host or the switch, as its root.
pub fn enter(pid: i32) -> Vec<OsString> {
    let mut words: Vec<OsString> = ["nsenter", "--target"].map(OsString::from).to_vec();
    words.push(pid.to_string().into());
    words
        .extend((!is_root()).then_some(["--user", "--preserve-credentials"]).into_iter().flatten().map(OsString::from));
    words.extend(["--mount", "--net", "--uts", "--ipc", "--pid", "--wd=/"].map(OsString::from));
    words
}

/// The words by which root becomes the user of a host.
pub fn become_user() -> Vec<String> {
    let words = if is_root() {
        format!("setpriv --reuid {UID} --regid {UID} --clear-groups --bounding-set=-all --inh-caps=-all")
    } else {
        format!("unshare --user --map-user={UID} --map-group={UID}")
    };
    words.split(' ').map(str::to_owned).collect()
}

/// The pid of a host's first process, or of the switch, as this test sees it.
pub fn pid_of(dir: &Path, name: &str) -> i32 {
    let file = if name == "switch" { dir.join("switch.pid") } else { dir.join(name).join("pid") };
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    text.trim().parse().unwrap_or_else(|_| panic!("{name} is not up: {}", file.display()))
}

/// The words that lead to a shell's place on a host: its user, in $HOME, in an environment of its own.
pub fn log_in(dir: &Path, host: &str) -> Vec<OsString> {
    let user = files::user(host);
    let mut words = enter(pid_of(dir, host));
    words.extend(become_user().into_iter().map(OsString::from));
    words.extend(["env", "-i", "-C"].map(OsString::from));
    words.push(format!("/home/{user}").into());
    for (name, value) in
        [("HOME", &*format!("/home/{user}")), ("USER", user), ("LOGNAME", user), ("SHELL", "/bin/bash")]
    {
        words.push(format!("{name}={value}").into());
    }
    words.push("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into());
    words
}

impl Rig {
    /// A line for the shell of a host's root.
    #[track_caller]
    pub fn root(&self, host: &str, script: &str) -> Done {
        process::run(&mut self.command(host, ["bash", "-c", script]))
    }

    /// A command of a host's root (`switch` has one too).
    pub fn command<const N: usize>(&self, host: &str, words: [&str; N]) -> Command {
        let all = enter(pid_of(&self.dir, host));
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]).args(words);
        command.env("RIG", &self.dir).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command
    }

    /// Processes of a host, by the pid that this test sees, with their command lines; its first process is not among them.
    pub fn processes(&self, host: &str) -> Vec<(i32, String)> {
        let first = pid_of(&self.dir, host);
        let space = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(ours) = space(first) else { return Vec::new() };
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let mine = pids.filter(|pid| *pid != first && space(*pid).as_ref() == Some(&ours));
        mine.map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            (pid, String::from_utf8_lossy(&line).replace('\0', " "))
        })
        .collect()
    }

    /// Boots a host, for the first time or again, and starts its sshd.
    #[track_caller]
    pub fn boot(&self, host: &str) {
        let number = files::number(host).to_string();
        let _ = std::fs::remove_file(self.file(host, "pid"));
        process::run(&mut self.command("switch", ["bash", &self.script(), host, &number])).expect(0);
        self.start_sshd(host, &[]);
    }

    fn script(&self) -> String {
        self.dir.join("host.sh").display().to_string()
    }
}
