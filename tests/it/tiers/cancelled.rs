//! Tasks that are cancelled while a search for a home goes on: the home that takes one hears of it, or none takes it.

use super::back::{drain, envelope};
use super::world::{Wire, World, context, found, holds, know, principal, request};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::reconcile::{Reconciled, reconcile};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::{HomeId, TaskId, TaskUuid};
use grid::model::task::State;
use grid::model::time::Timestamp;
use grid::protocol::distributor::{Answer, Question, Verb};
use grid::store::home::Home;
use grid::store::{Durability, Store, StoreError, Tx};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(3);

/// What `grid cancel` writes, of a task that a home was asked to take, and of one that none was.
type Cancel = fn(&Tx<'_>, TaskId) -> Result<(), StoreError>;

fn asked(tx: &Tx<'_>, task: TaskId) -> Result<(), StoreError> {
    tx.cancel_away(task, GRACE)
}

fn unasked(tx: &Tx<'_>, task: TaskId) -> Result<(), StoreError> {
    if tx.is_nowhere(task)? { tx.cancelled_away(task, Timestamp::now()) } else { tx.cancel_away(task, GRACE) }
}

/// The way to the first tiers; the task is cancelled while one of them is asked to place it.
struct CancelledMeanwhile {
    wire: Wire,
    client: PathBuf,
    front: PathBuf,
    cancel: Cancel,
    /// Cancels that were sent to the owners of tasks.
    told: Vec<(HomeId, TaskUuid, u64)>,
}

impl CancelledMeanwhile {
    fn new(world: &Arc<World>, client: &Store, front: &Store, cancel: Cancel) -> Self {
        let [client, front] = [client, front].map(|store| store.home().dir().to_owned());
        Self { wire: Wire::of_client(world), client, front, cancel, told: Vec::new() }
    }
}

impl Peers for CancelledMeanwhile {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        match question {
            Question::PlaceOnGo(envelope) if *endpoint == Endpoint::Path(self.front.clone()) => {
                let mut store = Store::open(&Home::at(&self.client)).unwrap();
                let task = store.view().held_by_uuid(envelope.uuid).unwrap().1.unwrap();
                store.write(Durability::Full, |tx| (self.cancel)(tx, task)).unwrap();
            }
            Question::Task { owner, uuid, verb: Verb::Cancel { index: None, grace_ms }, .. } => {
                self.told.push((*owner, *uuid, *grace_ms));
                return Ok(Answer::Report("[]".to_owned()));
            }
            _ => {}
        }
        self.wire.ask(endpoint, question, each)
    }
}

/// A client of two first tiers, each with a second tier of its own; it runs nothing itself.
fn homes(dir: &Path) -> (Store, [Store; 2]) {
    let mut client = found(&dir.join("client"), 1);
    let fronts = ["a", "b"].map(|name| found(&dir.join(name), 4));
    for (name, front) in ["front-a", "front-b"].into_iter().zip(&fronts) {
        know(&mut client, name, Tier::First, front);
    }
    drain(&mut client, "tier1", Some("not here"));
    (client, fronts)
}

fn cancel_of(client: &Store, task: TaskId) -> Option<Duration> {
    client.view().away(task).unwrap().and_then(|away| away.cancel)
}

fn state(client: &Store, task: TaskId) -> State {
    client.view().task(task).unwrap().unwrap().state()
}

#[test]
fn home_that_takes_a_task_which_is_cancelled_meanwhile_hears_of_it() {
    for refuses_first in [false, true] {
        let (world, dir) = World::new();
        let (mut client, [mut a, b]) = homes(&dir);
        if refuses_first {
            // Its first tier goes on to the next one.
            drain(&mut a, "tier2", Some("not there"));
        }
        let mut peers = CancelledMeanwhile::new(&world, &client, &a, asked);
        let (request, principal) = (request(), principal());
        let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
        let uuid = order.envelope.uuid;
        let placed = place(&mut context(&mut client, &mut peers), &mut order).unwrap();
        let SearchOutcome::Away(task) = placed else { panic!("{placed:?}") };
        let owner = if refuses_first { &b } else { &a };
        assert_eq!((holds(owner, uuid), cancel_of(&client, task)), (true, Some(GRACE)));
        let open = client.view().away_open(10).unwrap();
        assert_eq!(open.iter().map(|away| away.task).collect::<Vec<_>>(), [task], "the dispatcher looks after it");
        let reconciled = reconcile(&mut context(&mut client, &mut peers), &open[0], &principal).unwrap();
        assert_eq!((reconciled, cancel_of(&client, task)), (Reconciled::Placed, None));
        assert_eq!(peers.told, [(owner.view().home_row().unwrap().id, uuid, 3_000)]);
    }
}

