//! `grid doctor`: checks this host and this home for what would fail later, and gives a remedy for each finding.

mod reports;

use super::home::HomeVariables;
use super::report::{Check, Finding};
use super::{Grid, OpsError, dispatcher, gc, server_remarks, settings};
use crate::model::attribute::Value;
use crate::model::open_files;
use crate::model::resources::Bytes;
use crate::model::server::{SHARED_ACCOUNT, Server};
use crate::model::settings::KEEP_OUTPUTS;
use crate::model::time::Timestamp;
use crate::store::home::is_writable;
use crate::store::reservations::Miscount;
use crate::store::unreadable::{RowKind, Unreadable};
use crate::store::waiting::holder;
use crate::store::{Home, home, query};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Free space below which the disk is a finding.
const DISK_LOW: u64 = 1 << 30;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Limit of processes below which it is a finding: the agent needs some for each running task.
const PROCESSES_LOW: u64 = 512;

/// All checks. `opened` is the error if the home could not be opened, which is then a finding.
pub fn doctor(places: &HomeVariables, opened: Result<&mut Grid, String>) -> Result<Vec<Check>, OpsError> {
    let home = &Home::locate(places)?.home;
    let mut checks = vec![directory(home), file_system(home), disk(home), writable(home), locked(home)];
    match opened {
        Err(error) => checks.push(fail("database", error, None)),
        Ok(grid) => {
            for low in checks.iter_mut().filter(|check| check.what == "disk" && check.result == Finding::Warn) {
                low.remedy = Some(what_frees(grid)?);
            }
            checks.push(integrity(grid));
            checks.push(ok("sqlite", format!("{}, built in", query::sqlite_version())));
            checks.push(running(grid));
            checks.push(taken(grid)?);
            checks.push(clock(grid)?);
            checks.extend(unreadable(grid)?);
            checks.extend(shared_account(grid)?);
            checks.extend(machines(grid)?);
            checks.extend(reports::reports(grid, Timestamp::now())?);
        }
    }
    checks.push(spool(home));
    checks.push(logout());
    checks.push(processes());
    checks.push(open_files());
    Ok(checks)
}

fn ok(what: &'static str, found: String) -> Check {
    Check { what, result: Finding::Ok, found, remedy: None }
}

fn warn(what: &'static str, found: String, remedy: &str) -> Check {
    Check { what, result: Finding::Warn, found, remedy: Some(remedy.to_owned()) }
}

fn fail(what: &'static str, found: String, remedy: Option<&str>) -> Check {
    Check { what, result: Finding::Fail, found, remedy: remedy.map(str::to_owned) }
}

/// Most unreadable rows that are named one by one.
const UNREADABLE_MAX: usize = 20;

/// Rows that can't be read, each with what removes or replaces it.
fn unreadable(grid: &Grid) -> Result<Vec<Check>, OpsError> {
    let rows = grid.store.view().unreadable()?;
    let left_out = rows.len().saturating_sub(UNREADABLE_MAX);
    let mut checks: Vec<Check> = rows.iter().take(UNREADABLE_MAX).map(of_row).collect();
    if left_out > 0 {
        checks.push(warn(
            "rows",
            format!("{left_out} more can't be read"),
            "repair these, then run `grid doctor` again",
        ));
    }
    Ok(checks)
}

fn of_row(row: &Unreadable) -> Check {
    let name = &row.name;
    let (what, remedy) = match row.kind {
        RowKind::Task => (format!("task {name}"), format!("grid cancel {name}")),
        RowKind::EndedTask => {
            (format!("task {name} (ended)"), "none needed: `grid gc` removes it at its age".to_owned())
        }
        RowKind::Server => (format!("server {name}"), format!("grid server remove {name}, then add it again")),
        RowKind::Probed => (format!("server {name}"), format!("grid server refresh {name}")),
        RowKind::Declared => {
            let (owner, rest) = name.split_once(' ').unwrap_or((name, ""));
            (owner.to_owned() + " " + rest, format!("grid {owner} unset {rest}"))
        }
        RowKind::User => (format!("user {name}"), format!("grid user set {name} .. replaces it")),
        RowKind::Client => (format!("client {name}"), "none needed: the next submit from there replaces it".to_owned()),
        RowKind::Profile => (format!("profile {name}"), format!("grid task remove {name}, then add it again")),
        RowKind::Report => (format!("report of {name}"), "none needed: its next report replaces it".to_owned()),
        RowKind::Distributor => (format!("distributor {name}"), "restore an earlier backup".to_owned()),
        RowKind::Registration => ("a registration".to_owned(), "grid distributor register .. replaces it".to_owned()),
    };
    warn("rows", format!("{what} can't be read: {}", row.why), &remedy)
}

