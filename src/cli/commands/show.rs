//! `grid show`, and `grid task show 12`.

use super::super::args::tasks::Show;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, with_grid};
use crate::model::resources::Bytes;
use crate::model::task::State;
use crate::model::time::{Timestamp, clock};
use crate::ops::members::is_failure;
use crate::ops::report::{Archive, AttemptReport, Detail, Files, InheritedReport, Task};
use crate::ops::selecting::{self, All};
use crate::ops::show;
use std::time::Duration;

pub fn run(args: Show, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let what = selecting::select(grid, &args.ids, All::Any, args.everyone)?;
        let tasks = show::show(grid, &what)?;
        if args.json {
            // One word that can only name one task gives an object, whatever there is.
            match (args.ids.as_slice(), tasks.as_slice()) {
                ([word], [task]) if word.is_single() => out.json(task)?,
                _ => out.json(&tasks)?,
            }
            return Ok(Code::OK);
        }
        for (at, task) in tasks.iter().enumerate() {
            if at > 0 {
                out.line("")?;
            }
            print(task, out)?;
        }
        Ok(Code::OK)
    })
}

fn print(task: &Task, out: &mut Out) -> Result<(), super::Failure> {
    let state = match &task.head.reason {
        Some(reason) => format!("{}{} ({reason})", task.head.state, task.head.in_words()),
        None => format!("{}{}", task.head.state, task.head.in_words()),
    };
    let when = |at: Option<Timestamp>| at.map(Timestamp::local);
    let counts = task.counts.as_ref().map(|counts| {
        counts.iter().map(|(state, n)| format!("{n} {}", state.word().to_lowercase())).collect::<Vec<_>>().join(", ")
    });
    let mut fields = vec![
        ("id", Some(task.head.id.clone())),
        ("name", task.name.clone()),
        ("command", Some(task.command.clone())),
        ("state", Some(state)),
        ("line", task.line.clone()),
        ("members", counts),
        ("failed", failed(task)),
        ("server", task.full_place(task.head.server.as_ref(), task.member.as_ref())),
        ("exit code", task.exit_code.map(|code| code.to_string())),
        ("signal", task.signal.map(|signal| signal.to_string())),
        ("submitted", when(Some(task.submitted_at))),
        ("started", when(task.started_at)),
        ("ended", when(task.ended_at)),
        ("user", Some(task.user.clone())),
        ("client", Some(task.client.clone())),
        ("way", Some(way(&task.head.route))),
    ];
    let detail = task.detail.as_ref();
    fields.extend(detail.map(of_detail).unwrap_or_default());
    fields.push(("remote", task.remote.as_ref().map(|remote| format!("{} in {}", remote.id, remote.distributor))));
    fields.push(("uuid", Some(task.head.uuid.clone())));
    for (name, value) in fields {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.line(&format!("{name:<12} {value}"))?;
        }
    }
    if let Some(detail) = detail {
        // The lines above tell of a single attempt, unless it has ended and the next one is waited for.
        let waits = matches!(task.head.state, State::Pending | State::Held);
        if detail.attempts.len() > 1 || waits && !detail.attempts.is_empty() {
            out.table(&attempts(task, &detail.attempts))?;
        }
        // The state says the first one already.
        let said = |remark: &str| task.head.reason.as_ref().is_some_and(|reason| reason.contains(remark));
        for (id, remark) in detail.files.iter().flat_map(remarks).filter(|(_, remark)| !said(remark)) {
            out.line(&format!("{id}: {remark}"))?;
        }
        for (at, what) in &detail.steps {
            out.line(&format!("{}  {what}", at.local()))?;
        }
    }
    Ok(())
}

/// Failed members that are named.
const FAILED: usize = 20;

/// `12.7 12.14 ..`.
fn failed(task: &Task) -> Option<String> {
    let failed = task.members.iter().filter(|member| is_failure(member.head.state));
    let ids: Vec<&str> = failed.map(|member| member.head.id.as_str()).collect();
    let more = if ids.len() > FAILED || task.members_left_out > 0 { " .." } else { "" };
    let named: Vec<&str> = ids.iter().take(FAILED).copied().collect();
    (!ids.is_empty()).then(|| named.join(" ") + more)
}

/// `front-a > lab-x`; while a task is searched for, no second-tier distributor has it.
fn way(route: &[String]) -> String {
    let names: Vec<&str> = route.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    names.join(" > ")
}

