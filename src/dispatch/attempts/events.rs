//! Taking in what agents say: what began, what ended, what was refused.

use crate::dispatch::links::link_state::Slot;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::dispatch::turn::Outcome;
use crate::matching::{Place, Query};
use crate::model::attempt::{Cause, End, Stream, Usage};
use crate::model::demand::Target;
use crate::model::failpoint::failpoint;
use crate::model::feature::options;
use crate::model::id::{AttemptId, Index, ServerId, TaskId};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Ended, Event, FromAgent, Refusal};
use crate::store::ledger::Ledger;
use crate::store::members::Outputs;
use crate::store::{StoreError, Tx};
use std::time::{Duration, Instant};

/// An attempt that the home knows.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct Known {
    pub task: TaskId,
    pub index: Index,
    pub number: u32,
}

impl Dispatcher {
    /// Takes one message into the transaction.
    pub(in crate::dispatch) fn collect(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        route: Route,
        message: FromAgent,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        match message {
            FromAgent::Hello { boot, machine, hostname, inventory, .. } => {
                let answering = self.answering(tx, route, &machine, &hostname)?;
                self.recover(tx, ledger, route, (&boot, answering), inventory, outcome)
            }
            FromAgent::Unfit { error } => self.route_down(tx, ledger, route, &error, outcome),
            FromAgent::Facts(facts) => {
                let now = Timestamp::now();
                let asked_at = self.links.get_mut(&route).and_then(|slot| slot.probing.take()).map(|(at, _)| at);
                let servers = self.servers_on(route);
                if let Some(asked_at) = asked_at
                    && self.read_since(tx, &servers, asked_at)?
                {
                    // Somebody recorded a reading that began after this one, perhaps of other applications: it stands.
                    self.read_by(route, Instant::now());
                    return Ok(());
                }
                for id in servers {
                    tx.record_facts(id, &facts, now)?;
                    outcome.probed.push((id, Ok(asked_at.unwrap_or(now))));
                }
                self.look_at_servers(tx)?;
                crate::distributor::tier2::reconsider_unmatched(tx, &mut self.fleets, now).map_err(|e| match e {
                    crate::distributor::tier2::TierError::Store(error) => error,
                    other => StoreError::Corrupt { path: "grid.db".into(), found: other.to_string() },
                })?;
                Ok(())
            }
            FromAgent::Events(events) => {
                for event in events {
                    self.event(tx, ledger, route, event, outcome)?;
                }
                Ok(())
            }
            // Pieces never reach a transaction.
            FromAgent::Data { .. }
            | FromAgent::Need { .. }
            | FromAgent::Packed { .. }
            | FromAgent::Packet { .. }
            | FromAgent::Cleared { .. } => Ok(()),
        }
    }

