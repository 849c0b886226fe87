//! `grid status`, and `grid` alone.

use super::super::args::tasks::StatusArgs;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, with_grid};
use crate::model::task::State;
use crate::model::time::{Timestamp, clock};
use crate::ops::members::Listed;
use crate::ops::notice::Notice;
use crate::ops::report::{self, Task};
use crate::ops::selecting::{self, All};
use crate::ops::status::{self, StatusFilter};

/// Servers that need a look, listed one by one.
const SERVERS: usize = 5;

pub fn run(args: StatusArgs, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        let only = match args.ids.as_slice() {
            [] => None,
            words => Some(selecting::select(grid, words, All::Any, false)?),
        };
        let members = match (args.members, args.failed) {
            (true, _) => Listed::All,
            (_, true) => Listed::Failed,
            _ => Listed::Noted,
        };
        let asked = StatusFilter {
            only,
            limit: args.limit,
            all: args.all,
            user: args.user.map(|name| name.to_string()),
            members,
        };
        let report = status::status(grid, &asked)?;
        if args.json {
            out.json(&report)?;
            return Ok(Code::OK);
        }
        report.dispatcher.iter().for_each(|trouble| out.note(trouble));
        let me = grid.me.to_string();
        out.table(&tasks(&report.tasks, &me, Timestamp::now()))?;
        for task in report.tasks.iter().filter(|task| task.members_left_out > 0) {
            let (more, id) = (task.members_left_out, &task.head.id);
            let which = match members {
                Listed::All => " --members",
                Listed::Failed => " --failed",
                Listed::Noted => "",
            };
            out.line(&format!("and {more} more of the members of {id}: grid status{which} --all {id}"))?;
        }
        for line in summary(&report) {
            out.line(&line)?;
        }
        Ok(Code::OK)
    })
}

/// The listing of tasks; whose they are only where they are not all mine.
pub fn tasks(tasks: &[Task], me: &str, now: Timestamp) -> Table {
    let others = tasks.iter().any(|task| task.user != me);
    let mut table = Table::new(&["ID", "NAME", "USER", "STATE", "WHERE/WHY", "TIME", "COMMAND"])
        .right(&["ID", "TIME"])
        .brief()
        .spare(&["USER", "NAME"]);
    for task in tasks.iter().flat_map(|task| std::iter::once(task).chain(&task.members)) {
        table.row([
            task.head.id.clone(),
            task.name.clone().unwrap_or_default(),
            if others { task.user.clone() } else { String::new() },
            task.head.state.to_string(),
            place(task),
            time(task, now),
            task.command.clone(),
        ]);
    }
    table
}

/// Where it runs or ran and how it ended; why it waits, in brackets as people know it.
fn place(task: &Task) -> String {
    let reason = task.head.reason.as_deref().filter(|reason| !reason.is_empty());
    let mut parts: Vec<String> = Vec::new();
    if let Some(counts) = &task.counts {
        let each = |(state, n): (&State, &u32)| format!("{n} {}", state.word().to_lowercase());
        parts.extend(counts.iter().map(each));
    }
    parts.extend(task.place());
    parts.extend(task.head.waits_in.iter().map(|distributor| format!("in {distributor}")));
    match (task.exit_code, task.signal) {
        (_, Some(signal)) => parts.push(format!("signal {signal}")),
        (Some(code), _) if code != 0 => parts.push(format!("exit {code}")),
        _ => {}
    }
    let place = parts.join(", ");
    match (reason, place.is_empty()) {
        (Some(reason), true) => format!("({reason})"),
        (Some(reason), false) => format!("{place} ({reason})"),
        (None, _) => place,
    }
}

/// How long it ran or runs; how long it waits.
fn time(task: &Task, now: Timestamp) -> String {
    let (from, to) = match (task.started_at, task.ended_at) {
        (Some(started), ended) => (started, ended.unwrap_or(now)),
        (None, None) => (task.submitted_at, now),
        (None, Some(_)) => return String::new(),
    };
    clock(from.age_at(to))
}

