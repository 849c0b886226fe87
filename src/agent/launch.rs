//! Makes a command that can be spawned out of a start: finds the program, composes the environment.

use super::inheriting;
use super::prologue::Variables;
use crate::model::command::{Environment, Text, fill};
use crate::model::inherited::{EnvironmentBlock, PREFIXES};
use crate::model::max_output::MaxOutput;
use crate::model::process_attributes::ProcessAttributes;
use crate::model::resources::Bytes;
use crate::protocol::agent::{Refusal, Start, StartMember};
use rustix::fs::{Access, Mode, access};
use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A start, with what is the same for all of its members worked out once.
#[derive(Debug)]
pub struct LaunchPlan {
    start: Start,
    path: Option<OsString>,
    /// Variables of a virtual environment whose directories are not here.
    without: Vec<String>,
    /// The environment after the server's prologue.
    base: Option<Variables>,
    /// The attributes that the commands inherit; None: those of this process.
    attributes: Option<ProcessAttributes>,
    /// A child has to take them on by itself.
    by_child: bool,
    through_shell: bool,
    /// What the members read; None is /dev/null.
    stdin: Option<File>,
    /// Members without an entry of their own differ in three variables only, so they share a command.
    shared: Option<Result<Command, Unexecutable>>,
}

/// Why a program can't be executed, with the exit code that a shell gives then.
#[derive(Debug, Clone)]
pub struct Unexecutable {
    pub code: u8,
    pub error: String,
}

impl Unexecutable {
    /// 127: there is no such program; 126: there is, but it can't be executed.
    pub fn of(program: &Path, error: &io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
        Self { code, error: format!("{}: {error}", program.display()) }
    }
}

impl LaunchPlan {
    /// `run_dir` is where the members' stdin is kept, in a file without a name; `base` the environment where it is not our own.
    pub fn new(start: Start, run_dir: &Path, base: Option<Variables>, own: &ProcessAttributes) -> io::Result<Self> {
        let stdin = start.launch.stdin.as_deref().map(|bytes| stdin_file(bytes, run_dir)).transpose()?;
        let path = search_path(&start, base.as_ref());
        // With the variables of its submit a command has them in any case.
        let all = inherited_variables(&start).is_some();
        let without = if all { Vec::new() } else { absent(&start.launch.env, base.as_ref()) };
        let attributes = start.inherited.as_ref().map(|inherited| inherited.attributes.attainable());
        let by_child = attributes.is_some_and(|attributes| attributes.needs_child(own));
        Ok(Self { start, path, without, base, attributes, by_child, through_shell: false, stdin, shared: None })
    }

    /// The attributes that a process which spawns the commands takes on for them, apart from its umask.
    pub fn attributes(&self) -> Option<&ProcessAttributes> {
        self.attributes.as_ref()
    }

    /// The umask of the commands.
    pub fn umask(&self) -> Mode {
        Mode::from_raw_mode(self.attributes.map_or(UMASK, |attributes| attributes.umask))
    }

    /// Variables of a virtual environment that the commands run without: their directories are not here.
    pub fn without(&self) -> &[String] {
        &self.without
    }

    /// How long a member may run.
    pub fn time_limit(&self) -> Option<Duration> {
        self.start.launch.time_limit
    }

    /// How much memory a member may use.
    pub fn mem_limit(&self) -> Option<Bytes> {
        self.start.mem_limit
    }

    /// How much is kept of what a member writes.
    pub fn max_output(&self) -> Option<MaxOutput> {
        self.start.launch.max_output
    }

    /// Where a member runs.
    fn directory<'a>(&'a self, member: &'a StartMember) -> &'a Text {
        member.directory.as_ref().unwrap_or(&self.start.launch.cwd)
    }

    /// Changes to the working directory: a child begins there. With `current_dir` std would have to fork.
    pub fn enter(&self, member: &StartMember) -> Result<(), Refusal> {
        let cwd = self.directory(member).as_os();
        std::env::set_current_dir(cwd).map_err(|_| Refusal::NoDirectory { path: cwd.to_string_lossy().into_owned() })
    }

