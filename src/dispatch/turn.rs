//! One turn: all that came is taken into one transaction, what may start is claimed in the same one, and what follows from it is
//! done after the commit.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::{pass, top_up};
use crate::dispatch::sealed;
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

/// May an attempt be over by this?
fn may_end(message: &FromAgent) -> bool {
    match message {
        FromAgent::Hello { .. } => true,
        FromAgent::Events(events) => {
            events.iter().any(|event| !matches!(event, Event::Began { .. } | Event::Orphaned { .. }))
        }
        _ => false,
    }
}

/// What a turn takes in.
struct Intake {
    submits: Vec<(u64, Vec<u8>)>,
    messages: Vec<(Route, FromAgent)>,
    endings: Vec<Ending>,
    /// Lanes in which something waits behind an attempt that takes longer than was thought.
    stuck: Vec<(LaneId, Place)>,
    /// Somebody is told what the transaction says: it is on the disk before that, and only then anything is claimed.
    promises: bool,
}

impl Dispatcher {
    /// One turn. Where nothing came, and nothing is due, no transaction is opened.
    pub(in crate::dispatch) fn turn(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        self.pass_on_pieces(store)?;
        let Some(came) = self.what_came() else {
            self.explain_some(store)?;
            return self.ask_for_readings(store);
        };
        let durability = if came.promises { Durability::Full } else { Durability::Normal };
        let effects = sealed::write(store, durability, |tx| {
            let mut turn = Turn::open(tx, self.ambient.now());
            self.take_in(&mut turn, came)?;
            Ok::<_, DispatchError>(turn.effects)
        })?;
        failpoint("dispatcher-committed");
        self.written();
        self.carry_out(effects);
        self.flush();
        self.move_log(store)?;
        self.ask_for_readings(store)
    }

    /// What needs no transaction: pieces of outputs and files, questions of callers, members that a submit placed already.
    fn pass_on_pieces(&mut self, store: &mut Store) -> Result<(), DispatchError> {
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
        self.look_for_room();
        Ok(())
    }

    /// What there is to take in. None: nothing came, and nothing is due.
    fn what_came(&mut self) -> Option<Intake> {
        let now = self.ambient.now().mono;
        let due = self.schedule.starve_at <= now || self.attempts.lose_at.is_some_and(|at| at <= now);
        let submits = self.callers.submits();
        let heard = !self.links.inbox.is_empty()
            || !self.transfers.endings.is_empty()
            || !self.transfers.again.is_empty()
            || !submits.is_empty()
            || self.transfers.discards.have_heard()
            || self.disk.shortage.has_cancels();
        let quiet = !heard && !self.activity.dirty && !self.schedule.queue.is_dirty() && !due;
        let stuck = self.attempts.lanes.stuck(now);
        if quiet && stuck.is_empty() {
            return None;
        }
        // A claim is on the disk before its start is sent, an end before it is told: to whoever waits, and to its agent, which
        // then forgets that it ever ran.
        let ends = !self.transfers.endings.is_empty() || self.links.inbox.iter().any(|(_, message)| may_end(message));
        let asked = !submits.is_empty() || self.callers.watching() || self.activity.dirty;
        let promises = asked || ends || due || !self.schedule.queue.is_empty();
        let messages = std::mem::take(&mut self.links.inbox);
        let endings = std::mem::take(&mut self.transfers.endings);
        self.disk.shortage.takes_in(&messages, &endings, &submits);
        self.activity.dirty = false;
        Some(Intake { submits, messages, endings, stuck, promises })
    }

    /// Takes it into the open transaction, in the order in which one thing follows from the other.
    fn take_in(&mut self, turn: &mut Turn<'_, '_>, came: Intake) -> Result<(), DispatchError> {
        let Intake { submits, messages, endings, stuck, promises } = came;
        self.schedule.users.forget();
        self.attempts.settings.refresh(turn.now.mono);
        self.look_at_servers(turn.tx)?;
        self.schedule.fleets.look_up(turn.tx, turn.now.wall)?;
        self.handle_submits(turn, submits)?;
        self.record_cancels(turn)?;
        self.refuse_probes(turn);
        self.recall(turn, stuck);
        // Before an agent may report such an end once more.
        self.take_arrived(turn, endings)?;
        for (route, message) in messages {
            self.collect(turn, route, message)?;
        }
        self.record_again(turn)?;
        self.strike_discards(turn.tx)?;
        self.carry_out_cancels(turn)?;
        self.give_up_lost(turn)?;
        self.look_at_classes(turn.tx)?;
        // What came into the queue only now is claimed by the next turn, durably.
        if promises {
            top_up::top_up(self, turn)?;
        }
        self.close_lanes(turn.tx)?;
        self.starve(turn.tx, turn.now)?;
        if promises {
            pass::pass(self, turn)?;
        }
        for task in turn.ledger.close()? {
            self.attempts.barred.remove(&task);
            self.attempts.avoided.remove(&task);
        }
        self.look_at_watches(turn)
    }

    /// Callers that ask for a probe of a server that there is none of.
    fn refuse_probes(&self, turn: &mut Turn<'_, '_>) {
        for (server, _) in self.callers.probes() {
            if self.route_to(server).is_none() {
                turn.then(Effect::Probed { server, read: Err("there is no such server to be read".to_owned()) });
            }
        }
    }

    /// Takes back what waits in lanes that are stuck, but for those of machines that do not answer.
    fn recall(&self, turn: &mut Turn<'_, '_>, stuck: Vec<(LaneId, Place)>) {
        for (lane, place) in stuck.into_iter().filter(|(lane, _)| !self.is_elsewhere(*lane)) {
            if let Some(route) = self.route_of(place) {
                turn.then(Effect::Recall { route, lane });
            }
        }
    }
}
