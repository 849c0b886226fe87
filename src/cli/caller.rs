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

/// A directory, and HOME above it where it lies below.
pub fn with_home(dir: PathBuf) -> (PathBuf, Option<PathBuf>) {
    match std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()) {
        Some(home) => below(dir, &home),
        None => (dir, None),
    }
}

/// A directory, and the home above it as the directory's path calls it, for either may be reached by a link. Only where a link leads
/// from elsewhere into the home, the directory is named by where it really lies.
fn below(dir: PathBuf, home: &Path) -> (PathBuf, Option<PathBuf>) {
    let real = std::fs::canonicalize(home).ok();
    let mut named = [Some(home), real.as_deref()].into_iter().flatten().filter(|home| home.parent().is_some());
    if let Some(home) = named.clone().find(|home| dir.starts_with(home)) {
        let home = home.to_owned();
        return (dir, Some(home));
    }
    let (Some(real), Ok(lies)) = (named.next_back(), std::fs::canonicalize(&dir)) else { return (dir, None) };
    if !lies.starts_with(real) {
        return (dir, None);
    }
    let is_home = |above: &&Path| std::fs::canonicalize(above).is_ok_and(|above| above == real);
    match dir.ancestors().find(is_home).map(Path::to_owned) {
        Some(above) => (dir, Some(above)),
        None => (lies, Some(real.to_owned())),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::create_dir_all;
    use std::os::unix::fs::symlink;

    #[test]
    fn directory_is_below_the_home_whichever_of_them_is_reached_by_a_link() {
        let top = tempfile::tempdir().unwrap();
        let top = std::fs::canonicalize(top.path()).unwrap();
        let path = |name: &str| top.join(name);
        create_dir_all(path("disk/ann/work/x")).unwrap();
        create_dir_all(path("scratch")).unwrap();
        for (link, to) in
            [("home", "disk"), ("ann", "disk/ann"), ("proj", "disk/ann/work"), ("home/ann/far", "scratch")]
        {
            symlink(path(to), path(link)).unwrap();
        }
        let home = path("home/ann");
        for (dir, as_named, above) in [
            ("home/ann/work", "home/ann/work", Some("home/ann")),
            ("disk/ann/work", "disk/ann/work", Some("disk/ann")),
            ("ann/work", "ann/work", Some("ann")),
            ("proj/x", "disk/ann/work/x", Some("disk/ann")),
            // What links mean there is for the other host to say.
            ("home/ann/far", "home/ann/far", Some("home/ann")),
            ("scratch", "scratch", None),
            ("disk/bob", "disk/bob", None),
        ] {
            assert_eq!(below(path(dir), &home), (path(as_named), above.map(path)), "{dir}");
        }
        assert_eq!(below(path("scratch"), Path::new("/")), (path("scratch"), None), "not all is below a home of /");
    }
}
