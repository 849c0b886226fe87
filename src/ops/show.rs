//! `grid show`: the full report of a task; and the shorter one in `status`.

use super::members::Listed;
use super::report::{AttemptReport, Detail, InheritedReport, Remote, Submitted, Task};
use super::selecting::Chosen;
use super::submit::{Several, waits_in};
use super::{Grid, OpsError, members, remote};
use crate::model::id::{Index, ServerId, TaskId};
use crate::model::server::{Engine, Health};
use crate::model::task::{Launch, Phase, State};
use crate::model::time::{Timestamp, short};
use crate::protocol::distributor::Verb;
use crate::store::away::AwayState;
use crate::store::environments::KeptEnvironment;
use crate::store::members::{MemberRow, MemberState};
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{StoreError, View};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Full reports of tasks and members. For a task in another home: that home's report, else its last known state.
pub fn show(grid: &mut Grid, what: &[Chosen]) -> Result<Vec<Task>, OpsError> {
    let mut told = BTreeMap::new();
    for chosen in what {
        if let Some(away) = remote::away(grid, *chosen)?
            && let AwayState::By { id, .. } = away.held
            && let Ok(report) = remote::owner::report::<Task>(grid, &away, Verb::Show { index: chosen.index })
        {
            told.insert(*chosen, (report, id));
            remote::states::refresh(grid, &[away])?;
        }
    }
    grid.store.read(|view| {
        let several = Several::default();
        let of = |chosen: &Chosen| match told.remove(chosen) {
            Some((report, id)) => as_ours(view, *chosen, report, id),
            None => full_report(view, *chosen, &several),
        };
        what.iter().map(of).collect()
    })
}

/// The owner's report, under this home's id and names.
fn as_ours(view: &View<'_>, chosen: Chosen, mut task: Task, id: TaskId) -> Result<Task, OpsError> {
    let row = view.task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.task.to_string(), []))?;
    let distributor = row.tier2.clone();
    if let Some(detail) = &mut task.detail {
        super::fetch::as_ours(view, &row, chosen.index, detail.files.as_mut(), id)?;
        // What this home did comes first: how it came to its owner.
        detail.steps = [view.steps(row.id)?, std::mem::take(&mut detail.steps)].concat();
    }
    if task.head.state.ended() {
        task.head.reason = super::fetch::not_whole(view, &row)?.or(task.head.reason);
    }
    task.head.id = chosen.to_string();
    // Another home may name anything.
    task.members.retain(|member| member.index.is_some_and(|index| row.shape.position_of(index, row.size).is_some()));
    for member in &mut task.members {
        (member.user, member.client) = (row.user.to_string(), row.client.clone());
        member.submitted_at = row.submitted_at;
        member.head.route = vec![row.tier1.clone(), row.tier2.clone()];
        (member.members, member.detail) = (Vec::new(), None);
        let index = member.index;
        member.head.id = Chosen { task: chosen.task, index }.to_string();
        member.remote = Some(Remote { distributor: distributor.clone(), id: Chosen { task: id, index }.to_string() });
    }
    let unplaced = task.head.server.is_none() && !task.head.state.ended();
    task.head.waits_in = unplaced.then(|| distributor.clone());
    task.head.route = vec![row.tier1, row.tier2];
    task.submitted_at = row.submitted_at;
    (task.user, task.client) = (row.user.to_string(), row.client);
    task.remote = Some(Remote { distributor, id: Chosen { task: id, ..chosen }.to_string() });
    Ok(task)
}

fn full_report(view: &View<'_>, chosen: Chosen, several: &Several) -> Result<Task, OpsError> {
    let row = view.task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.task.to_string(), []))?;
    let index = match row.shape {
        Shape::Single => Some(Index(0)),
        _ => chosen.index,
    };
    let member = index.map_or(Ok(None), |index| view.member(row.id, index))?;
    let mut task = match index {
        Some(index) if row.shape != Shape::Single => of_member(view, &row, index, member.as_ref(), several)?,
        _ => of_task(view, &row, member.as_ref(), several)?,
    };
    if index.is_none() {
        members::list(view, &row, Listed::Noted, members::LISTED, several, &mut task)?;
    }
    if index.is_none() && task.head.reason.is_none() {
        let cut = view.count_cut(row.id)?;
        task.head.reason = (cut > 0).then(|| format!("the output of {cut} of {} members was cut", row.size));
    }
    task.detail = match detail(view, &row, index, member.as_ref()) {
        // The reason of the task says that it is unreadable.
        Err(OpsError::Store(StoreError::Unreadable(_))) => None,
        other => Some(other?),
    };
    Ok(task)
}

