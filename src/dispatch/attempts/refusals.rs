//! Refused starts: the task waits again, goes to another server, or fails if there is none.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Query;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::demand::Target;
use crate::model::feature::options;
use crate::model::id::{AttemptId, AttemptKey, ServerId, TaskId};
use crate::protocol::agent::Refusal;
use crate::store::members::{MemberRow, Outputs};
use crate::store::{StoreError, Tx};
use std::collections::BTreeSet;
use std::fmt;

/// A refused attempt, and where it was refused.
#[derive(Debug, Clone, Copy)]
struct RefusedStart {
    route: Route,
    attempt: AttemptId,
    key: AttemptKey,
    server: Option<ServerId>,
}

/// Why a server can't start a task that other servers can start.
#[derive(Debug)]
enum Obstacle {
    NoDirectory { path: String },
    NoOutput { path: String, error: String },
    Prologue { error: String },
    Features { unknown: Vec<String> },
    Files { error: String },
}

impl Obstacle {
    /// What a person can do if no other server is left.
    const fn remedy(&self) -> &'static str {
        match self {
            Self::NoDirectory { .. } => ": add --dir, --send or --cwd",
            _ => "",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDirectory { path } => write!(f, "no {path}"),
            Self::NoOutput { path, error } => write!(f, "can't open {path}: {error}"),
            Self::Prologue { error } => write!(f, "the prologue fails ({error})"),
            Self::Features { unknown } => {
                write!(f, "the grid for its architecture is too old for {}", options(unknown))
            }
            Self::Files { error } => write!(f, "files: {error}"),
        }
    }
}

impl Dispatcher {
    /// Handles the refusal of an attempt.
    pub(in crate::dispatch) fn refused(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        attempt: AttemptId,
        why: Refusal,
    ) -> Result<(), DispatchError> {
        let Some(key) = self.known(turn.tx, route, attempt)? else { return Ok(()) };
        let member = turn.tx.member(key.task, key.index)?;
        let refused = RefusedStart { route, attempt, key, server: member.as_ref().and_then(MemberRow::host) };
        let obstacle = match why {
            // Only the database tells whether there is a newer dispatcher.
            Refusal::OldEpoch if turn.tx.home_row()?.epoch > self.instance.epoch => return Err(DispatchError::Fenced),
            Refusal::OldEpoch => {
                let error = "its agent has heard of a newer dispatcher than this home has had: of a copy of this home?";
                return self.postpone_start(turn, refused, error);
            }
            // The attempt is on another machine than this one, and may run there.
            Refusal::Tombstone if !self.is_there(route, member.as_ref().and_then(MemberRow::machine)) => {
                turn.then(Effect::Confirm { route, attempt });
                return Ok(());
            }
            Refusal::Tombstone => {
                if turn.ledger.cancelled(key)? {
                    self.attempts.lanes.drop_attempt(attempt);
                    self.attempts.cancelling.remove(&attempt);
                }
                turn.then(Effect::Confirm { route, attempt });
                return Ok(());
            }
            // The start named the boot of this link's own hello.
            Refusal::OtherBoot
                if member.as_ref().and_then(MemberRow::boot)
                    == self.links.slots.get(&route).and_then(LinkState::boot) =>
            {
                let error = "its agent says that the host was restarted, and that it was not";
                return self.postpone_start(turn, refused, error);
            }
            Refusal::OtherBoot => {
                self.links.restarted.push(route);
                return self.return_to_queue(turn, key, attempt);
            }
            Refusal::Spool { error } | Refusal::Supervisor { error } => {
                return self.postpone_start(turn, refused, &error);
            }
            Refusal::NoDirectory { path } => Obstacle::NoDirectory { path },
            Refusal::NoOutput { path, error } => Obstacle::NoOutput { path, error },
            Refusal::Prologue { error } => Obstacle::Prologue { error },
            Refusal::Features { unknown } => Obstacle::Features { unknown },
            Refusal::Files { error } => {
                self.transferred(turn.tx, key.task)?;
                Obstacle::Files { error }
            }
        };
        self.bar_server(turn, refused, &obstacle)
    }

    /// Handles a server that can't start anything at the moment: the task waits again, and the server is left alone for a while.
    fn postpone_start(
        &mut self,
        turn: &mut Turn<'_, '_>,
        refused: RefusedStart,
        error: &str,
    ) -> Result<(), DispatchError> {
        let RefusedStart { route, attempt, key, server } = refused;
        self.return_to_queue(turn, key, attempt)?;
        if let Some(server) = server {
            turn.tx.record_down(server, error, turn.now.wall)?;
            turn.tx.trace(key.task, turn.now.wall, &format!("not started: {error}"))?;
        }
        self.pause_host(route, turn.now.mono);
        Ok(())
    }

    /// Bars a server that can't start the task: the task goes to the next one, and fails if there is none.
    fn bar_server(
        &mut self,
        turn: &mut Turn<'_, '_>,
        refused: RefusedStart,
        obstacle: &Obstacle,
    ) -> Result<(), DispatchError> {
        let RefusedStart { attempt, key, server, .. } = refused;
        let Some(server) = server else { return self.return_to_queue(turn, key, attempt) };
        // One that was removed meanwhile refuses nothing any more.
        let Some(name) = turn.tx.server_name(server)? else { return self.return_to_queue(turn, key, attempt) };
        turn.tx.trace(key.task, turn.now.wall, &format!("not started on {name}: {obstacle}"))?;
        turn.tx.add_refusal(key.task, server, &obstacle.to_string(), turn.now.wall)?;
        let barred = self.attempts.barred.entry(key.task).or_default();
        barred.insert(server);
        let barred = barred.clone();
        if self.could_run_elsewhere(turn.tx, key.task, &barred)? {
            return self.return_to_queue(turn, key, attempt);
        }
        let mut all = Vec::new();
        for (server, why) in turn.tx.refusals(key.task)? {
            all.extend(turn.tx.server_name(server)?.map(|name| format!("{why} on {name}")));
        }
        let error = format!("{}{}", all.join(", "), obstacle.remedy());
        let end = End {
            cause: Cause::NotExecuted { code: 125, error },
            started_at: None,
            ended_at: turn.now.wall,
            usage: Usage::default(),
            out_len: 0,
            err_len: 0,
            cut: None,
            without: Vec::new(),
        };
        turn.ledger.ended(key, &end, Outputs::Database, false)?;
        self.attempts.lanes.drop_attempt(attempt);
        Ok(())
    }

    /// True if a server other than these could ever run the task.
    fn could_run_elsewhere(&self, tx: &Tx<'_>, task: TaskId, barred: &BTreeSet<ServerId>) -> Result<bool, StoreError> {
        let Some(row) = tx.task(task)? else { return Ok(false) };
        let Some(class) = tx.class(row.class)? else { return Ok(false) };
        let (Some(user), Some(client)) = (tx.user_by_id(class.user)?, tx.client_by_id(class.client)?) else {
            return Ok(false);
        };
        let mut demand = class.demand;
        for server in barred {
            if let Some(server) = self.schedule.fleets.server(*server).map(|server| server.name.clone()) {
                demand.exclude.push(Target { distributor: None, server, elsewhere: false });
            }
        }
        let Ok(query) = Query::new(&demand, &user, &client) else { return Ok(false) };
        Ok(self.schedule.fleets.get(class.distributor).is_some_and(|fleet| fleet.could_ever(&query)))
    }
}
