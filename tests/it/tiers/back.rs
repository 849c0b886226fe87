//! Tasks whose way leads back to the home that they came from, and rows of the way that have moved since they were read.

use super::world::{Wire, World, context, found, holds, know, principal, request};
use grid::distributor::front::{LAST_ROUND, SERIES};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::reconcile::{Reconciled, reconcile};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::{TaskId, TaskUuid};
use grid::model::task::{Phase, Request, State};
use grid::protocol::distributor::{Answer, Question, Refused};
use grid::protocol::envelope::Envelope;
use grid::protocol::seal;
use grid::store::away::{AskedAway, Away, AwayState};
use grid::store::{Durability, Store, StoreError};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn envelope(request: &Request) -> Envelope {
    let sealed = seal::seal(request).unwrap().0;
    Envelope { version: 1, uuid: TaskUuid::new(), round: SERIES, user: None, hops: 0, sealed, list: None }
}

pub(super) fn drain(store: &mut Store, name: &str, reason: Option<&str>) {
    let id = store.view().distributor(name).unwrap().unwrap().id;
    let drained = store.write(Durability::Normal, |tx| tx.set_distributor_drained(id, reason));
    drained.map_err(|error: StoreError| error).unwrap();
}

/// The home has no server any more.
pub(super) fn remove_server(store: &mut Store) {
    let id = store.view().server("local").unwrap().unwrap().id;
    let removed = store.write(Durability::Normal, |tx| tx.remove_server(id));
    removed.map_err(|error: StoreError| error).unwrap();
}

#[test]
fn a_row_that_was_read_before_its_command_placed_it_is_read_again() {
    let (world, dir) = World::new();
    let mut client = found(&dir.join("client"), 1);
    let [mut a, b, c] = ["a", "b", "c"].map(|name| found(&dir.join(name), 4));
    for (name, front) in [("front-a", &a), ("front-b", &b), ("front-c", &c)] {
        know(&mut client, name, Tier::First, front);
    }
    drain(&mut client, "tier1", Some("not here"));
    drain(&mut a, "tier2", Some("not there"));
    drain(&mut client, "front-c", Some("later"));
    let (request, principal) = (request(), principal());
    let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
    let uuid = order.envelope.uuid;
    let placed = place(&mut context(&mut client, &mut Wire::of_client(&world)), &mut order).unwrap();
    let SearchOutcome::Away(task) = placed else { panic!("{placed:?}") };
    assert!(holds(&b, uuid));
    // As it stood while front-a was asked. From now on another one than front-b would take the task.
    let now = client.view().away(task).unwrap().unwrap();
    let (asked, held) = (Endpoint::Path(a.home().dir().to_owned()), AwayState::Open { onward: true, among: None });
    let before = Away { asked, held, round: SERIES, ..now.clone() };
    drain(&mut client, "front-b", Some("later"));
    drain(&mut client, "front-c", None);
    let reconciled = reconcile(&mut context(&mut client, &mut Wire::of_client(&world)), &before, &principal).unwrap();
    assert_eq!((reconciled, holds(&c, uuid)), (Reconciled::Placed, false));
    assert_eq!(client.view().away(task).unwrap().unwrap(), now);
}

/// A first tier that is asked, and is not there; while it is asked, the task is cancelled.
struct Cancelled {
    client: PathBuf,
}

impl Peers for Cancelled {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        _: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let Question::PlaceOnGo(envelope) = question else { return Err(PeerError::Unreached("nobody".to_owned())) };
        let mut store = Store::open(&grid::store::Home::at(&self.client)).unwrap();
        let task = store.view().held_by_uuid(envelope.uuid).unwrap().1.unwrap();
        let asked = store.write(Durability::Full, |tx| tx.cancel_away(task, Duration::from_secs(3)));
        asked.map_err(|error: StoreError| error).unwrap();
        Err(PeerError::Unreached("it went away".to_owned()))
    }
}