/// Servers that run other users' tasks under the account of the home; a finding at every run.
fn shared_account(grid: &Grid) -> Result<Option<Check>, OpsError> {
    let is_shared = |server: &&Server| {
        server.attributes.get(SHARED_ACCOUNT).is_some_and(|attribute| attribute.value == Value::Bool(true))
    };
    let servers = grid.store.view().servers()?;
    let names: Vec<&str> = servers.iter().filter(is_shared).map(|server| server.name.as_str()).collect();
    let found = "run other users' tasks under your own account: these can read and change all that you can";
    let remedy = "grid server unset NAME shared_account";
    Ok((!names.is_empty()).then(|| warn("shared account", format!("{} {found}", names.join(", ")), remedy)))
}

/// Servers whose names lead to another machine than the one that runs their tasks, and servers on which much fails.
fn machines(grid: &Grid) -> Result<Vec<Check>, OpsError> {
    let view = grid.store.view();
    let mut checks = Vec::new();
    for (id, words) in server_remarks::misled(&view)? {
        let name = view.server_name(id)?.map_or_else(|| id.to_string(), |name| name.to_string());
        let remedy =
            "make the name lead to that machine again; add each machine of a pool as a server with a name of its own";
        checks.push(warn("machine", format!("{name}: {words}"), remedy));
    }
    for (id, words) in server_remarks::failing(&view, Timestamp::now())? {
        let name = view.server_name(id)?.map_or_else(|| id.to_string(), |name| name.to_string());
        let remedy = "`grid logs` of what failed there says why; until that is mended: grid server drain NAME";
        checks.push(warn("server", format!("{name}: {words}"), remedy));
    }
    Ok(checks)
}

/// Compares the wall clock with the time since boot.
fn clock(grid: &Grid) -> Result<Check, OpsError> {
    let remedy = "if it is right now: `grid gc --trust-clock`; else set it, as with `timedatectl set-ntp true`";
    let words = gc::doubt(grid)?.map(|words| warn("clock", words, remedy));
    Ok(words.unwrap_or_else(|| ok("clock", "steady since the last check".to_owned())))
}

fn directory(home: &Home) -> Check {
    private("home", home.dir())
}

fn spool(home: &Home) -> Check {
    const WHAT: &str = "agent spool";
    let unwritable = [home.agent_spool(), home.outputs(), home.sent(), home.fetched()];
    // An unwritable home is a finding of its own.
    match unwritable.iter().find(|dir| home.is_writable() && dir.exists() && !is_writable(dir)) {
        Some(dir) => {
            let remedy = format!("`chmod -R u+rwX {}`, or mount its file system for writing", dir.display());
            fail(WHAT, format!("{} can't be written: no task starts", dir.display()), Some(&remedy))
        }
        None => private(WHAT, &home.agent_spool()),
    }
}

/// Checks that a directory belongs to this account and is closed to others: it holds values of the environment.
fn private(what: &'static str, dir: &Path) -> Check {
    let shown = dir.display();
    let meta = match std::fs::metadata(dir) {
        Ok(meta) => meta,
        Err(error) => return fail(what, format!("{shown}: {error}"), Some("any command creates it, as `grid status`")),
    };
    let me = rustix::process::getuid().as_raw();
    if meta.uid() != me {
        return fail(
            what,
            format!("{shown} belongs to uid {}, not to you", meta.uid()),
            Some("set GRID_HOME to a directory of yours"),
        );
    }
    // The mode of a directory inside a closed home does not matter.
    if what == "home" && meta.mode() & 0o077 != 0 {
        let remedy = format!("chmod 700 {shown}");
        return warn(what, format!("{shown} can be read by others (mode {:o})", meta.mode() & 0o777), &remedy);
    }
    ok(what, format!("{shown}, yours, mode {:o}", meta.mode() & 0o777))
}

