//! One turn: everything received is applied in one transaction, what may start is claimed in the same transaction, and the effects
//! are carried out after the commit.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::{pass, top_up};
use crate::dispatch::sealed;
use crate::dispatch::submits::SubmitMessage;
use crate::dispatch::transfer::ending::Ending;
use crate::matching::Place;
use crate::model::ambient::Now;
use crate::model::failpoint::failpoint;
use crate::model::id::LaneId;
use crate::protocol::agent::{Event, FromAgent};
use crate::store::ledger::Ledger;
use crate::store::{Durability, Store, Tx};

/// A turn whose transaction is open.
#[derive(Debug)]
pub struct Turn<'t, 'c> {
    pub tx: &'t Tx<'c>,
    pub ledger: Ledger<'t, 'c>,
    pub now: Now,
    pub effects: Vec<Effect>,
}

impl<'t, 'c> Turn<'t, 'c> {
    /// Opens the ledger of a transaction.
    pub fn open(tx: &'t Tx<'c>, now: Now) -> Self {
        Self { tx, ledger: Ledger::open(tx, now.wall), now, effects: Vec::new() }
    }

    /// Adds an effect.
    pub fn then(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

/// True if the message may end an attempt.
fn may_end(message: &FromAgent) -> bool {
    match message {
        FromAgent::Hello { .. } => true,
        FromAgent::Events(events) => {
            events.iter().any(|event| !matches!(event, Event::Began { .. } | Event::Orphaned { .. }))
        }
        _ => false,
    }
}

/// The input of one turn.
struct Intake {
    submits: Vec<(u64, SubmitMessage)>,
    messages: Vec<(Route, FromAgent)>,
    endings: Vec<Ending>,
    /// Lanes with members queued behind an attempt that runs longer than estimated.
    stuck: Vec<(LaneId, Place)>,
    /// The transaction is durable: its content is sent to a caller or an agent. Members are claimed only in a durable transaction.
    promises: bool,
}

impl Dispatcher {
    /// Runs one turn. Without input, and with nothing due, no transaction is opened.
    pub(in crate::dispatch) fn turn(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        self.send_pending_data(store)?;
        let Some(intake) = self.take_intake() else {
            self.explain_some(store)?;
            return self.send_probes(store);
        };
        let durability = if intake.promises { Durability::Full } else { Durability::Normal };
        let effects = sealed::write(store, durability, |tx| {
            let mut turn = Turn::open(tx, self.ambient.now());
            self.apply(&mut turn, intake)?;
            Ok::<_, DispatchError>(turn.effects)
        })?;
        failpoint("dispatcher-committed");
        self.committed();
        self.carry_out(effects);
        self.flush();
        self.move_log(store)?;
        self.send_probes(store)
    }

    /// Sends what needs no transaction: chunks of outputs and files, questions of callers, members that a submit has placed.
    fn send_pending_data(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        self.send_unsent(store)?;
        self.take_chunks();
        self.send_pieces();
        self.send_discards();
        self.send_progress(store)?;
        for (route, question) in self.callers.askable(|(route, machine)| {
            let slot = self.links.slots.get(&route).filter(|slot| slot.boot().is_some());
            slot.is_some_and(|slot| machine.is_none() || slot.machine == machine)
        }) {
            self.send(route, &question);
        }
        self.requeue_full_spools();
        Ok(())
    }

    /// Removes and gives the input of the turn. None: there is none, and nothing is due.
    fn take_intake(&mut self) -> Option<Intake> {
        let now = self.ambient.now().mono;
        let due = self.schedule.starving.due <= now || self.attempts.due_at().is_some_and(|at| at <= now);
        let submits = self.callers.submits();
        let heard = !self.links.inbox.is_empty()
            || !self.transfers.endings.is_empty()
            || !self.transfers.again.is_empty()
            || !submits.is_empty()
            || self.transfers.discards.have_received()
            || self.disk.shortage.has_cancels();
        let quiet = !heard && !self.activity.dirty && !self.schedule.queue.is_dirty() && !due;
        let stuck = self.attempts.lanes.stuck(now);
        if quiet && stuck.is_empty() {
            return None;
        }
        // A claim is on the disk before its start is sent, and an end before its callers and its agent are told: the agent then
        // drops its record.
        let ends = !self.transfers.endings.is_empty() || self.links.inbox.iter().any(|(_, message)| may_end(message));
        let asked = !submits.is_empty() || self.callers.watching() || self.activity.dirty;
        let promises = asked || ends || due || !self.schedule.queue.is_empty();
        let messages = std::mem::take(&mut self.links.inbox);
        let endings = std::mem::take(&mut self.transfers.endings);
        self.disk.shortage.will_record(&messages, &endings, &submits);
        self.activity.dirty = false;
        Some(Intake { submits, messages, endings, stuck, promises })
    }

    /// Applies the input in the open transaction. Later steps depend on earlier ones.
    fn apply(&mut self, turn: &mut Turn<'_, '_>, intake: Intake) -> Result<(), DispatchError> {
        let Intake { submits, messages, endings, stuck, promises } = intake;
        self.schedule.users.forget();
        self.attempts.settings.refresh(turn.now.mono);
        self.load_servers(turn.tx)?;
        self.schedule.fleets.look_up(turn.tx, turn.now.wall)?;
        self.handle_submits(turn, submits)?;
        self.record_cancels(turn)?;
        self.refuse_probes(turn);
        self.recall(turn, stuck);
        // Before the messages: an agent may report the same end again.
        self.record_arrived(turn, endings)?;
        for (route, message) in messages {
            self.collect(turn, route, message)?;
        }
        self.record_refetched(turn)?;
        self.delete_discards(turn.tx)?;
        self.carry_out_cancels(turn)?;
        self.end_out_of_reach(turn)?;
        self.free_due(turn)?;
        self.load_classes(turn.tx)?;
        // Without a durable commit nothing is claimed: the next turn is durable and claims it.
        if promises {
            top_up::top_up(self, turn)?;
        }
        self.close_lanes(turn.tx)?;
        self.reserve_for_starving(turn.tx, turn.now)?;
        if promises {
            pass::pass(self, turn)?;
        }
        for task in turn.ledger.close()? {
            if self.attempts.barred.remove(&task).is_some() {
                turn.tx.drop_refusals(task)?;
            }
            self.attempts.retries.forget(task);
        }
        self.answer_watches(turn)
    }

    /// Refuses requested probes of servers that do not exist.
    fn refuse_probes(&self, turn: &mut Turn<'_, '_>) {
        for (server, _) in self.callers.probes() {
            if self.route_to(server).is_none() {
                turn.then(Effect::Probed { server, read: Err("there is no such server to be read".to_owned()) });
            }
        }
    }

    /// Recalls the queued members of stuck lanes, except from machines that do not answer.
    fn recall(&self, turn: &mut Turn<'_, '_>, stuck: Vec<(LaneId, Place)>) {
        for (lane, place) in stuck.into_iter().filter(|(lane, _)| !self.is_elsewhere(*lane)) {
            if let Some(route) = self.route_of(place) {
                turn.then(Effect::Recall { route, lane });
            }
        }
    }
}
