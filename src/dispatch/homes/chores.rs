//! Chores for other homes: the dispatcher relays questions, records who answers, retries silent homes, and has open searches
//! settled. It removes what killed commands left.

use crate::dispatch::client::relay::Relay;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::homes::peers::PeerQuestion;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::distributor::context::TierContext;
use crate::distributor::owner;
use crate::distributor::principal::Principal;
use crate::distributor::reconcile::{self, Reconciled};
use crate::distributor::registry;
use crate::distributor::search_lock::SearchLock;
use crate::model::ambient::{Now, System};
use crate::model::endpoint::Endpoint;
use crate::model::id::TaskId;
use crate::model::name::Name;
use crate::model::ssh::Login;
use crate::model::ssh_command::SshCommand;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::distributors::SILENT_RETRY;
use crate::store::{Durability, Home, Store, StoreError, View, draining};
use std::collections::BTreeSet;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Chores that ask other homes, and so run beside the loop.
#[derive(Debug, Default)]
pub struct Chores {
    running: Option<JoinHandle<()>>,
    /// When they were last checked.
    at: Option<Instant>,
    /// When ends are confirmed again whose confirmation has not arrived; None: there are none.
    confirm_at: Option<Instant>,
    /// When the files of searches that died were removed.
    swept_at: Option<Instant>,
}

/// How often open searches and reports are checked: no report is sent more often.
const EVERY: Duration = registry::APART;
/// How often ends are confirmed again whose confirmation has not arrived.
const CONFIRM_EVERY: Duration = Duration::from_secs(30);
/// How often the files of searches that died are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// Tasks that no home takes now: so many are offered again in each round.
const IN_VAIN: usize = 20;

impl Chores {
    /// Are ends to be confirmed again now? At the `first` check, and when they have waited. `any`: there are some.
    fn confirms(&mut self, any: bool, first: bool, now: Instant) -> bool {
        let due = any && (first || self.confirm_at.is_some_and(|at| now >= at));
        if due || !any {
            self.confirm_at = None;
        }
        if any {
            self.confirm_at.get_or_insert(now + CONFIRM_EVERY);
        }
        due
    }
}

impl Dispatcher {
    /// Sends a command's question to another home.
    pub(in crate::dispatch) fn ask_elsewhere(
        &mut self,
        view: &View<'_>,
        endpoint: &Endpoint,
        asked: PeerQuestion,
    ) -> Result<(), StoreError> {
        let command = ssh_to(view, endpoint)?;
        let said = self.homes.peers.ask(&mut self.links.connector, endpoint, command, asked);
        self.send_all(said);
        Ok(())
    }

    /// Receives messages of another home.
    pub(in crate::dispatch) fn receive_elsewhere(&mut self, endpoint: &Endpoint) {
        let said = self.homes.peers.receive(&mut self.links.connector, endpoint);
        self.send_all(said);
    }

    fn send_all(&mut self, said: Vec<(u64, FromDispatcher)>) {
        for (caller, message) in said {
            self.callers.send(caller, &message);
        }
    }

    /// Runs once a round: time-outs, findings into the database, retries of silent homes.
    pub(in crate::dispatch) fn run_peers(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let said = self.homes.peers.tick(&mut self.links.connector);
        self.send_all(said);
        let alive: Vec<u64> = self.callers.all.iter().filter(|c| !c.gone).map(|c| c.id).collect();
        self.homes.peers.forget(|id| alive.contains(&id));
        let said = self.homes.peers.flush(&mut self.links.connector);
        self.send_all(said);
        let findings = std::mem::take(&mut self.homes.peers.findings);
        let now = self.ambient.now();
        if !findings.is_empty() {
            sealed::write(store, Durability::Normal, |tx| {
                for (endpoint, found) in &findings {
                    match found {
                        Ok(home) => tx.endpoint_answers(endpoint, *home)?,
                        Err(why) => tx.endpoint_silent(endpoint, why, now.wall)?,
                    }
                }
                Ok::<_, StoreError>(())
            })?;
            self.homes.silent_at = Some(now.mono);
        }
        if self.homes.silent_at.is_none_or(|at| now.since(at) >= Duration::from_secs(5)) {
            self.homes.silent_at = Some(now.mono);
            for (endpoint, tried) in store.view().silent_endpoints()? {
                if tried.is_past(SILENT_RETRY, now.wall) && !self.homes.peers.is_up(&endpoint) {
                    let command = ssh_to(&store.view(), &endpoint)?;
                    let said = self.homes.peers.wake(&mut self.links.connector, &endpoint, command);
                    self.send_all(said);
                }
            }
        }
        self.do_chores(store, now)
    }