    /// Was one of these servers read anew since then?
    fn read_since(&self, tx: &Tx<'_>, servers: &[ServerId], since: Timestamp) -> Result<bool, StoreError> {
        for id in servers {
            if tx.server_by_id(*id)?.and_then(|s| s.pool).is_some_and(|pool| pool.read_at > since) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(in crate::dispatch) fn event(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        route: Route,
        event: Event,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        match event {
            Event::Began { attempt, at, .. } => {
                self.lanes.began(attempt);
                if let Some(known) = self.known(tx, route, attempt)? {
                    ledger.began(known.task, known.index, known.number, at)?;
                    self.transferred(tx, known.task)?;
                }
                Ok(())
            }
            Event::Orphaned { attempt } => {
                if let Some(known) = self.known(tx, route, attempt)? {
                    tx.mark_orphaned(known.task, known.index)?;
                    tx.trace(known.task, Timestamp::now(), "its supervisor is gone; the command runs on without one")?;
                }
                Ok(())
            }
            Event::Ended { attempt, ended } => self.attempt_ended(tx, ledger, route, attempt, ended, outcome),
            Event::Recalled { attempt } => match self.known(tx, route, attempt)? {
                Some(known) => self.back_to_waiting(ledger, known, attempt),
                None => Ok(()),
            },
            Event::Refused { attempt, why } => self.refused(tx, ledger, route, attempt, why, outcome),
        }
    }

    /// The member of an attempt: from its lane, else from the database. None also where the attempt lies with a server that this
    /// link does not lead to: an attempt that never began keeps its number on its way to the next server, and a late word of
    /// the first one must not touch it there.
    pub(in crate::dispatch) fn known(&self, tx: &Tx<'_>, from: Route, attempt: AttemptId) -> Result<Option<Known>, StoreError> {
        let known = |task| Known { task, index: attempt.index, number: attempt.number };
        if let Some((lane, held)) = self.lanes.find(attempt) {
            let place = self.lanes.get(lane).map(|lane| lane.place);
            let here = place.and_then(|place| self.route_of(place)).is_none_or(|route| route == from);
            return Ok(here.then(|| known(held.task)));
        }
        let Some(task) = tx.task_by_uuid(attempt.task)? else { return Ok(None) };
        let member = tx.member(task, attempt.index)?.filter(|member| member.number == attempt.number);
        let place = member.and_then(|m| Some(Place { server: m.server?, host: m.host? }));
        let here = place.and_then(|place| self.route_of(place)).is_none_or(|route| route == from);
        Ok(here.then(|| known(task)))
    }

    fn attempt_ended(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        route: Route,
        attempt: AttemptId,
        ended: Ended,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        let Some(known) = self.known(tx, route, attempt)? else {
            outcome.confirm.push((route, attempt));
            return Ok(());
        };
        // The process is gone: what it held is free, also while a long output is still on its way home.
        if let Some((lane, held)) = self.lanes.drop_attempt(attempt)
            && let Some(class) = self.lanes.get(lane).map(|l| l.class)
        {
            let took = match (ended.end.started_at, held.began) {
                (Some(from), _) => from.age_at(ended.end.ended_at),
                (None, Some(began)) => began.elapsed(),
                (None, None) => Duration::ZERO,
            };
            self.lanes.learn(class, took);
            self.moved(route);
        }
        let again = self.starts_again(tx, known, &ended.end.cause)?;
        // What a failed attempt made goes with it if there is another one.
        if !again && !self.bring(tx, route, known, attempt, &ended)? {
            return Ok(tx.leave_lane(known.task, known.index, known.number)?);
        }
        let is_long = |bytes: &Option<Vec<u8>>, len: u64| bytes.is_none() && len > 0;
        let limit = match is_long(&ended.out, ended.end.out_len) || is_long(&ended.err, ended.end.err_len) {
            true => tx.setting("output_limit")?.and_then(|text| Bytes::parse(&text).ok()).map_or(64 << 20, |b| b.0),
            false => 0,
        };
        let outputs = match self.fetches.outputs(&self.home, known, (route, attempt), &ended, limit) {
            crate::dispatch::transfer::outputs::Where::Known(outputs) => outputs,
            crate::dispatch::transfer::outputs::Where::OnItsWay(asks) => {
                for ask in asks {
                    self.tell(route, &ask);
                }
                return Ok(tx.leave_lane(known.task, known.index, known.number)?);
            }
        };
        if again && let Some(server) = tx.member(known.task, known.index)?.and_then(|m| m.server) {
            self.avoided.insert(known.task, server);
        }
        let news = ledger.ended(known.task, known.index, known.number, &ended.end, outputs, again)?;
        if news {
            if outputs == Outputs::Database {
                for (stream, body) in [(Stream::Out, &ended.out), (Stream::Err, &ended.err)] {
                    tx.keep_output(known.task, known.index, known.number, stream, body.as_deref().unwrap_or_default())?;
                }
            }
            self.keep_brought(tx, known, attempt)?;
            if again {
                self.stirred = true;
            } else {
                outcome.ended.push((known.task, Some(known.index)));
            }
        }
        self.cancelling.remove(&attempt);
        let stay = self.files_stay(tx, known, attempt, news)?;
        if outputs != Outputs::Server && !stay {
            outcome.confirm.push((route, attempt));
        } else if !stay {
            // Its output is read from there, its directory is not needed any more.
            outcome.drop_files.push((route, attempt));
        }
        self.bringing.close(attempt);
        failpoint("dispatcher-end-taken");
        Ok(())
    }

    /// `--retries` covers ends with a known code, `--retry-lost` the others; a cancel ends both.
    fn starts_again(&self, tx: &Tx<'_>, known: Known, cause: &Cause) -> Result<bool, StoreError> {
        if !cause.known_failure() && !matches!(cause, Cause::Lost { .. }) {
            return Ok(false);
        }
        let Some(row) = tx.task(known.task)? else { return Ok(false) };
        if tx.cancel_asked(known.task, Some(known.index))?.is_some() {
            return Ok(false);
        }
        Ok(match cause {
            Cause::Lost { .. } => row.retry_lost && known.number <= row.retries.max(1),
            _ => known.number <= row.retries,
        })
    }

    /// It never began: it waits as if it had never been given to a server.
    pub(in crate::dispatch) fn back_to_waiting(
        &mut self,
        ledger: &mut Ledger<'_, '_>,
        known: Known,
        attempt: AttemptId,
    ) -> Result<(), DispatchError> {
        if ledger.unplaced(known.task, known.index, known.number)? {
            self.lanes.drop_attempt(attempt);
            self.cancelling.remove(&attempt);
            self.stirred = true;
        }
        Ok(())
    }

    fn refused(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        route: Route,
        attempt: AttemptId,
        why: Refusal,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        let Some(known) = self.known(tx, route, attempt)? else { return Ok(()) };
        let member = tx.member(known.task, known.index)?;
        let server = member.as_ref().and_then(|m| m.host);
        match why {
            // Whether there is a newer dispatcher stands in the database, and nowhere else.
            Refusal::OldEpoch if tx.home_row()?.epoch > self.epoch => return Err(DispatchError::Fenced),
            Refusal::OldEpoch => {
                let error = "its agent has heard of a newer dispatcher than this home has had: of a copy of this home?";
                self.not_started(tx, ledger, known, attempt, (route, server), error)?;
            }
            // It lies with another machine than this one, and may run there.
            Refusal::Tombstone if !self.is_there(route, member.as_ref().and_then(|m| m.machine)) => {
                outcome.confirm.push((route, attempt));
            }
            Refusal::Tombstone => {
                if ledger.cancelled(known.task, known.index, known.number)? {
                    self.lanes.drop_attempt(attempt);
                    self.cancelling.remove(&attempt);
                    outcome.ended.push((known.task, Some(known.index)));
                }
                outcome.confirm.push((route, attempt));
            }
            // The start named the boot of which this very link's hello speaks.
            Refusal::OtherBoot
                if member.and_then(|m| m.boot).as_ref() == self.links.get(&route).and_then(Slot::boot) =>
            {
                let error = "its agent says that the host was restarted, and that it was not";
                self.not_started(tx, ledger, known, attempt, (route, server), error)?;
            }
            Refusal::OtherBoot => {
                self.back_to_waiting(ledger, known, attempt)?;
                self.lost_routes.push(route);
            }
            Refusal::NoDirectory { path } => {
                self.bar(tx, ledger, known, attempt, server, &format!("no {path}"), outcome)?;
            }
            Refusal::NoOutput { path, error } => {
                self.bar(tx, ledger, known, attempt, server, &format!("can't open {path}: {error}"), outcome)?;
            }
            Refusal::Prologue { error } => {
                self.bar(tx, ledger, known, attempt, server, &format!("the prologue fails ({error})"), outcome)?;
            }
            Refusal::Features { unknown } => {
                let why = format!("the grid for its architecture is too old for {}", options(&unknown));
                self.bar(tx, ledger, known, attempt, server, &why, outcome)?;
            }
            Refusal::Files { error } => {
                self.transferred(tx, known.task)?;
                self.bar(tx, ledger, known, attempt, server, &format!("files: {error}"), outcome)?;
            }
            Refusal::Spool { error } | Refusal::Supervisor { error } => {
                self.not_started(tx, ledger, known, attempt, (route, server), &error)?;
            }
        }
        Ok(())
    }

    /// Nothing starts on this server at the moment: the task waits again, and the server rests.
    fn not_started(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        known: Known,
        attempt: AttemptId,
        (route, server): (Route, Option<ServerId>),
        error: &str,
    ) -> Result<(), DispatchError> {
        self.back_to_waiting(ledger, known, attempt)?;
        if let Some(server) = server {
            tx.record_down(server, error, Timestamp::now())?;
            tx.trace(known.task, Timestamp::now(), &format!("not started: {error}"))?;
        }
        self.rest(route);
        Ok(())
    }

    /// This server can't start the task. It goes on to the next one, and fails where there is none.
    #[expect(clippy::too_many_arguments, reason = "one refusal; a struct would only rename its parts")]
    fn bar(
        &mut self,
        tx: &Tx<'_>,
        ledger: &mut Ledger<'_, '_>,
        known: Known,
        attempt: AttemptId,
        server: Option<ServerId>,
        why: &str,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        let Some(server) = server else { return self.back_to_waiting(ledger, known, attempt) };
        let name = tx.server_name(server)?.map_or_else(|| "?".to_owned(), |n| n.to_string());
        let text = format!("{why} on {name}");
        tx.trace(known.task, Timestamp::now(), &format!("not started: {text}"))?;
        let barred = self.barred.entry(known.task).or_default();
        if !barred.iter().any(|(id, _)| *id == server) {
            barred.push((server, text));
        }
        let barred = barred.clone();
        if self.could_run_elsewhere(tx, known.task, &barred)? {
            return self.back_to_waiting(ledger, known, attempt);
        }
        let all: Vec<&str> = barred.iter().map(|(_, text)| text.as_str()).collect();
        let hint = if why.starts_with("no ") { ": add --dir, --send or --cwd" } else { "" };
        let error = format!("{}{hint}", all.join(", "));
        let cause = Cause::NotExecuted { code: 125, error };
        let end = End {
            cause,
            started_at: None,
            ended_at: Timestamp::now(),
            usage: Usage::default(),
            out_len: 0,
            err_len: 0,
            cut: None,
        };
        ledger.ended(known.task, known.index, known.number, &end, Outputs::Database, false)?;
        self.lanes.drop_attempt(attempt);
        outcome.ended.push((known.task, Some(known.index)));
        Ok(())
    }

    fn could_run_elsewhere(
        &self,
        tx: &Tx<'_>,
        task: TaskId,
        barred: &[(ServerId, String)],
    ) -> Result<bool, StoreError> {
        let Some(row) = tx.task(task)? else { return Ok(false) };
        let Some(class) = tx.class(row.class)? else { return Ok(false) };
        let (Some(user), Some(client)) = (tx.user_by_id(class.user)?, tx.client_by_id(class.client)?) else {
            return Ok(false);
        };
        let mut demand = class.demand;
        for (id, _) in barred {
            if let Some(server) = self.fleets.server(*id).map(|server| server.name.clone()) {
                demand.exclude.push(Target { distributor: None, server, elsewhere: false });
            }
        }
        let Ok(query) = Query::new(&demand, &user, &client) else { return Ok(false) };
        Ok(self.fleets.get(class.distributor).is_some_and(|fleet| fleet.could_ever(&query)))
    }
}