/// A task that no home takes yet: all first tiers have a drained second tier.
fn waits(client: &mut Store, fronts: &mut [Store; 2], world: &Arc<World>) -> (TaskId, TaskUuid) {
    fronts.iter_mut().for_each(|front| drain(front, "tier2", Some("later")));
    let (request, principal) = (request(), principal());
    let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
    let uuid = order.envelope.uuid;
    let placed = place(&mut context(client, &mut Wire::of_client(world)), &mut order).unwrap();
    let SearchOutcome::Open { task, .. } = placed else { panic!("{placed:?}") };
    (task, uuid)
}

#[test]
fn search_that_is_resumed_and_ends_elsewhere_tells_the_owner_of_a_cancel() {
    for refuses_first in [false, true] {
        let (world, dir) = World::new();
        let (mut client, mut fronts) = homes(&dir);
        let (task, uuid) = waits(&mut client, &mut fronts, &world);
        let [a, b] = &mut fronts;
        if !refuses_first {
            drain(a, "tier2", None);
        }
        drain(b, "tier2", None);
        let mut peers = CancelledMeanwhile::new(&world, &client, a, unasked);
        let before = client.view().away(task).unwrap().unwrap();
        let reconciled = reconcile(&mut context(&mut client, &mut peers), &before, &principal()).unwrap();
        assert_eq!(reconciled, Reconciled::Placed);
        let owner = if refuses_first { &b } else { &a };
        assert_eq!((holds(owner, uuid), cancel_of(&client, task)), (true, Some(GRACE)));
        for away in client.view().away_open(10).unwrap() {
            reconcile(&mut context(&mut client, &mut peers), &away, &principal()).unwrap();
        }
        assert_eq!(peers.told, [(owner.view().home_row().unwrap().id, uuid, 3_000)]);
        assert_eq!(cancel_of(&client, task), None);
    }
}

#[test]
fn search_that_is_resumed_in_vain_ends_a_task_that_is_cancelled_meanwhile() {
    let (world, dir) = World::new();
    let (mut client, mut fronts) = homes(&dir);
    let (task, uuid) = waits(&mut client, &mut fronts, &world);
    let mut peers = CancelledMeanwhile::new(&world, &client, &fronts[0], unasked);
    for (expected, then) in [(Reconciled::Nobody, State::Pending), (Reconciled::Placed, State::Cancelled)] {
        let open = client.view().away_open(10).unwrap();
        let reconciled = reconcile(&mut context(&mut client, &mut peers), &open[0], &principal()).unwrap();
        assert_eq!((reconciled, state(&client, task)), (expected, then));
        // From now on they would take it.
        fronts.iter_mut().for_each(|front| drain(front, "tier2", None));
    }
    assert!(!fronts.iter().any(|front| holds(front, uuid)));
    assert_eq!(peers.told, []);
}

#[test]
fn task_that_is_given_up_while_a_first_tier_refuses_it_is_offered_to_no_other_one() {
    let (world, dir) = World::new();
    let (mut client, mut fronts) = homes(&dir);
    let (task, uuid) = waits(&mut client, &mut fronts, &world);
    drain(&mut fronts[1], "tier2", None);
    let given_up: Cancel = |tx, task| tx.cancelled_away(task, Timestamp::now());
    let mut peers = CancelledMeanwhile::new(&world, &client, &fronts[0], given_up);
    let before = client.view().away(task).unwrap().unwrap();
    let reconciled = reconcile(&mut context(&mut client, &mut peers), &before, &principal());
    assert!(reconciled.unwrap_err().to_string().contains("cancelled, or given up"));
    assert_eq!((holds(&fronts[1], uuid), state(&client, task)), (false, State::Cancelled));
}
