//! Real hosts with a real sshd, on one machine: each in namespaces of its own, on one switch, with faults to order.
//!
//! `head` is where people log in and where `grid` is; `h1`, `h2`, .. are reached from there by plain `ssh h1`, and have nothing
//! installed. Several rigs run side by side. Root is not needed. All of it ends with the test, however that ends.

pub mod cable;
mod files;
mod hosts;
mod net;
mod power;
mod sshd;
mod storage;

pub use files::keygen;
pub use hosts::log_in;
pub use sshd::Killed;

use super::{Grid, process, skipped};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Whoever is logged in on a host; the same number everywhere, which is what one $HOME for all needs.
const UID: u32 = 2077;

/// Hosts that are up.
pub struct Rig {
    dir: PathBuf,
    plan: Plan,
    switch: Child,
    /// The switch, and with it every host, lives as long as this is open.
    tie: Option<ChildStdin>,
    /// Long cables, by their host.
    cables: Mutex<HashMap<String, Child>>,
}

/// Which hosts there are.
#[derive(Clone, Default)]
pub struct Plan {
    hosts: usize,
    one_home: Vec<String>,
    with_grid: Vec<String>,
    program: Option<PathBuf>,
}

impl Plan {
    /// `head`, and `h1` to `hN`.
    pub fn of(hosts: usize) -> Self {
        Self { hosts, with_grid: vec!["head".to_owned()], ..Self::default() }
    }

    /// These have one $HOME, as in a lab.
    pub fn one_home(mut self, hosts: &[&str]) -> Self {
        self.one_home = hosts.iter().map(|h| (*h).to_owned()).collect();
        self
    }

    /// These have `grid` on PATH too.
    pub fn with_grid(mut self, hosts: &[&str]) -> Self {
        self.with_grid.extend(hosts.iter().map(|h| (*h).to_owned()));
        self
    }

    /// `grid` is this program, not the one that was built for tests.
    pub fn program(mut self, grid: &Path) -> Self {
        self.program = Some(grid.to_owned());
        self
    }

    /// Boots them. None, after saying why, where this machine allows no namespaces or has no sshd.
    #[track_caller]
    pub fn up(self) -> Option<Rig> {
        if let Err(why) = possible() {
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            skipped(&test, &format!("no hosts here: {why}"));
            return None;
        }
        let dir = tempfile::Builder::new().prefix("grid-rig-").tempdir().expect("a temporary directory").keep();
        files::write(&dir, &self);
        // The outer shell outlives a test that was shot, and clears up after it.
        let mut command = Command::new("sh");
        let script = r#"unshare "$@" bash "$RIG/switch.sh"; rm -rf "$RIG""#;
        command.args(["-c", script, "sh"]).args(spaces()).env("RIG", &dir).process_group(0);
        let log = std::fs::File::create(dir.join("switch.log")).expect("a log");
        let mut switch =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().expect("a shell for the switch");
        let tie = switch.stdin.take();
        let mut line = String::new();
        let _ = BufReader::new(switch.stdout.take().expect("a pipe")).read_line(&mut line);
        assert_eq!(line, "up\n", "the switch: {}", std::fs::read_to_string(dir.join("switch.log")).unwrap_or_default());
        let rig = Rig { dir, plan: self, switch, tie, cables: Mutex::default() };
        std::thread::scope(|boots| {
            for host in rig.hosts() {
                let rig = &rig;
                boots.spawn(move || rig.boot(&host));
            }
        });
        Some(rig)
    }
}

impl Rig {
    /// `head`, and `h1` to `hN`, each with its own home; only the head has `grid`.
    #[track_caller]
    pub fn up(hosts: usize) -> Option<Self> {
        Plan::of(hosts).up()
    }

    /// All of them; the head first.
    pub fn hosts(&self) -> Vec<String> {
        self.plan.names()
    }

    /// A person at a shell on a host: what tests of one host ask of a [`Grid`] can be asked there.
    pub fn at(&self, host: &str) -> Grid {
        Grid::on(host, &self.dir)
    }

    /// What a host's $HOME holds, as seen from outside.
    pub fn home(&self, host: &str) -> PathBuf {
        self.dir.join(host).join("home")
    }

    /// Any file of the rig.
    fn file(&self, host: &str, name: &str) -> PathBuf {
        self.dir.join(host).join(name)
    }
}

impl Plan {
    fn names(&self) -> Vec<String> {
        std::iter::once("head".to_owned()).chain((1..=self.hosts).map(|k| format!("h{k}"))).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_logs();
        }
        drop(self.tie.take());
        if process::wait_for(&mut self.switch, process::HANG).is_none() {
            let _ = self.switch.kill();
        }
        for cable in self.cables.get_mut().into_iter().flat_map(|cables| cables.values_mut()) {
            let _ = cable.wait();
        }
    }
}

impl Rig {
    fn tell_logs(&self) {
        for host in self.hosts() {
            for log in ["boot.log", "sshd.log", "home/.local/share/grid/run/dispatcher.log"] {
                let text = std::fs::read_to_string(self.file(&host, log)).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(40).collect();
                if !tail.is_empty() {
                    let lines: Vec<&str> = tail.into_iter().rev().collect();
                    eprintln!("--- {host}: {log}\n{}", lines.join("\n"));
                }
            }
        }
    }
}

/// Namespaces of a switch or a host. Root of this machine needs no user namespace; anybody else becomes root of one.
fn spaces() -> Vec<&'static str> {
    let mut words = vec!["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child"];
    words.extend(["--propagation", "private"]);
    words.extend((!is_root()).then_some("--map-root-user"));
    words
}

/// Root of the machine itself, not of a user namespace.
fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.trim_end().ends_with("4294967295")
}

/// Can there be hosts here, and if not, why?
pub fn possible() -> &'static Result<(), String> {
    static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
    TRIED.get_or_init(|| {
        for (program, package) in
            [("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ip", "iproute2"), ("nsenter", "util-linux"), ("ethtool", "ethtool")]
        {
            if find(program).is_none() {
                return Err(format!("no {program}; .ci/setup installs it ({package})"));
            }
        }
        let script = "mount -t proc proc /proc && mount -t tmpfs tmpfs /run && PATH=$PATH:/sbin:/usr/sbin ip link add br0 type bridge";
        let tried = Command::new("unshare").args(spaces()).args(["sh", "-c", script]).stdin(Stdio::null()).output();
        match tried {
            Err(error) => Err(format!("unshare: {error}")),
            Ok(done) if done.status.success() => Ok(()),
            Ok(done) => Err(format!("namespaces: {}", String::from_utf8_lossy(&done.stderr).trim())),
        }
    })
}

/// A program of the system; sshd and ip are not on everybody's PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = path.split(':').chain(["/usr/sbin", "/sbin"]);
    dirs.map(|dir| Path::new(dir).join(program)).find(|file| file.is_file())
}