/// The report of a task in `status`; `member` is the only member of a single task.
pub(super) fn of_task(
    view: &View<'_>,
    row: &TaskRow,
    member: Option<&MemberRow>,
    several: &Several,
) -> Result<Task, OpsError> {
    let single = row.shape == Shape::Single;
    let state = row.state();
    // One that waits again is nowhere; its attempts tell where it was.
    let member = member.filter(|m| !matches!(m.phase(), Phase::Waiting | Phase::Held));
    let reason = match member {
        Some(member) if state == State::Running => why_running(view, member)?.or_else(|| row.reason_in(state)),
        _ if state == State::Running && row.counts.waiting > 0 => others_wait(row),
        Some(member) if member.phase() == Phase::Starting => misled(view, member)?.or_else(|| row.reason_in(state)),
        _ => row.reason_in(state),
    };
    let last = member.and_then(MemberRow::last);
    let away = view.away(row.id)?;
    let unheard = away.as_ref().and_then(|away| remote::states::silence(away, row.holder(), Timestamp::now()));
    let server = match &away {
        Some(away) => away.server.clone(),
        None => member.and_then(MemberRow::server).map_or(Ok(None), |id| server_name(view, id))?,
    };
    let reason = unheard.filter(|_| !state.ended()).or(reason);
    let files = if state.ended() { super::fetch::not_whole(view, row)? } else { None };
    let counts = State::ALL.into_iter().map(|state| (state, row.counts.of(state))).filter(|(_, n)| *n > 0);
    Ok(Task {
        head: Submitted {
            notes: Vec::new(),
            id: row.id.to_string(),
            uuid: row.uuid.to_string(),
            state,
            waits_in: if server.is_none() { waits_in(view, row, away.as_ref(), several)? } else { None },
            server,
            route: vec![row.tier1.clone(), row.tier2.clone()],
            reason: reason.or_else(|| member.and_then(MemberRow::remark)).or(files),
            size: (!single).then_some(row.size),
        },
        name: row.name.clone(),
        command: row.shown.clone(),
        exit_code: row.exit_code.filter(|_| state.ended()),
        signal: away.as_ref().map_or_else(|| last.and_then(|last| last.signal), |away| away.signal),
        submitted_at: row.submitted_at,
        started_at: if single && away.is_none() { member.and_then(MemberRow::started_at) } else { row.started_at },
        ended_at: row.ended_at,
        user: row.user.to_string(),
        client: row.client.clone(),
        counts: (!single).then(|| counts.collect()),
        remote: away.as_ref().and_then(|away| match away.held {
            AwayState::By { id, .. } => Some(Remote { distributor: row.tier2.clone(), id: id.to_string() }),
            AwayState::Open { .. } | AwayState::Moving { .. } => None,
        }),
        member: match (&away, member) {
            (None, Some(member)) => of_group(view, member.server(), member.host())?,
            _ => None,
        },
        cut: last.and_then(|last| last.cut),
        index: None,
        line: None,
        members: Vec::new(),
        members_left_out: 0,
        detail: None,
    })
}

/// Why members of an array wait while others run.
fn others_wait(row: &TaskRow) -> Option<String> {
    let why = row.reason_in(State::Pending)?;
    Some(format!("{} wait: {why}", row.counts.waiting))
}

/// The report of one member of an array.
pub(super) fn of_member(
    view: &View<'_>,
    row: &TaskRow,
    index: Index,
    member: Option<&MemberRow>,
    several: &Several,
) -> Result<Task, OpsError> {
    let mut task = of_task(view, row, member, several)?;
    let state = member.map_or(row.rest_phase, MemberRow::phase).state();
    task.head.id = format!("{}.{index}", row.id);
    task.head.state = state;
    task.head.size = None;
    task.index = Some(index);
    if row.shape == Shape::Lines
        && let Some(line) = view.entry(row.id, index)?
    {
        if let Some(launch) = view.launch(row.id)? {
            task.command = launch.command.shown_for(&line);
        }
        task.line = Some(line.lossy().into_owned());
    }
    task.head.waits_in = task.head.waits_in.filter(|_| matches!(state, State::Pending | State::Held));
    task.counts = None;
    task.head.reason = match (state, member) {
        (State::Running, Some(member)) => why_running(view, member)?,
        (State::Pending, Some(member)) if member.phase() == Phase::Starting => {
            misled(view, member)?.or_else(|| row.reason_in(state))
        }
        (State::Pending | State::Held, _) => row.reason_in(state),
        _ => member.and_then(MemberRow::remark),
    };
    let member = member.filter(|_| state.ended() || state == State::Running);
    let last = member.and_then(MemberRow::last);
    task.exit_code = last.and_then(|last| last.exit_code);
    task.cut = last.and_then(|last| last.cut);
    task.started_at = member.and_then(MemberRow::started_at);
    task.ended_at = last.and_then(|last| last.ended_at).filter(|_| state.ended());
    Ok(task)
}