fn file_system(home: &Home) -> Check {
    match home::network_fs(home.dir()) {
        Some(kind) => {
            fail("file system", format!("the home is on {kind}"), Some("set GRID_HOME to a directory on a local disk"))
        }
        None => ok("file system", "local".to_owned()),
    }
}

fn writable(home: &Home) -> Check {
    if home.is_writable() {
        return ok("writable", "yes".to_owned());
    }
    let found = format!("{} can't be written: it can be read, but no task starts", home.dir().display());
    fail(
        "writable",
        found,
        Some("mount its file system for writing (a failing disk is mounted read-only), or `chmod u+w` it"),
    )
}

fn locked(home: &Home) -> Check {
    match holder(home) {
        None => ok("lock", "no other process has the database locked".to_owned()),
        Some(holder) => {
            let remedy = "if it stays locked: end that process, or continue it if it is stopped";
            warn("lock", format!("{holder} has the database locked"), remedy)
        }
    }
}

fn disk(home: &Home) -> Check {
    let existing = home.dir().ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Err(error) => warn("disk", error.to_string(), "check that the file system is mounted"),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{} free", Bytes(free));
            if free < DISK_LOW { warn("disk", found, "free some space") } else { ok("disk", found) }
        }
    }
}

/// The remedies that free space on the home's disk, each with how much it frees.
fn what_frees(grid: &Grid) -> Result<String, OpsError> {
    const SHORTER: [(&str, Duration); 4] = [("7d", DAY.saturating_mul(7)), ("1d", DAY), ("1h", HOUR), ("1s", SECOND)];
    let kept = settings::read(&grid.store.view(), &KEEP_OUTPUTS)?;
    let mut most = gc::would_free(grid, kept)?;
    let mut all = Vec::new();
    if most > 0 {
        all.push(format!("`grid gc` frees {}", Bytes(most)));
    }
    for (text, keep) in SHORTER.into_iter().filter(|(_, keep)| *keep < kept) {
        let frees = gc::would_free(grid, keep)?;
        if frees > most {
            all.push(format!("`grid config set keep_outputs {text}` and `grid gc` free {}", Bytes(frees)));
            most = frees;
        }
    }
    Ok(match all.is_empty() {
        true => "free some space: there is no output of an ended task to remove".to_owned(),
        false => all.join("; "),
    })
}

fn integrity(grid: &Grid) -> Check {
    match grid.store.view().quick_check() {
        Ok(wrong) if wrong.is_empty() => {
            let size = std::fs::metadata(grid.store.home().database()).map_or(0, |m| m.len());
            ok("database", format!("whole, {} and {} of log", Bytes(size), Bytes(grid.store.log_len())))
        }
        Ok(wrong) => {
            fail("database", wrong.join("; "), Some("stop the dispatcher, move grid.db away, restore a backup"))
        }
        Err(error) => fail("database", error.to_string(), None),
    }
}

fn running(grid: &mut Grid) -> Check {
    if let Some(trouble) = dispatcher::trouble(grid) {
        return fail("dispatcher", trouble, Some("run/dispatcher.log in the home may say more"));
    }
    if holder(grid.store.home()).is_some() {
        return warn("dispatcher", "not queried: it may be waiting for the database".to_owned(), "see `lock`");
    }
    match dispatcher::status(grid) {
        Ok(status) => match status.pid {
            Some(pid) => ok("dispatcher", format!("runs (pid {pid}), {} tasks running", status.running)),
            None => ok("dispatcher", "does not run; it starts when there is work".to_owned()),
        },
        Err(error) => warn("dispatcher", error.to_string(), "`grid dispatcher stop`, then `grid dispatcher start`"),
    }
}

/// Checks the limit of open files: a dispatcher that this shell starts raises it as far as it may, and does not start with too few.
fn open_files() -> Check {
    of_limit(open_files::attainable())
}