/// What the listing left out, servers that need a look, and the last line: `3 running, 2 pending (why), 1 failed`.
pub fn summary(report: &report::Status) -> Vec<String> {
    let mut lines = Vec::new();
    if report.left_out > 0 {
        lines.push(format!("and {} more that have not ended: grid status --all", report.left_out));
    }
    if report.disk_full {
        let words = "the home's disk is full: nothing starts, and ends are recorded when there is room; free some space (`grid doctor`)";
        lines.push(words.to_owned());
    }
    let ill: Vec<_> = report.servers.iter().filter(|server| server.state != "UP" || server.reason.is_some()).collect();
    for server in ill.iter().take(SERVERS) {
        let reason = server.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        lines.push(format!("server {} is {}{reason}", server.name, server.state));
    }
    if ill.len() > SERVERS {
        lines.push(format!("and {} more servers: grid server list", ill.len() - SERVERS));
    }
    lines.extend(report.notice.as_ref().map(notice));
    let order = [State::Running, State::Pending, State::Held].into_iter();
    let order = order.chain(State::ALL.into_iter().filter(|state| state.ended()));
    let mut parts = Vec::new();
    for state in order {
        let count = report.counts.get(&state).copied().unwrap_or(0);
        if count > 0 {
            let why = (state == State::Pending).then(|| commonest_reason(&report.tasks)).flatten();
            parts.push(format!("{count} {}{}", state.word().to_lowercase(), why.unwrap_or_default()));
        }
    }
    lines.push(if parts.is_empty() { "no tasks; `grid run -- COMMAND` runs one".to_owned() } else { parts.join(", ") });
    lines
}

/// `results of 2 tasks (1.2M) that nobody has unpacked go from 2026-12-06 on: grid fetch 12 15`.
fn notice(notice: &Notice) -> String {
    let tasks = if notice.count == 1 { "1 task".to_owned() } else { format!("{} tasks", notice.count) };
    let more = if notice.count > notice.tasks.len() as u64 { " .." } else { "" };
    let (bytes, from) = (notice.bytes, notice.goes_at.local());
    format!(
        "results of {tasks} ({bytes}) are not unpacked and are removed from {from} on: grid fetch {}{more}",
        notice.tasks.join(" ")
    )
}

/// ` (2: no server is free; grid explain 17)`.
fn commonest_reason(tasks: &[Task]) -> Option<String> {
    let mut reasons: Vec<(String, u64, &str)> = Vec::new();
    for task in tasks.iter().filter(|task| task.head.state == State::Pending) {
        let Some(reason) = &task.head.reason else { continue };
        let place = task.head.waits_in.as_ref().map_or_else(String::new, |distributor| format!("in {distributor}: "));
        let reason = format!("{place}{reason}");
        let waiting = task.counts.as_ref().map_or(1, |counts| counts.get(&State::Pending).copied().unwrap_or(0));
        match reasons.iter_mut().find(|(known, ..)| *known == reason) {
            Some((_, count, _)) => *count += u64::from(waiting),
            None => reasons.push((reason, waiting.into(), &task.head.id)),
        }
    }
    let (reason, count, id) = reasons.into_iter().max_by_key(|(_, count, _)| *count)?;
    Some(format!(" ({count}: {reason}; grid explain {id})"))
}

#[cfg(test)]
mod tests {
    use super::super::super::output::Style;
    use super::*;
    use crate::ops::fixture;

    #[test]
    fn the_reason_stands_where_the_server_does_and_the_last_line_counts() {
        let (_dir, mut grid) = fixture::grid();
        fixture::add_task(&mut grid, fixture::draft());
        let mut held = fixture::draft();
        held.hold = true;
        held.name = Some("later".into());
        fixture::add_task(&mut grid, held);
        let report = status::status(&mut grid, &StatusFilter::default()).unwrap();
        let now = report.tasks[0].submitted_at.plus(std::time::Duration::from_secs(12));
        let text = tasks(&report.tasks, "me", now).render(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ID  NAME   STATE    WHERE/WHY            TIME  COMMAND");
        assert_eq!(lines[1], " 1         PENDING  (no server is free)   12s  true");
        assert!(lines[2].starts_with(" 2  later  HELD     (held by you)"), "{text}");
        assert_eq!(summary(&report), ["1 pending (1: no server is free; grid explain 1), 1 held"]);
    }

    #[test]
    fn an_empty_grid_says_what_to_do() {
        let (_dir, mut grid) = fixture::grid();
        let report = status::status(&mut grid, &StatusFilter::default()).unwrap();
        assert_eq!(summary(&report), ["no tasks; `grid run -- COMMAND` runs one"]);
    }
}