/// The message if another machine answers under the name of a member's server.
fn misled(view: &View<'_>, member: &MemberRow) -> Result<Option<String>, OpsError> {
    let (Some(host), Some(machine)) = (member.host(), member.machine()) else { return Ok(None) };
    let Some(misled) = view.misled_from(host, machine)? else { return Ok(None) };
    let name = server_name(view, host)?.unwrap_or_else(|| "its server".to_owned());
    Ok(Some(misled.words(&name)))
}

/// The reason of a running member: an unreachable server, a lost supervisor, a requested cancel.
fn why_running(view: &View<'_>, member: &MemberRow) -> Result<Option<String>, OpsError> {
    let now = Timestamp::now();
    let mut all = Vec::new();
    if let Some(asked) = view.cancel_asked(member.task, Some(member.index))? {
        all.push(format!("cancel asked {} ago", short(asked.age_at(now))));
    }
    let misled = misled(view, member)?;
    if let Some(id) = member.host().or(member.server())
        && misled.is_none()
        && let Some(server) = view.server_by_id(id)?
        && let Health::Down { error, since } = server.health
    {
        let last = view.contacted_at(id)?.unwrap_or(since);
        all.push(format!("last contact with {} {} ago: {error}", server.name, short(last.age_at(now))));
    } else if let Some(misled) = misled {
        all.push(misled);
    } else if matches!(member.state, MemberState::Running { orphaned: true, .. }) {
        all.push("runs without supervisor; its exit code will not be known".to_owned());
    }
    Ok(if all.is_empty() { None } else { Some(all.join("; ")) })
}

/// The member of a group that a task was given to; None where its server is none.
fn of_group(view: &View<'_>, server: Option<ServerId>, host: Option<ServerId>) -> Result<Option<String>, OpsError> {
    host.filter(|host| Some(*host) != server).map_or(Ok(None), |host| server_name(view, host))
}

fn server_name(view: &View<'_>, id: ServerId) -> Result<Option<String>, OpsError> {
    Ok(view.server_name(id)?.map(|name| name.to_string()))
}

fn detail(
    view: &View<'_>,
    row: &TaskRow,
    index: Option<Index>,
    member: Option<&MemberRow>,
) -> Result<Detail, OpsError> {
    let launch = view.launch(row.id)?.ok_or_else(|| OpsError::unknown("task", &row.id.to_string(), []))?;
    let demand = &row.demand;
    let usage = member.and_then(|member| member.last()?.usage);
    let kept = view.environment_of(row.id)?;
    Ok(Detail {
        attempts: match (index, member) {
            (Some(index), Some(member)) => attempts(view, row.id, index, member)?,
            _ => Vec::new(),
        },
        cpus: demand.needs.cpus,
        mem: demand.needs.mem,
        apps: demand.apps.clone(),
        constraint: demand.constraint.as_deref().map(str::to_owned),
        prefer: demand.prefer.as_deref().map(str::to_owned),
        priority: demand.priority,
        profile: demand.profile.as_ref().map(ToString::to_string),
        cwd: launch.cwd.lossy().into_owned(),
        env: launch.env.names(),
        inherits: kept.as_ref().map(|kept| InheritedReport {
            variables: kept.inherited.variables.as_ref().map(|block| block.iter().count()),
            erased: kept.erased,
        }),
        path: search_path(view, member, &launch, kept.as_ref())?,
        hint: not_found_there(view, member, &launch, kept.as_ref())?,
        time_limit_s: launch.time_limit.map(|limit| limit.as_secs_f64()),
        max_output: launch.max_output.map(|bound| bound.to_string()),
        retries: row.retries,
        cpu_ms: usage.map(|usage| usage.cpu_ms),
        max_rss: usage.map(|usage| usage.max_rss),
        mem_limit: None,
        cancel_asked_at: view.cancel_asked(row.id, index)?,
        files: super::fetch::files(view, row, index, &launch)?,
        steps: view.steps(row.id)?,
    })
}

