//! The fixture: a home, the binary, and what is asked of them.

use super::process::{self, HANG};
use super::{Done, rig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The program that tests run: the one of this build, unless GRID_TEST_PROGRAM names another, such as the one that is shipped. That
/// one has no fail points.
pub fn tested_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let other = std::env::var_os("GRID_TEST_PROGRAM").map(PathBuf::from);
        other.map_or_else(|| env!("CARGO_BIN_EXE_grid").into(), |path| path.canonicalize().expect("GRID_TEST_PROGRAM"))
    })
}

/// A grid of one test.
pub struct Grid {
    place: Place,
    home: PathBuf,
    /// Variables for every command; how fail points are armed.
    env: Vec<(String, String)>,
}

/// Where its commands are typed.
enum Place {
    /// On this machine, in a directory of the test's own.
    Here(TempDir),
    /// At a shell of a host of a rig.
    There { host: String, rig: PathBuf },
}

impl Grid {
    /// With a home whose dispatcher leaves soon. The server `local` has four slots on four declared processors, so that
    /// tests mean the same on every host.
    pub fn new() -> Self {
        let grid = Self::bare();
        grid.grid(["config", "set", "idle_exit", "2s"]).ok();
        grid
    }

    /// Without a home: the first command will make it.
    pub fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("grid-test-").tempdir().expect("a temporary directory");
        let home = dir.path().join("home");
        for part in ["user", "work"] {
            std::fs::create_dir(dir.path().join(part)).expect("a directory");
        }
        Self { place: Place::Here(dir), home, env: Vec::new() }
    }

    /// On a host of a rig, logged in, in $HOME. Paths are as seen from outside.
    pub fn on(host: &str, rig: &Path) -> Self {
        let home = rig.join(host).join("home/.local/share/grid");
        Self { place: Place::There { host: host.to_owned(), rig: rig.to_owned() }, home, env: Vec::new() }
    }

    /// GRID_HOME.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Another home under the same directory.
    pub fn at(mut self, home: impl Into<PathBuf>) -> Self {
        self.home = home.into();
        self
    }

    /// Where commands are typed.
    pub fn work(&self) -> PathBuf {
        match &self.place {
            Place::Here(dir) => dir.path().join("work"),
            Place::There { host, rig } => rig.join(host).join("home"),
        }
    }

    /// A path under the working directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// A variable for all commands from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// And without it again.
    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Any program, in the environment of this grid.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let dir = match &self.place {
            Place::Here(dir) => dir.path(),
            Place::There { host, rig } => {
                let words = rig::log_in(rig, host);
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).args(self.env.iter().map(|(name, value)| format!("{name}={value}")));
                command.arg(program);
                return command;
            }
        };
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("GRID_") || text.starts_with("XDG_") {
                command.env_remove(&name);
            }
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", tested_program().parent().expect("a directory").display()));
        command.env("HOME", dir.join("user")).env("GRID_HOME", &self.home).env_remove("LC_ALL");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.work());
        command
    }

    /// `grid` with these arguments, not started yet.
    pub fn typed<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let binary = match self.place {
            Place::Here(_) => tested_program(),
            Place::There { .. } => Path::new("grid"),
        };
        let mut command = self.command(binary);
        command.args(arguments);
        command
    }

    /// `grid` with these arguments, to its end.
    #[track_caller]
    pub fn grid<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Done {
        process::run(&mut self.typed(arguments))
    }

    /// The same, with something on its stdin.
    #[track_caller]
    pub fn grid_with<S: AsRef<OsStr>>(&self, input: &[u8], arguments: impl IntoIterator<Item = S>) -> Done {
        process::run_with(&mut self.typed(arguments), Some(input))
    }

    /// A line for the shell.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Done {
        process::run(self.command("sh").args(["-c", script]))
    }

    /// `grid` beside the test, with both outputs in pipes.
    #[track_caller]
    pub fn beside<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.typed(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("grid")
    }

    /// Submits and gives the id.
    #[track_caller]
    pub fn submit<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let mut command = self.typed(["submit", "--parsable"]);
        command.args(arguments);
        process::run(&mut command).ok()
    }

    /// Submits `true` with these options: the distributors of the way that it took.
    #[track_caller]
    pub fn route(&self, options: &[&str]) -> Value {
        let done = self.grid(["submit", "--json"].into_iter().chain(options.iter().copied()).chain(["--", "true"]));
        done.json()["route"].clone()
    }

    /// `show ID --json`.
    #[track_caller]
    pub fn show(&self, id: &str) -> Value {
        self.grid(["show", id, "--json"]).json()
    }

    /// `explain ID --json`.
    #[track_caller]
    pub fn explain(&self, id: &str) -> Value {
        self.grid(["explain", id, "--json"]).json()
    }

    /// The state of a task.
    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        self.show(id)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// How many tasks (members) the database holds.
    #[track_caller]
    pub fn tasks(&self) -> u64 {
        let status = self.grid(["status", "--json"]).json();
        status["counts"].as_object().map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
    }

    /// Until a task is in this state, for states that nothing tells of; ends are awaited by `grid wait`.
    #[track_caller]
    pub fn until_state(&self, id: &str, state: &str) {
        process::until(&format!("task {id} is {state}"), || self.state(id) == state);
    }

    /// Rows of the database, each an object, through the command.
    #[track_caller]
    pub fn sql(&self, query: &str) -> Vec<Value> {
        self.grid(["sql", "--json", query]).json().as_array().cloned().unwrap_or_default()
    }

    /// One number of the database.
    #[track_caller]
    pub fn number(&self, query: &str) -> i64 {
        let rows = self.sql(query);
        let value = rows.first().and_then(|row| row.as_object()?.values().next()?.as_i64());
        value.unwrap_or_else(|| panic!("no number: {query}: {rows:?}"))
    }

    /// An attribute of a server as its record has it now.
    #[track_caller]
    pub fn attribute(&self, server: &str, name: &str) -> Value {
        let shown = self.grid(["server", "show", server, "--json"]).json();
        shown["attributes"][name]["value"].clone()
    }

    /// The same, read anew.
    #[track_caller]
    pub fn measured(&self, server: &str, name: &str) -> f64 {
        self.grid(["server", "refresh", server]).ok();
        self.attribute(server, name).as_f64().unwrap_or_else(|| panic!("{server} has no number {name}"))
    }

    /// The pid of the dispatcher, if one runs.
    pub fn dispatcher(&self) -> Option<i32> {
        if !self.home.join("grid.db").exists() {
            return None;
        }
        let status = self.grid(["dispatcher", "status", "--json"]);
        let status: Value = serde_json::from_slice(&status.out).ok()?;
        status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
    }

    /// A FIFO under the working directory: a task that opens it waits for the test, and tells the test that it runs.
    #[track_caller]
    pub fn fifo(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()), "mkfifo {}", path.display());
        path
    }

    /// The lines of a file under the working directory; none where there is no file.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read(self.file(name)).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// Processes that were started for this home or by its tasks: those whose command line or environment names it.
    pub fn processes(&self) -> Vec<i32> {
        let Place::Here(dir) = &self.place else { return Vec::new() };
        let mark = dir.path().as_os_str().as_encoded_bytes();
        let me = std::process::id().cast_signed();
        let names_us = |path: String| std::fs::read(path).is_ok_and(|text| text.windows(mark.len()).any(|w| w == mark));
        let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| {
            *pid != me && (names_us(format!("/proc/{pid}/cmdline")) || names_us(format!("/proc/{pid}/environ")))
        })
        .collect()
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        // A rig takes its processes with it.
        let Place::Here(dir) = &mut self.place else { return };
        self.env.clear();
        if std::thread::panicking() {
            for log in ["dispatcher.log", "agent.log"] {
                let text = std::fs::read_to_string(self.home.join("run").join(log)).unwrap_or_default();
                eprintln!("--- {log}\n{text}");
            }
            if std::env::var_os("GRID_KEEP_TEST_HOMES").is_some() {
                dir.disable_cleanup(true);
                eprintln!("--- kept: {}", dir.path().display());
            }
        }
        if self.home.join("grid.db").exists() {
            let mut stop = self.typed(["dispatcher", "stop"]);
            stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(mut child) = stop.spawn()
                && process::wait_for(&mut child, HANG).is_none()
            {
                let _ = child.kill();
            }
        }
        // Whatever is left carries the path of this test's own directory: nobody else's process does.
        for round in [Signal::TERM, Signal::KILL, Signal::KILL] {
            for pid in self.processes().into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, round);
                if round == Signal::KILL {
                    process::wait_pid_gone(pid, HANG);
                }
            }
        }
    }
}