fn of_limit(limit: u64) -> Check {
    const WHAT: &str = "open files";
    const LOW: u64 = 1_024;
    let most = format!("at most {limit} at once in each process started here");
    match limit {
        0..open_files::LEAST => fail(
            WHAT,
            format!("{most}: a dispatcher needs {} to start", open_files::LEAST),
            Some("raise it with `ulimit -n 1024`, or in /etc/security/limits.conf"),
        ),
        open_files::LEAST..LOW => warn(
            WHAT,
            format!("{most}: a dispatcher that follows many tasks needs more"),
            "raise it with `ulimit -n`, or in /etc/security/limits.conf",
        ),
        _ => ok(WHAT, format!("at most {limit} at once")),
    }
}

/// Compares what is reserved on servers with what runs there.
fn taken(grid: &mut Grid) -> Result<Check, OpsError> {
    const WHAT: &str = "places";
    let wrong = grid.store.read(|view| view.miscounted())?;
    let told = |count: &Miscount| {
        let parts = ["slots", "cpus", "bytes of memory"].into_iter().zip(count.counted.into_iter().zip(count.held));
        let parts = parts.filter(|(_, (counted, held))| counted != held);
        let parts: Vec<String> =
            parts.map(|(what, (counted, held))| format!("{what} {counted}, {held} are held")).collect();
        format!("{}: {}", count.of, parts.join(", "))
    };
    Ok(match wrong.is_empty() {
        true => ok(WHAT, "reservations on servers match what runs there".to_owned()),
        false => {
            let found: Vec<String> = wrong.iter().map(told).collect();
            warn(WHAT, found.join("; "), "`grid dispatcher stop`; the next one recounts when it starts")
        }
    })
}

/// Checks if systemd-logind ends all processes of a user at logout (logind.conf(5), KillUserProcesses).
fn logout() -> Check {
    const WHAT: &str = "logout";
    if !Path::new("/run/systemd/system").exists() {
        return ok(WHAT, "no systemd: nothing ends tasks at logout".to_owned());
    }
    if !kill_user_processes() {
        return ok(WHAT, "tasks keep running after logout (KillUserProcesses=no)".to_owned());
    }
    let me = rustix::process::getuid();
    let lingers = std::fs::read_dir("/var/lib/systemd/linger").is_ok_and(|users| {
        users.flatten().any(|user| account_uid(&user.file_name().to_string_lossy()) == Some(me.as_raw()))
    });
    if me.is_root() || lingers {
        return ok(WHAT, "tasks keep running after logout (linger is enabled)".to_owned());
    }
    warn(WHAT, "this host ends your processes at logout (KillUserProcesses=yes)".to_owned(), "loginctl enable-linger")
}

fn kill_user_processes() -> bool {
    let mut files = vec![Path::new("/etc/systemd/logind.conf").to_path_buf()];
    for dir in ["/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"] {
        let mut parts: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|f| f.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut kills = false;
    for text in files.iter().filter_map(|file| std::fs::read_to_string(file).ok()) {
        for value in text.lines().filter_map(|line| line.trim().strip_prefix("KillUserProcesses=")) {
            kills = matches!(value.trim(), "yes" | "true" | "1" | "on");
        }
    }
    kills
}

fn account_uid(name: &str) -> Option<u32> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn processes() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nproc).current;
    match limit {
        None => ok("processes", "no limit".to_owned()),
        Some(limit) if limit < PROCESSES_LOW => warn(
            "processes",
            format!("at most {limit} at once for this account"),
            "raise it with `ulimit -u`, or in /etc/security/limits.conf",
        ),
        Some(limit) => ok("processes", format!("at most {limit} at once for this account")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_checked_by_the_bound_of_a_dispatcher() {
        let result = |limit: u64| of_limit(limit).result;
        assert_eq!((result(16), result(open_files::LEAST - 1)), (Finding::Fail, Finding::Fail));
        assert_eq!((result(open_files::LEAST), result(1_024)), (Finding::Warn, Finding::Ok));
        assert!(of_limit(16).found.contains("16") && of_limit(16).found.contains("needs 64"));
    }
}
