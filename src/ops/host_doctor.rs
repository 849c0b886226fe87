//! `grid doctor HOST`: checks the steps to a host over ssh in order, up to the first that fails, with its remedy.

use super::report::{Check, Finding};
use super::servers::with_command_of;
use super::{Grid, OpsError, refresh};
use crate::dispatch::client::survey::{Survey, Surveyor, Trouble};
use crate::model::id::ServerId;
use crate::model::resources::Bytes;
use crate::model::server::Engine;
use crate::model::ssh::SshTarget;

/// The steps of a login in their order; a `Trouble` names one of them.
const LOGIN: [&str; 7] = ["ssh", "name", "route", "port", "host key", "login", "shell"];
/// The remedy for a name that leads to several machines: a task is followed on the machine that it was sent to.
pub(super) const POOL_REMEDY: &str = "give each machine a name of its own, and add it as a server of its own: a task's end comes home only when its \
     own machine answers";
/// Least free space on a host: for the agent, and for outputs.
const ROOM_KIB: u64 = 64 << 10;
/// Largest difference of clocks that is no finding: times of starts and ends come from that host.
const SKEW_S: i64 = 5;

/// All steps up to the first that fails. `name` is a server of this grid, or a host as ssh knows it.
pub fn host(grid: &mut Grid, name: &str) -> Result<Vec<Check>, OpsError> {
    let view = grid.store.view();
    let server = view.server(name)?;
    let target = match server.as_ref().map(|s| &s.engine) {
        Some(Engine::Ssh(target)) => target.clone(),
        Some(_) => {
            return Err(OpsError::Usage(format!("server {name} is not over ssh; `grid doctor` checks this host")));
        }
        None => {
            let target = SshTarget::new(name, Vec::new(), None).map_err(|error| OpsError::Usage(error.to_string()))?;
            with_command_of(grid.login.command.as_ref(), &target)
        }
    };
    let prologue = server.as_ref().map(|server| view.prologue(server.id)).transpose()?.flatten();
    let surveyor = Surveyor::new(grid.store.home(), &view, &grid.login)?;
    let (mut checks, survey) = steps(&surveyor, &target);
    let well = !checks.iter().any(|check| check.result == Finding::Fail);
    if let Some(server) = server.filter(|_| well) {
        checks.push(match refresh::probe_some(grid, &[server.id])?.remove(&server.id) {
            None => ok("agent", "answers".to_owned()),
            Some(error) => fail("agent", error, None),
        });
        if let Some(words) =
            survey.as_ref().map(|survey| other_machine_note(grid, server.id, survey)).transpose()?.flatten()
        {
            checks.push(warn("machine", words, POOL_REMEDY));
        }
        if let Some(lines) = prologue {
            let remedy = format!("`grid server set {name} --prologue ..`; no task starts there until it succeeds");
            checks.push(match surveyor.prologue(&target, &lines) {
                Ok(None) => ok("prologue", "succeeds".to_owned()),
                Ok(Some(error)) => fail("prologue", error, Some(remedy)),
                Err(trouble) => fail("prologue", trouble.to_string(), trouble.remedy(target.host())),
            });
        }
    }
    Ok(checks)
}

/// The step that keeps a host from running tasks, if one does; else the survey of the host.
pub(super) fn failed_step(surveyor: &Surveyor, target: &SshTarget) -> Result<Option<Survey>, Check> {
    let (checks, survey) = steps(surveyor, target);
    checks.into_iter().find(|check| check.result == Finding::Fail).map_or(Ok(survey), Err)
}

/// The message for a host where a second login lands on another machine than the server's, if it does.
pub(super) fn pool_note(grid: &Grid, server: ServerId) -> Result<Option<String>, OpsError> {
    let view = grid.store.view();
    let Some(Engine::Ssh(target)) = view.server_by_id(server)?.map(|server| server.engine) else { return Ok(None) };
    let surveyor = Surveyor::new(grid.store.home(), &view, &grid.login)?;
    // The host was probed a moment ago; a failure of the second login is not judged here.
    let Ok(survey) = surveyor.look(&target) else { return Ok(None) };
    Ok(other_machine_note(grid, server, &survey)?.map(|words| format!("{words}: {POOL_REMEDY}")))
}

/// The message if a survey is of another machine than the one that answers as this server.
pub(super) fn other_machine_note(grid: &Grid, server: ServerId, survey: &Survey) -> Result<Option<String>, OpsError> {
    let known = grid.store.view().machine_of(server)?;
    let (Some((name, hostname)), Some((other, other_hostname))) = (known, survey.machine()) else { return Ok(None) };
    Ok((name != other)
        .then(|| format!("two logins in a row landed on different machines ({hostname}, {other_hostname})")))
}