/// Submits where another home is asked first, in vain, and this one takes it back.
fn comes_back(dir: &Path, request: &Request) -> (Store, TaskId) {
    let mut client = found(&dir.join("client"), 1);
    let front = found(&dir.join("front"), 1);
    know(&mut client, "front-a", Tier::First, &front);
    let [own, other] = ["tier1", "front-a"].map(|name| client.view().distributor(name).unwrap().unwrap().id);
    let ordered = client.write(Durability::Normal, |tx| tx.order_distributors(Tier::First, &[other, own]));
    ordered.map_err(|error: StoreError| error).unwrap();
    let mut peers = Cancelled { client: client.home().dir().to_owned() };
    let principal = principal();
    let placed = place(
        &mut context(&mut client, &mut peers),
        &mut PlacementRequest::new(envelope(request), request, &principal),
    )
    .unwrap();
    let SearchOutcome::Here(task) = placed else { panic!("{placed:?}") };
    (client, task)
}

#[test]
fn a_cancel_of_a_task_that_comes_back_is_not_forgotten() {
    let (_world, dir) = World::new();
    let (client, task) = comes_back(&dir, &request());
    let cancels = client.view().cancels().unwrap();
    assert_eq!(cancels.iter().map(|c| (c.task, c.index, c.grace_ms)).collect::<Vec<_>>(), [(task, None, 3_000)]);
    assert_eq!(client.view().away(task).unwrap(), None);
}

#[test]
fn task_that_comes_back_is_kept_like_any_other() {
    let (_world, dir) = World::new();
    let mut request = request();
    (request.hold_unmatched, request.demand.needs.cpus) = (true, 999);
    let (client, task) = comes_back(&dir, &request);
    let row = client.view().task(task).unwrap().unwrap();
    assert_eq!((row.state(), row.rest_phase, row.counts.held), (State::Held, Phase::Held, 1));
    assert!(row.reason.as_ref().is_some_and(|reason| reason.words().contains("no server could ever run it")));
    assert!(row.search.is_some() && row.verdict.is_some(), "explain tells of its search and its match");
    assert_eq!(
        client.view().unmatched(10).unwrap(),
        [(task, row.class)],
        "it waits by itself once a server could run it"
    );
}

/// A first tier that refuses every search, and says that no home has the task.
struct Refuses {
    rounds: Vec<u32>,
}

impl Peers for Refuses {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        _: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let Question::PlaceOnGo(envelope) = question else { return Ok(Answer::Nowhere) };
        self.rounds.push(envelope.round);
        Ok(Answer::Refused(Refused {
            summary: "no server".to_owned(),
            reasons: Vec::new(),
            search: "{}".to_owned(),
            answered: true,
            denied: false,
            waits_for: None,
        }))
    }
}

#[test]
fn searches_of_a_task_that_nobody_takes_stay_below_the_last_round() {
    let (_world, dir) = World::new();
    let (mut client, front) = (found(&dir.join("client"), 1), found(&dir.join("front"), 1));
    know(&mut client, "front-a", Tier::First, &front);
    drain(&mut client, "tier1", Some("not here"));
    let (request, principal) = (request(), principal());
    let mut cut = super::go::Cut;
    let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
    let outcome = place(&mut context(&mut client, &mut cut), &mut order).unwrap();
    let SearchOutcome::Open { task, .. } = outcome else { panic!("{outcome:?}") };
    let sealed = client.view().sealed(task).unwrap().unwrap().sealed;
    let (asked, now) = (Endpoint::Path(front.home().dir().to_owned()), grid::model::time::Timestamp::now());
    let last = AskedAway { sealed: &sealed, list: None, round: LAST_ROUND, asked: &asked, onward: true };
    client.write::<_, StoreError>(Durability::Normal, |tx| tx.ask_away(task, last, now)).unwrap();
    let mut refuses = Refuses { rounds: Vec::new() };
    for _ in 0..3 {
        let away = client.view().away(task).unwrap().unwrap();
        let reconciled = reconcile(&mut context(&mut client, &mut refuses), &away, &principal).unwrap();
        assert_eq!(reconciled, Reconciled::Nobody);
    }
    assert_eq!(refuses.rounds, [LAST_ROUND; 3]);
}