    /// The command of this member, without its outputs.
    pub fn command(&mut self, member: &StartMember) -> Result<&mut Command, Unexecutable> {
        if member.entry.is_some() || member.directory.is_some() || self.shared.is_none() {
            self.shared = Some(self.build(member));
        }
        match self.shared.as_mut() {
            Some(Ok(command)) => {
                command.env("GRID_ATTEMPT", member.attempt.number.to_string());
                // By this a command is found whose pid was not recorded.
                command.env("GRID_ATTEMPT_ID", member.attempt.to_string());
                match member.array_index {
                    Some(index) => command.env("GRID_ARRAY_INDEX", index.to_string()),
                    None => command.env_remove("GRID_ARRAY_INDEX"),
                };
                Ok(command)
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(Unexecutable { code: 126, error: "no command".to_owned() }),
        }
    }

    fn build(&self, member: &StartMember) -> Result<Command, Unexecutable> {
        let entry = member.entry.as_ref().map(Text::as_bytes);
        let launch = &self.start.launch;
        let mut arguments = launch.command.arguments().iter().map(|a| fill(a.as_bytes(), entry));
        let program = arguments.next().unwrap_or_default();
        let cwd = Path::new(self.directory(member).as_os());
        let file = find(OsStr::from_bytes(&program), cwd, self.path.as_deref())?;
        // With an absolute path std spawns without a fork; argument 0 is what was typed.
        let mut command = match &self.attributes {
            Some(attributes) if self.by_child => inheriting::command(attributes, &file, OsStr::from_bytes(&program)),
            _ if self.through_shell => {
                let mut shell = Command::new("/bin/sh");
                shell.arg(&file);
                shell
            }
            _ => {
                let mut command = Command::new(&file);
                command.arg0(OsStr::from_bytes(&program));
                command
            }
        };
        command.args(arguments.map(|a| OsString::from_vec(a.into_owned())));
        command.process_group(0).env_clear();
        match (&self.base, inherited_variables(&self.start)) {
            (Some(base), _) => command.envs(base.iter().map(|(name, value)| (name, value))),
            (None, Some(block)) => {
                command.envs(block.iter().map(|(name, value)| (OsStr::from_bytes(name), OsStr::from_bytes(value))))
            }
            (None, None) => {
                command.envs(std::env::vars_os().filter(|(name, _)| !name.as_bytes().starts_with(b"GRID_")))
            }
        };
        command.env("PWD", cwd);
        for (name, value) in travelled(&self.start, self.base.as_ref()) {
            command.env(name.as_os(), value.as_os());
        }
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.envs(self.start.grid_env.iter().map(|(name, value)| (name.as_os(), value.as_os())));
        if let Some(entry) = &member.entry {
            command.env("GRID_ENTRY", entry.as_os());
        }
        Ok(command)
    }

    /// For a script without `#!`: shells and `execvp` hand it to sh, so that is what people expect.
    /// False if it was already tried.
    pub fn go_through_shell(&mut self) -> bool {
        self.shared = None;
        !std::mem::replace(&mut self.through_shell, true)
    }

    /// Opens `-o` and `-e` as a shell's `>` does. Where none is given the outputs are inherited:
    /// the supervisor's own stdout and stderr are the run's files, so that costs nothing.
    pub fn outputs(&self, member: &StartMember) -> Result<Option<[Stdio; 2]>, Refusal> {
        let launch = &self.start.launch;
        let cwd = Path::new(self.directory(member).as_os());
        let open = |path: &Text| {
            let path = cwd.join(path.as_os());
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&path).map_err(|error| {
                Refusal::NoOutput { path: path.to_string_lossy().into_owned(), error: error.to_string() }
            })
        };
        let same = |file: &File| file.try_clone().map(Stdio::from).unwrap_or(Stdio::inherit());
        Ok(match (&launch.stdout, &launch.stderr) {
            (None, None) => None,
            (Some(out), Some(err)) => {
                let (out, err) = (open(out)?, open(err)?);
                // Two offsets in one file would overwrite each other, however its two names are written.
                let second = if is_same(&out, &err) { same(&out) } else { err.into() };
                Some([out.into(), second])
            }
            (out, err) => {
                let stdio = |path: &Option<Text>| match path {
                    Some(path) => open(path).map(Stdio::from),
                    None => Ok(Stdio::inherit()),
                };
                Some([stdio(out)?, stdio(err)?])
            }
        })
    }

    /// What the member reads, from its beginning. None: the supervisor's own stdin, which is /dev/null.
    pub fn input(&self) -> io::Result<Option<Stdio>> {
        let Some(file) = &self.stdin else { return Ok(None) };
        // Opened anew: a shared offset would let the first member eat what the second should read.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
        Ok(Some(File::open(path)?.into()))
    }
}

/// The umask where a task inherits none.
pub const UMASK: u32 = 0o022;

/// The variables that the commands inherit.
fn inherited_variables(start: &Start) -> Option<&EnvironmentBlock> {
    start.inherited.as_ref()?.variables.as_ref()
}

/// The variables that came with the task. A virtual environment that does not exist here is left out, and one where the server's
/// prologue switches on another.
fn travelled<'a>(start: &'a Start, base: Option<&'a Variables>) -> impl Iterator<Item = &'a (Text, Text)> {
    let stays =
        move |name: &Text, value: &Text| !is_prefix(name) || (!set_by_base(base, name) && is_environment(value));
    start.launch.env.0.iter().filter(move |(name, value)| stays(name, value))
}

/// The variables that [`travelled`] leaves out because their directories are not here.
fn absent(env: &Environment, base: Option<&Variables>) -> Vec<String> {
    let is_absent = |name: &&str| {
        let named = Text::from(*name);
        let dir = env.get(name).filter(|dir| !dir.as_bytes().is_empty());
        dir.is_some_and(|dir| !set_by_base(base, &named) && !is_environment(dir))
    };
    PREFIXES.into_iter().filter(is_absent).map(str::to_owned).collect()
}