fn steps(surveyor: &Surveyor, target: &SshTarget) -> (Vec<Check>, Option<Survey>) {
    let (survey, failed) = match surveyor.look(target) {
        Ok(survey) => (Some(survey), None),
        Err(trouble) => (None, Some(failed(surveyor, target, &trouble))),
    };
    let reached = failed.as_ref().and_then(|check| LOGIN.iter().position(|step| *step == check.what));
    let passed = reached.unwrap_or(LOGIN.len() - 1);
    let mut checks: Vec<Check> = LOGIN[..passed].iter().map(|step| ok(step, String::new())).collect();
    checks.extend(failed);
    if let Some(survey) = &survey {
        checks.extend([shell(survey), home(survey), disk(survey), arch(survey, surveyor)]);
        checks.extend([clock(survey), logout(survey)]);
    }
    (checks, survey)
}

fn failed(surveyor: &Surveyor, target: &SshTarget, trouble: &Trouble) -> Check {
    let shown = match trouble {
        Trouble::HostKeyUnknown => surveyor.host_key(target),
        _ => None,
    };
    let found = match shown {
        Some(key) => format!("{trouble}: it shows {key}"),
        None => trouble.to_string(),
    };
    fail(trouble.step(), found, trouble.remedy(target.host()))
}

fn ok(what: &'static str, found: String) -> Check {
    Check { what, result: Finding::Ok, found, remedy: None }
}

fn warn(what: &'static str, found: String, remedy: &str) -> Check {
    Check { what, result: Finding::Warn, found, remedy: Some(remedy.to_owned()) }
}

const fn fail(what: &'static str, found: String, remedy: Option<String>) -> Check {
    Check { what, result: Finding::Fail, found, remedy }
}

fn shell(survey: &Survey) -> Check {
    let shell = survey.get("shell").unwrap_or("unknown").to_owned();
    match survey.noise {
        0 => ok("shell", shell),
        bytes => warn(
            "shell",
            format!("{shell} prints {bytes} bytes at each login; grid ignores them, scp does not"),
            "let .bashrc print only where `[ -t 1 ]`",
        ),
    }
}

fn home(survey: &Survey) -> Check {
    let dir = survey.get("dir").unwrap_or("?");
    let mount = survey.get("mount").unwrap_or_default();
    let remedy = || Some("name another directory with --remote-dir".to_owned());
    if survey.get("writable").is_none() {
        let nearest = survey.get("nearest").unwrap_or(dir);
        return fail("home", format!("{nearest} can't be written"), remedy());
    }
    if mount.split([' ', ',']).any(|option| option == "noexec") {
        return fail("home", format!("{dir} is on a file system mounted noexec"), remedy());
    }
    ok("home", dir.to_owned())
}

fn disk(survey: &Survey) -> Check {
    match survey.number("free") {
        Some(kib) if kib < ROOM_KIB => fail(
            "disk",
            format!("{} free", Bytes(kib << 10)),
            Some("make room there, or name another directory with --remote-dir".to_owned()),
        ),
        Some(kib) => ok("disk", format!("{} free", Bytes(kib << 10))),
        None => warn("disk", "df prints nothing".to_owned(), "check how much room there is"),
    }
}

fn arch(survey: &Survey, surveyor: &Surveyor) -> Check {
    let (system, arch) = (survey.get("system").unwrap_or("?"), survey.get("arch").unwrap_or("?"));
    if system != "Linux" {
        return fail("arch", format!("{system} on {arch}"), Some("only Linux can run tasks".to_owned()));
    }
    if !surveyor.architectures().iter().any(|known| known == arch) {
        let trouble = Trouble::Arch(arch.to_owned());
        return fail("arch", trouble.to_string(), trouble.remedy(""));
    }
    ok("arch", format!("{arch}, {} cpus", survey.get("cpus").unwrap_or("?")))
}

fn clock(survey: &Survey) -> Check {
    match survey.skew {
        skew if skew.abs() <= SKEW_S => ok("clock", "as here".to_owned()),
        skew => {
            let (by, how) = (skew.unsigned_abs(), if skew > 0 { "ahead" } else { "behind" });
            warn("clock", format!("{by} s {how}: times of starts and ends are off"), "synchronise it with NTP")
        }
    }
}

/// Checks if systemd-logind ends all processes of a user at logout (logind.conf(5), KillUserProcesses).
fn logout(survey: &Survey) -> Check {
    let kills = survey
        .get("kills")
        .is_some_and(|line| matches!(line.rsplit('=').next().unwrap_or_default().trim(), "yes" | "true" | "1" | "on"));
    match (survey.get("systemd"), kills, survey.get("lingers")) {
        (None, ..) => ok("logout", "no systemd: nothing ends tasks at logout".to_owned()),
        (_, false, _) => ok("logout", "tasks keep running after logout".to_owned()),
        (_, true, Some(_)) => ok("logout", "tasks keep running after logout (linger is enabled)".to_owned()),
        (_, true, None) => warn(
            "logout",
            "that host ends your processes when the connection ends (KillUserProcesses=yes)".to_owned(),
            "loginctl enable-linger, over there",
        ),
    }
}