fn of_detail(detail: &Detail) -> Vec<(&'static str, Option<String>)> {
    let seconds = |s: f64| clock(Duration::try_from_secs_f64(s).unwrap_or_default());
    let some = |n: i64| (n != 0).then(|| n.to_string());
    vec![
        ("cpus", Some(detail.cpus.to_string())),
        ("memory", detail.mem.map(|mem| mem.to_string())),
        ("apps", Some(detail.apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))),
        ("constraint", detail.constraint.clone()),
        ("prefer", detail.prefer.clone()),
        ("priority", some(detail.priority.into())),
        ("profile", detail.profile.clone()),
        ("time limit", detail.time_limit_s.map(seconds)),
        ("max output", detail.max_output.clone()),
        ("retries", some(detail.retries.into())),
        ("directory", Some(detail.cwd.clone())),
        ("sent", detail.files.as_ref().and_then(|files| files.sent.as_ref()).map(sent)),
        ("fetched", detail.files.as_ref().and_then(fetched)),
        ("environment", Some(environment(detail))),
        ("PATH", detail.path.clone()),
        ("hint", detail.hint.clone()),
        ("cpu time", detail.cpu_ms.map(|ms| clock(Duration::from_millis(ms)))),
        ("max memory", detail.max_rss.filter(|rss| *rss > Bytes(0)).map(|rss| rss.to_string())),
        ("cancel asked", detail.cancel_asked_at.map(Timestamp::local)),
    ]
}

/// `LANG TZ, and 40 variables of its submit on this host`.
fn environment(detail: &Detail) -> String {
    let here = match &detail.inherits {
        Some(InheritedReport { erased: true, .. }) => Some("that of its submit was erased".to_owned()),
        Some(InheritedReport { variables: Some(many), .. }) => {
            Some(format!("on this host {many} variables of its submit"))
        }
        _ => None,
    };
    let named = Some(detail.env.join(" ")).filter(|names| !names.is_empty());
    named.into_iter().chain(here).collect::<Vec<_>>().join("; ")
}

fn sent(sent: &Archive) -> String {
    format!("{}, {} (the task runs in a directory of its own)", files(sent.files), sent.size)
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn fetched(files: &Files) -> Option<String> {
    let mut wanted = files.fetch.clone();
    wanted.extend(files.changed.then(|| "what it changes".to_owned()));
    if wanted.is_empty() {
        return None;
    }
    let wanted = wanted.join(", ");
    let not_here = files.fetched.iter().find_map(|brought| brought.error.as_ref());
    let not_unpacked = files.fetched.iter().find_map(|brought| brought.not_unpacked.as_ref());
    let (count, size) = files.fetched.iter().fold((0, 0), |(count, size), one| (count + one.files, size + one.size.0));
    let came = format!("{}, {}", self::files(count), Bytes(size));
    Some(match (not_here, not_unpacked, files.fetched.is_empty()) {
        (Some(error), ..) => format!("{wanted}: not brought home, still on its server: {error}"),
        (None, Some(words), _) => format!("{wanted}: {came}, not all of it unpacked: {words}"),
        (None, None, true) => wanted,
        (None, None, false) => format!("{wanted}: {came}"),
    })
}

/// What a person should know of files that were brought.
fn remarks(files: &Files) -> impl Iterator<Item = (&str, &str)> {
    files.fetched.iter().flat_map(|one| one.remarks.iter().map(|remark| (one.id.as_str(), remark.as_str())))
}

fn attempts(task: &Task, all: &[AttemptReport]) -> Table {
    let mut table = Table::new(&["ATTEMPT", "STATE", "SERVER", "STARTED", "TIME", "EXIT", "WHY"])
        .right(&["ATTEMPT", "TIME", "EXIT"])
        .spare(&["STARTED", "TIME"]);
    for attempt in all {
        let code = attempt.exit_code.map(|code| code.to_string());
        let time = attempt.started_at.zip(attempt.ended_at).map(|(from, to)| clock(from.age_at(to)));
        table.row([
            attempt.number.to_string(),
            attempt.state.to_string(),
            task.full_place(attempt.server.as_ref(), attempt.member.as_ref()).unwrap_or_default(),
            attempt.started_at.map(Timestamp::local).unwrap_or_default(),
            time.unwrap_or_default(),
            code.or_else(|| attempt.signal.map(|signal| format!("signal {signal}"))).unwrap_or_default(),
            attempt.detail.clone().unwrap_or_default(),
        ]);
    }
    table
}