/// Does the server's prologue set this variable?
fn set_by_base(base: Option<&Variables>, name: &Text) -> bool {
    base.is_some_and(|base| base.iter().any(|(known, _)| known == name.as_os()))
}

/// Does this directory hold programs?
fn is_environment(dir: &Text) -> bool {
    Path::new(dir.as_os()).join("bin").is_dir()
}

fn is_prefix(name: &Text) -> bool {
    PREFIXES.iter().any(|prefix| name.as_bytes() == prefix.as_bytes())
}

/// The PATH of the commands: of `--env`; else the inherited one; else that of the server, behind a virtual environment that the
/// submitter had switched on and that exists here too.
fn search_path(start: &Start, base: Option<&Variables>) -> Option<OsString> {
    let named = |(name, value): &(Text, Text)| (name.as_bytes() == b"PATH").then(|| value.as_os().to_owned());
    if let Some(path) = start.launch.env.0.iter().rev().find_map(named) {
        return Some(path);
    }
    let block = inherited_variables(start);
    let ours = match (base, block) {
        (Some(base), _) => base.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()),
        (None, Some(block)) => block.get("PATH").map(|path| OsStr::from_bytes(path).to_owned()),
        (None, None) => std::env::var_os("PATH"),
    };
    if block.is_some() {
        return ours;
    }
    let of = |prefix: &&str| travelled(start, base).find(|(name, _)| name.as_bytes() == prefix.as_bytes());
    let bin = |(_, dir): &(Text, Text)| Path::new(dir.as_os()).join("bin");
    let mut dirs: Vec<PathBuf> = PREFIXES.iter().filter_map(of).map(bin).collect();
    if dirs.is_empty() {
        return ours;
    }
    dirs.extend(std::env::split_paths(ours.as_deref().unwrap_or(OsStr::new(USUAL_PATH))));
    std::env::join_paths(dirs).ok().or(ours)
}

/// Where programs are searched without a PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Are these the same file?
fn is_same(a: &File, b: &File) -> bool {
    let place = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
    matches!((place(a), place(b)), (Ok(a), Ok(b)) if a == b)
}

/// A file without a name in the run's directory.
fn stdin_file(bytes: &[u8], run_dir: &Path) -> io::Result<File> {
    let path = run_dir.join("stdin");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    io::Write::write_all(&mut file, bytes)?;
    Ok(file)
}

/// Looks a program up as a shell does.
fn find(program: &OsStr, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, Unexecutable> {
    if program.as_bytes().contains(&b'/') {
        // Missing or not executable: `spawn` says so.
        return Ok(cwd.join(program));
    }
    let mut not_executable = None;
    for dir in std::env::split_paths(path.unwrap_or(OsStr::new(USUAL_PATH))) {
        let file = cwd.join(dir).join(program);
        if !file.is_file() {
            continue;
        }
        match access(&file, Access::EXEC_OK) {
            Ok(()) => return Ok(file),
            Err(error) => not_executable = Some(Unexecutable::of(&file, &error.into())),
        }
    }
    let shown = program.to_string_lossy();
    Err(not_executable.unwrap_or_else(|| Unexecutable { code: 127, error: format!("{shown}: command not found") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_braces_is_replaced_by_the_entry() {
        assert_eq!(&*fill(b"a{}b{}", Some(b"x y")), b"ax ybx y");
        assert_eq!(&*fill(b"{}{}", Some(b"{}")), b"{}{}");
        assert_eq!(&*fill(b"{}", None), b"{}");
    }

    #[test]
    fn only_a_virtual_environment_that_is_not_here_and_not_replaced_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let here = dir.path().to_str().unwrap();
        let absent = |pairs: &[(&str, &str)], base: Option<&Variables>| {
            absent(&Environment(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()), base)
        };
        assert_eq!(
            absent(&[("VIRTUAL_ENV", here), ("CONDA_PREFIX", "/nowhere"), ("A", "/nowhere")], None),
            ["CONDA_PREFIX"]
        );
        assert_eq!(absent(&[("VIRTUAL_ENV", "")], None), [""; 0]);
        let base = vec![("VIRTUAL_ENV".into(), "/opt/other".into())];
        assert_eq!(absent(&[("VIRTUAL_ENV", "/nowhere")], Some(&base)), [""; 0], "the prologue has another");
    }

    #[test]
    fn program_is_found_as_a_shell_finds_it() {
        let find = |name: &str| find(OsStr::new(name), Path::new("/"), Some(OsStr::new("/nowhere:/usr/bin:/bin")));
        assert!(find("sh").unwrap().ends_with("bin/sh"));
        assert_eq!(find("no-such-program").unwrap_err().code, 127);
        assert_eq!(find("./x").unwrap(), Path::new("/./x"));
    }
}
