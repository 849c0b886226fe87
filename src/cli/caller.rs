//! Who calls, and from where: the environment is read here and nowhere else.

use crate::model::attempt::Stream;
use crate::model::inherited::{EnvironmentBlock, Submitter};
use crate::model::process_attributes::ProcessAttributes;
use crate::model::ssh::Login;
use crate::model::ssh_command::SshCommand;
use crate::model::task::ClientFacts;
use crate::ops::cron::CronEnvironment;
use crate::ops::home::HomeVariables;
use crate::ops::reader::OutputReader;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The variables that decide where the home lies.
pub fn places() -> HomeVariables {
    // Set to nothing is not set: a home must not land in the directory one happens to be in.
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    HomeVariables {
        grid_home: path("GRID_HOME"),
        data_home: path("XDG_DATA_HOME"),
        config_home: path("XDG_CONFIG_HOME"),
        home: path("HOME"),
        host: host(),
        in_task: text("GRID_TASK_ID").zip(text("GRID_SUBMIT_HOST")),
    }
}

static UMASK: OnceLock<u32> = OnceLock::new();

/// Records the umask that this process was given.
pub fn note_umask(mask: u32) {
    let _ = UMASK.set(mask);
}

/// What a task that is submitted here inherits.
pub fn submitter() -> Submitter {
    let of_process = std::fs::read("/proc/self/environ");
    let variables = of_process.unwrap_or_else(|_| {
        let pair = |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
        std::env::vars_os().map(pair).collect::<Vec<_>>().join(&0)
    });
    let own = ProcessAttributes::own();
    let attributes = ProcessAttributes { umask: UMASK.get().copied().unwrap_or(own.umask), ..own };
    Submitter { variables: EnvironmentBlock::new(variables), attributes }
}

/// What this session has for logins over ssh.
pub fn ssh() -> Login {
    let text = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    Login { command: text("GRID_SSH_COMMAND").map(|line| ssh_command(&line)), auth_sock: text("SSH_AUTH_SOCK") }
}

/// A command for ssh that was typed here: its files are those of this directory.
pub fn ssh_command(line: &str) -> SshCommand {
    match std::env::current_dir() {
        Ok(dir) => SshCommand::typed(line, &dir),
        Err(_) => SshCommand(line.to_owned()),
    }
}

/// The person's ssh configuration.
pub fn ssh_config() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
    Some(home.join(".ssh/config"))
}

/// All of stdin, as text.
pub fn stdin_text() -> std::io::Result<String> {
    std::io::read_to_string(std::io::stdin())
}

/// Whoever reads one of our outputs; with the terminal that we were typed at, if there is one.
pub fn reader(of: Stream) -> std::io::Result<OutputReader> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let terminal = rustix::fs::open("/dev/tty", flags, Mode::empty()).ok();
    match of {
        Stream::Out => OutputReader::of(std::io::stdout().as_fd(), terminal),
        Stream::Err => OutputReader::of(std::io::stderr().as_fd(), terminal),
    }
}

/// Did whoever started this log in over ssh?
pub fn is_far() -> bool {
    std::env::var_os("SSH_CONNECTION").is_some()
}

/// HOME, where this directory lies below it; as it is called there, for it may be reached by a link.
pub fn home_above(dir: &Path) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())?;
    let real = std::fs::canonicalize(&home).ok();
    [Some(home), real].into_iter().flatten().find(|home| home.parent().is_some() && dir.starts_with(home))
}

/// This host and account, as a client.
pub fn client() -> ClientFacts {
    ClientFacts {
        host: host(),
        user: login(),
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
    }
}

/// What lines for cron are made of.
pub fn cron() -> std::io::Result<CronEnvironment> {
    let text = |name| std::env::var_os(name).unwrap_or_default();
    Ok(CronEnvironment { program: std::env::current_exe()?, path: text("PATH"), home: text("HOME"), account: login() })
}

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The account's name: by the uid, for USER may say anything; a name service without a file is believed through LOGNAME.
fn login() -> String {
    let uid = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    };
    let from_environment = || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
    accounts.lines().find_map(of_uid).or_else(from_environment).unwrap_or_else(|| format!("uid{uid}"))
}
