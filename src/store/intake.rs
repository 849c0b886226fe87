//! Tasks as they are taken in: one row, however many members.

use super::placing::Placing;
use super::trace::NoteId;
use super::{Result, Tx};
use crate::model::id::{AttemptKey, ClassId, EnvironmentId, Index, TaskId, TaskUuid, UserId};
use crate::model::task::{Members, Phase, Request};
use crate::model::time::Timestamp;

/// What becomes of a task at once.
#[derive(Debug, Clone, Copy)]
pub enum Begins<'a> {
    Waiting,
    /// It is held, for this reason.
    Held(&'a str),
    /// Its one member is given to a lane.
    Starting(&'a Placing),
}

/// The distributors by which a task came, as its row names them.
#[derive(Debug, Clone, Copy)]
pub struct TierRoute<'a> {
    pub tier1: &'a str,
    /// Empty: no second tier has it.
    pub tier2: &'a str,
}

/// A task as it is taken in.
#[derive(Debug)]
pub struct NewTask<'a> {
    pub uuid: TaskUuid,
    pub class: ClassId,
    pub user: UserId,
    pub request: &'a Request,
    pub begins: Begins<'a>,
    /// Held because nothing could ever run it.
    pub unmatched: bool,
    pub round: u32,
    pub route: TierRoute<'a>,
    pub search: Option<NoteId>,
    pub verdict: Option<NoteId>,
    /// Of a user from elsewhere: bytes of what it was submitted with.
    pub kept: u64,
    /// What it inherits on this host. None: it comes from another home.
    pub environment: Option<EnvironmentId>,
}

impl Tx<'_> {
    /// Takes a task in: one row, however many members.
    pub fn add_task(&self, new: &NewTask<'_>, now: Timestamp) -> Result<TaskId> {
        let Request { launch, members, demand, .. } = new.request;
        let (shape, first, step, at_once) = match members {
            Members::Single => ("single", 0, 1, None),
            Members::Range { first, step, at_once, .. } => ("array", *first, *step, *at_once),
            Members::Lines { at_once, .. } => ("lines", 1, 1, *at_once),
        };
        let size = members.count();
        debug_assert!(
            size == 1 || !matches!(new.begins, Begins::Starting(_)),
            "only a single task starts as it is taken in"
        );
        let (rest_state, (waiting, held, starting), reason) = match new.begins {
            Begins::Waiting => (Phase::Waiting, (size, 0, 0), None),
            Begins::Held(reason) => (Phase::Held, (0, size, 0), Some(reason)),
            Begins::Starting(_) => (Phase::Waiting, (0, 0, size), None),
        };
        self.run(
            "INSERT INTO task (uuid, class_id, user_id, name, argv, shown, cwd, env, time_limit, stdout, stderr, stdin, retries, retry_lost,
                               shape, first, step, size, at_once, rest, rest_next, rest_state, waiting, held, starting, reason,
                               submitted_at, verdict_at, round, tier1, tier2, search, verdict, unmatched, client_home, lost_after, kept, environment_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,
                     ?15, ?16, ?17, ?18, ?19, ?18 - ?23, ?23, ?20, ?21, ?22, ?23, ?24,
                     ?25, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35)",
            rusqlite::params![
                new.uuid,
                new.class,
                new.user,
                demand.name,
                launch.command.to_blob(),
                shorten(&launch.command.shown()),
                launch.cwd,
                launch.env.to_blob(),
                launch.time_limit.map(|l| u64::try_from(l.as_millis()).unwrap_or(u64::MAX)),
                launch.stdout,
                launch.stderr,
                launch.stdin,
                new.request.retries,
                new.request.retry_lost,
                shape,
                first,
                step,
                size,
                at_once,
                rest_state,
                waiting,
                held,
                starting,
                reason,
                now,
                new.round,
                new.route.tier1,
                new.route.tier2,
                new.search.map(|n| n.0),
                new.verdict.map(|n| n.0),
                new.unmatched,
                launch.home,
                new.request.lost_after.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
                new.kept,
                new.environment,
            ],
        )?;
        let id = TaskId(self.inserted());
        if let Members::Lines { lines, .. } = members {
            for (at, line) in lines.iter().enumerate() {
                self.run("INSERT INTO entry (task_id, idx, line) VALUES (?1, ?2, ?3)", (id, at + 1, line))?;
            }
        }
        if let Some(bound) = launch.max_output {
            self.run("UPDATE task SET max_output = ?2 WHERE id = ?1", (id, bound.to_string()))?;
        }
        self.add_files(id, launch, new.request.hold)?;
        if let Begins::Starting(at) = new.begins {
            self.place(AttemptKey { task: id, index: Index(0), number: 1 }, at)?;
        }
        Ok(id)
    }
}

/// Tables need no more of a command than this; the whole is in `argv`.
fn shorten(shown: &str) -> String {
    match shown.char_indices().nth(1000) {
        None => shown.to_owned(),
        Some((at, _)) => format!("{}…", &shown[..at]),
    }
}
