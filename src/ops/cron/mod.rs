//! `grid cron`: writes lines to the person's crontab that keep this grid fresh, and runs them once as cron would.

pub mod every;
pub mod job;
pub mod table;

use super::{Grid, OpsError};
use crate::dispatch::client::logins;
use crate::model::name::Name;
use crate::model::server::Engine;
use crate::store::Durability;
use every::Every;
use job::CronJob;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use table::Crontab;

/// Longest wait for the trial run.
const TRIAL: Duration = Duration::from_secs(30);

/// The part of the caller's environment that the lines are made of.
#[derive(Debug, Clone)]
pub struct CronEnvironment {
    /// This program, absolute.
    pub program: PathBuf,
    /// PATH: tasks and applications are looked up along it, also where cron started the dispatcher.
    pub path: OsString,
    /// HOME
    pub home: OsString,
    /// The account's name.
    pub account: String,
}

/// The lines in the crontab, and whether cron runs.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct CronReport {
    pub installed: bool,
    /// True if the crontab was changed.
    pub changed: bool,
    pub lines: Vec<String>,
    /// Messages to the person.
    pub notes: Vec<String>,
}

/// Replaces the lines of this home and tests them: it logs in to each host over ssh once, and
/// runs the line, with cron's environment.
pub fn install(grid: &mut Grid, caller: &CronEnvironment, every: Every) -> Result<CronReport, OpsError> {
    let job = CronJob::new(grid.store.home(), caller)?;
    let mut table = Crontab::read()?;
    let changed = table.put(&job.mark(), &job.block(every));
    if changed {
        table.write()?;
    }
    // A process that cron starts gets the command only from the home.
    if let Some(command) = grid.login.command.clone() {
        grid.store.write(Durability::Full, |tx| Ok::<_, OpsError>(tx.keep_ssh_of_caller(&command)?))?;
    }
    let mut notes = hosts_that_fail(grid, caller)?;
    notes.extend(table::no_daemon());
    notes.extend(trial(&job, caller));
    Ok(CronReport { installed: true, changed, lines: job.lines(every), notes })
}

/// The lines of this home in the crontab.
pub fn show(grid: &Grid, caller: &CronEnvironment) -> Result<CronReport, OpsError> {
    let job = CronJob::new(grid.store.home(), caller)?;
    let lines = Crontab::read()?.of(&job.mark());
    let mut notes = Vec::new();
    if let Some(lines) = &lines {
        notes.extend(table::no_daemon());
        if !lines.iter().any(|line| line.contains(&job.escaped())) {
            notes
                .push("the lines are another program's or of another PATH: `grid cron install` renews them".to_owned());
        }
    }
    Ok(CronReport { installed: lines.is_some(), changed: false, lines: lines.unwrap_or_default(), notes })
}

/// Removes this home's lines.
pub fn remove(grid: &Grid, caller: &CronEnvironment) -> Result<CronReport, OpsError> {
    let job = CronJob::new(grid.store.home(), caller)?;
    let mut table = Crontab::read()?;
    let changed = table.put(&job.mark(), &[]);
    if changed {
        table.write()?;
    }
    Ok(CronReport { installed: false, changed, lines: Vec::new(), notes: Vec::new() })
}

/// The job as units of systemd.
pub fn systemd(grid: &Grid, caller: &CronEnvironment, every: Every) -> Result<String, OpsError> {
    Ok(CronJob::new(grid.store.home(), caller)?.units(every))
}

/// The environment in which cron runs a line (crontab(5)).
fn environment(caller: &CronEnvironment) -> Vec<(&'static str, OsString)> {
    vec![
        ("HOME", caller.home.clone()),
        ("LOGNAME", caller.account.clone().into()),
        ("SHELL", "/bin/sh".into()),
        ("PATH", "/usr/bin:/bin".into()),
    ]
}

/// A message for each host that cron could not log in to, with the remedy.
fn hosts_that_fail(grid: &Grid, caller: &CronEnvironment) -> Result<Vec<String>, OpsError> {
    let servers = grid.store.view().servers()?;
    let mut targets = Vec::new();
    for server in servers {
        if let Engine::Ssh(target) = server.engine {
            targets.push((server.name, target));
        }
    }
    let mut environment = environment(caller);
    environment.retain(|(name, _)| *name != "PATH");
    environment.push(("PATH", caller.path.clone()));
    let tried = logins::try_bare(&grid.store.view(), &environment, targets)?;
    let failed = tried.into_iter().filter_map(|(name, host, done)| Some((name, host, done.err()?)));
    Ok(failed.map(|(name, host, trouble)| remedy(grid, &name, &host, &trouble)).collect())
}

fn remedy(grid: &Grid, name: &Name, host: &str, trouble: &logins::Trouble) -> String {
    let mut text = format!("{name}: cron can't log in: {trouble}");
    let refused = matches!(trouble, logins::Trouble::Denied(_));
    if refused && grid.login.auth_sock.is_some() {
        text += "; cron has no ssh-agent (SSH_AUTH_SOCK): name a key without a passphrase as IdentityFile in ~/.ssh/config \
                 (restrict it over there), or keep a dispatcher running that you started";
    } else if let Some(remedy) = trouble.remedy(host) {
        text += &format!("; {remedy}");
    }
    text
}

/// Runs the line once as cron would; None if it works.
fn trial(job: &CronJob, caller: &CronEnvironment) -> Option<String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(job.command()).env_clear().envs(environment(caller)).current_dir(&caller.home);
    let ended = shell
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .and_then(|mut child| ended_within(TRIAL, || child.try_wait()));
    match ended {
        Ok(Some(status)) if status.success() => None,
        Ok(Some(status)) => {
            let said = std::fs::read_to_string(job.log()).unwrap_or_default();
            let said = said.lines().last().unwrap_or("it said nothing").to_owned();
            Some(format!("the line was tried with cron's environment and ended with {status}: {said}"))
        }
        Ok(None) => {
            Some(format!("the line was tried with cron's environment; it runs for {} s already", TRIAL.as_secs()))
        }
        Err(error) => Some(format!("the line can't be tried: /bin/sh: {error}")),
    }
}

/// The end of a child; None if it is still running.
fn ended_within(
    limit: Duration,
    mut look: impl FnMut() -> std::io::Result<Option<ExitStatus>>,
) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + limit;
    loop {
        match look()? {
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            ended => return Ok(ended),
        }
    }
}