/// The PATH that a member's programs are searched on: of `--env`, else, on this host, of its submit. None: that of a login.
fn search_path(
    view: &View<'_>,
    member: Option<&MemberRow>,
    launch: &Launch,
    kept: Option<&KeptEnvironment>,
) -> Result<Option<String>, OpsError> {
    if let Some((_, path)) = launch.env.0.iter().rev().find(|(name, _)| name.as_bytes() == b"PATH") {
        return Ok(Some(path.lossy().into_owned()));
    }
    let server = member.and_then(MemberRow::host).map(|host| view.server_by_id(host)).transpose()?.flatten();
    if server.is_none_or(|server| server.engine != Engine::Local) {
        return Ok(None);
    }
    let path = kept.and_then(|kept| kept.inherited.variables.as_ref()?.get("PATH"));
    Ok(path.map(|path| String::from_utf8_lossy(path).into_owned()))
}

/// What to do about the command of a task that was not found on its server.
pub fn hint(grid: &Grid, chosen: Chosen) -> Result<Option<String>, OpsError> {
    let view = grid.store.view();
    let member = view.member(chosen.task, chosen.index.unwrap_or(Index(0)))?;
    let Some(launch) = view.launch(chosen.task)? else { return Ok(None) };
    not_found_there(&view, member.as_ref(), &launch, view.environment_of(chosen.task)?.as_ref())
}

/// The remedy if a command was not found on a server over ssh, and is on the PATH that it was submitted with.
fn not_found_there(
    view: &View<'_>,
    member: Option<&MemberRow>,
    launch: &Launch,
    kept: Option<&KeptEnvironment>,
) -> Result<Option<String>, OpsError> {
    // A script may end with the same code.
    let not_found = |detail: &Option<String>| detail.as_ref().is_some_and(|words| words.ends_with("command not found"));
    let Some(last) = member.and_then(MemberRow::last).filter(|last| not_found(&last.detail)) else { return Ok(None) };
    if launch.env.0.iter().any(|(name, _)| name.as_bytes() == b"PATH") {
        return Ok(None);
    }
    let server = last.host.map(|host| view.server_by_id(host)).transpose()?.flatten();
    let Some(server) = server.filter(|server| server.engine != Engine::Local) else { return Ok(None) };
    let path = kept.and_then(|kept| kept.inherited.variables.as_ref()?.get("PATH"));
    let Some((path, program)) = path.zip(launch.command.arguments().first()) else { return Ok(None) };
    let program = program.as_os();
    let here = std::env::split_paths(OsStr::from_bytes(path)).find(|dir| dir.join(program).is_file());
    Ok(here.filter(|_| !program.as_bytes().contains(&b'/')).map(|dir| {
        let program = program.to_string_lossy();
        format!(
            "{program} is in {} here, and on no PATH of a login on {}: `--app {program}` chooses a server that has it, `--env PATH` \
             passes this PATH",
            dir.display(),
            server.name
        )
    }))
}

/// Past attempts and the last one; an attempt that is only being sent does not count yet.
fn attempts(view: &View<'_>, task: TaskId, index: Index, last: &MemberRow) -> Result<Vec<AttemptReport>, OpsError> {
    let mut all = Vec::new();
    for past in view.past_attempts(task, index)? {
        all.push(AttemptReport {
            number: past.number,
            server: past.server.map_or(Ok(None), |id| server_name(view, id))?,
            member: of_group(view, past.server, past.host)?,
            state: past.state.into(),
            started_at: past.started_at,
            ended_at: past.ended_at,
            exit_code: past.exit_code,
            signal: past.signal,
            detail: past.detail,
        });
    }
    let state = match last.phase() {
        phase @ (Phase::Running | Phase::Ended(_)) => Some(phase.state()),
        _ => None,
    };
    if let Some(state) = state.filter(|_| last.number > 0 && !all.iter().any(|a| a.number == last.number)) {
        all.push(AttemptReport {
            number: last.number,
            server: last.server().map_or(Ok(None), |id| server_name(view, id))?,
            member: of_group(view, last.server(), last.host())?,
            state,
            started_at: last.started_at(),
            ended_at: last.last().and_then(|end| end.ended_at),
            exit_code: last.last().and_then(|end| end.exit_code),
            signal: last.last().and_then(|end| end.signal),
            detail: last.remark(),
        });
    }
    Ok(all)
}