    /// Reconciles open searches and sends reports beside the loop: both ask questions that this dispatcher relays. Ends drains that a
    /// killed command left.
    fn do_chores(&mut self, store: &mut Store, now: Now) -> Result<(), DispatchError> {
        if self.homes.chores.running.as_ref().is_some_and(JoinHandle::is_finished) {
            self.homes.chores.running = None;
        }
        if self.homes.chores.running.is_some() || self.homes.chores.at.is_some_and(|at| now.since(at) < EVERY) {
            return Ok(());
        }
        let first = self.homes.chores.at.replace(now.mono).is_none();
        if self.homes.chores.swept_at.is_none_or(|at| now.since(at) >= SWEEP_EVERY) {
            self.homes.chores.swept_at = Some(now.mono);
            SearchLock::remove_left(&self.home);
        }
        if draining::may_be_left(&self.home) {
            match draining::end_left(store) {
                Ok(ended) => self.activity.dirty |= ended,
                Err(error) => tracing::warn!("servers stay drained: {error}"),
            }
        }
        let view = store.view();
        let confirms = self.homes.chores.confirms(!view.away_unconfirmed(TaskId(0), 1)?.is_empty(), first, now.mono);
        if !confirms && view.away_open(1)?.is_empty() && !registry::is_pending(&view, now.wall)? {
            return Ok(());
        }
        let home = self.home.clone();
        let owner = self.instance.owner.clone();
        self.homes.chores.running = Some(std::thread::spawn(move || {
            if let Err(error) = chores(&home, &owner, confirms) {
                tracing::warn!("other homes: {error}");
            }
        }));
        Ok(())
    }

    /// True while chores run.
    pub(in crate::dispatch) fn has_chores(&self) -> bool {
        self.homes.chores.running.is_some()
    }

    /// When there is work for other homes, at the latest.
    pub(in crate::dispatch) fn homes_due(&self) -> Option<Instant> {
        let busy = !self.attempts.lanes.is_empty() || !self.schedule.queue.is_empty();
        // The loop polls running chores in short steps: a time that has passed would make it spin.
        let chores = self.homes.chores.at.filter(|_| busy && !self.has_chores()).map(|at| at + EVERY);
        self.homes.peers.due(&self.links.connector).into_iter().chain(chores).min()
    }
}

/// The ssh command for an endpoint; unused if the endpoint is a path.
fn ssh_to(view: &View<'_>, endpoint: &Endpoint) -> Result<SshCommand, StoreError> {
    match endpoint {
        Endpoint::Ssh { .. } => view.ssh_to(endpoint),
        _ => Ok(SshCommand::default()),
    }
}

fn chores(home: &Home, me: &Name, confirms: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut store = Store::open(home)?;
    let mut peers = Relay::new(home, &Login::default());
    let mut context = TierContext { store: &mut store, peers: &mut peers, ambient: &System };
    let principal = Principal::resident(me.clone());
    // A silent home is asked about one task in each round.
    let mut silent = BTreeSet::new();
    let mut in_vain = 0;
    for away in context.store.view().away_open(1_000)? {
        let now = context.now();
        if away.tried_at.is_some_and(|at| !at.is_past(EVERY, now)) {
            continue;
        }
        // Those that wait longest without a try come first: all have their turn, some in each round.
        if silent.contains(&away.asked) || in_vain >= IN_VAIN {
            continue;
        }
        match reconcile::reconcile(&mut context, &away, &principal) {
            Ok(Reconciled::Open) => drop(silent.insert(away.asked)),
            Ok(Reconciled::Placed | Reconciled::GoingOn) => {}
            Ok(Reconciled::Nobody) => in_vain += 1,
            // A search that can't be reconciled delays no other search, and no report.
            Err(error) => tracing::warn!("task {}: {error}", away.task),
        }
    }
    registry::send_due(&mut context, "change", false)?;
    if confirms {
        owner::confirm_rest(context.store, context.peers, owner::CONFIRMED_AT_ONCE)?;
    }
    Ok(())
}
