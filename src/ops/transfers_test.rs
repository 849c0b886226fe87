//! Reports of second tiers to first tiers in other homes: who is told of what, and for how long it counts.

use super::fixture::{self, name};
use crate::distributor::context::TierContext;
use crate::distributor::peers::{PeerError, Peers};
use crate::distributor::registry::{self, SentReport};
use crate::distributor::search::order;
use crate::distributor::tier2::TierError;
use crate::model::ambient::Ambient;
use crate::model::distributor::{Policy, Tier};
use crate::model::endpoint::Endpoint;
use crate::model::test_clock::TestClock;
use crate::model::time::Timestamp;
use crate::ops::Grid;
use crate::protocol::distributor::{Answer, Question};
use crate::store::reports::{On, Registration};
use crate::store::{Durability, StoreError, Tx};
use std::collections::BTreeMap;
use std::time::Duration;

/// A lab and first tiers at `/front-a` and so on, which take what it reports as homes of the same account do.
struct World {
    _dirs: Vec<tempfile::TempDir>,
    lab: Grid,
    fronts: Fronts,
    clock: TestClock,
}

struct Fronts {
    all: BTreeMap<Endpoint, Grid>,
    /// First tiers that do not answer now.
    down: Vec<Endpoint>,
    now: Timestamp,
}

impl Peers for Fronts {
    fn ask(&mut self, to: &Endpoint, said: &Question, _: &mut dyn FnMut(Answer) -> bool) -> Result<Answer, PeerError> {
        if self.down.contains(to) {
            return Err(PeerError::Unreached("it is down".to_owned()));
        }
        let (report, offers) = match said {
            Question::Register { offers, report } => (report, Some(offers)),
            Question::Transfer(report) => (report, None),
            other => panic!("{other:?}"),
        };
        let front = self.all.get_mut(to).unwrap();
        let taken = front.store.write(Durability::Normal, |tx| registry::take(tx, report, offers, true, self.now));
        Ok(taken.map_or_else(|error| Answer::Denied(error.to_string()), |_| Answer::Done))
    }
}

fn at(front: &str) -> Endpoint {
    Endpoint::Path(format!("/{front}").into())
}

impl World {
    fn new(fronts: &[&str]) -> Self {
        let (dir, lab) = fixture::grid();
        let mut dirs = vec![dir];
        let mut all = BTreeMap::new();
        for front in fronts {
            let (dir, grid) = fixture::grid();
            dirs.push(dir);
            all.insert(at(front), grid);
        }
        let clock = TestClock::new();
        // Searches go by the clock of this host.
        clock.set_wall(Timestamp::now().0 - clock.now().wall.0);
        let now = clock.now().wall;
        Self { _dirs: dirs, lab, fronts: Fronts { all, down: Vec::new(), now }, clock }
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        self.fronts.now = self.clock.now().wall;
    }

    fn context(&mut self) -> TierContext<'_> {
        TierContext { store: &mut self.lab.store, peers: &mut self.fronts, ambient: &self.clock }
    }

    fn write(&mut self, change: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>) {
        self.lab.store.write(Durability::Normal, change).unwrap();
    }

    /// `grid distributor register --as NAME --with FRONT`.
    fn register(&mut self, called: &str, front: &str, to_all: bool) -> Result<SentReport, TierError> {
        let distributor = self.lab.store.view().distributor("tier2").unwrap().unwrap().id;
        let new = Registration {
            distributor,
            endpoint: at(front),
            name: name(called),
            offers: Endpoint::Path(self.lab.store.home().dir().to_owned()),
            on: On { change: false, event: true, period: Some(Duration::from_secs(60)) },
            to_all,
            sequence: 0,
            sent: None,
            sent_at: None,
            error: None,
            pushed: true,
            implied: false,
            left_at: None,
        };
        registry::register(&mut self.context(), &new)
    }

    fn unregister(&mut self, front: &str) {
        let (id, now) = (self.lab.store.view().distributor("tier2").unwrap().unwrap().id, self.clock.now().wall);
        self.write(|tx| tx.unregister(id, &at(front), now));
    }

    /// The dispatcher knows a first tier.
    fn know(&mut self, front: &str) {
        let now = self.clock.now().wall;
        self.write(|tx| {
            let id = tx.add_distributor(&name(front), Tier::First, now)?;
            tx.set_endpoint(id, &at(front), None)
        });
    }

    /// Sends what is due; gives who was told, and why.
    fn send(&mut self) -> Vec<(Endpoint, bool)> {
        let sent = registry::send_due(&mut self.context(), "change", false).unwrap();
        sent.into_iter().map(|sent| (sent.endpoint, sent.error.is_none())).collect()
    }

    /// The members that a first tier redirects to, in order, and what it says of each one that it skips.
    fn redirect(&self, front: &str) -> (Vec<String>, Vec<String>) {
        let view = self.fronts.all[&at(front)].store.view();
        let (set, policy, cursor) = view.search_set(Tier::Second).unwrap();
        let skipped = set.iter().filter_map(crate::distributor::search::skipped).collect();
        (order(&set, policy, cursor).into_iter().map(|member| member.name.to_string()).collect(), skipped)
    }

    fn why(&self, front: &str, member: &str) -> Option<String> {
        let view = self.fronts.all[&at(front)].store.view();
        let id = view.distributor(member).unwrap()?.id;
        Some(view.report_of(id).unwrap()?.0.why)
    }
}

const PERIOD: Duration = Duration::from_secs(60);

#[test]
fn unregistered_distributor_is_told_as_left_and_gets_no_tasks_until_it_registers_again() {
    let mut world = World::new(&["front-a"]);
    world.register("lab-x", "front-a", false).unwrap();
    assert_eq!(world.redirect("front-a").0, ["tier2", "lab-x"]);
    world.unregister("front-a");
    assert_eq!(world.send(), [(at("front-a"), true)], "at once");
    assert_eq!(world.redirect("front-a"), (vec!["tier2".to_owned()], vec!["left: it unregistered".to_owned()]));
    assert_eq!(world.lab.store.view().registrations().unwrap(), []);
    world.register("lab-x", "front-a", false).unwrap();
    assert_eq!(world.redirect("front-a").0, ["tier2", "lab-x"]);
}

#[test]
fn farewell_is_sent_again_until_the_first_tier_answers_or_a_day_has_passed() {
    let mut world = World::new(&["front-a"]);
    world.register("lab-x", "front-a", false).unwrap();
    world.fronts.down = vec![at("front-a")];
    world.unregister("front-a");
    world.pass(PERIOD);
    assert_eq!(world.send(), [(at("front-a"), false)]);
    assert_eq!(world.send(), [], "there is a pause");
    world.fronts.down.clear();
    world.pass(PERIOD);
    assert_eq!(world.send(), [(at("front-a"), true)]);
    assert_eq!(world.redirect("front-a").0, ["tier2"]);
    world.register("lab-x", "front-a", false).unwrap();
    world.fronts.down = vec![at("front-a")];
    world.unregister("front-a");
    world.pass(PERIOD * 60 * 24);
    assert_eq!((world.send(), world.lab.store.view().registrations().unwrap()), (vec![], vec![]));
}

#[test]
fn record_older_than_its_period_and_a_grace_does_not_steer_least_loaded() {
    let mut world = World::new(&["front-a"]);
    // Of three minutes ago; the lab is idle by it, and this home's own member is busy.
    world.clock.set_wall(-180_000);
    world.fronts.now = world.clock.now().wall;
    world.register("lab-x", "front-a", false).unwrap();
    let front = world.fronts.all.get_mut(&at("front-a")).unwrap();
    fixture::add_task(front, fixture::draft());
    front
        .store
        .write::<_, StoreError>(Durability::Normal, |tx| tx.set_search_policy(Tier::Second, Policy::LeastLoaded))
        .unwrap();
    assert_eq!(world.redirect("front-a").0, ["tier2", "lab-x"], "the record is stale");
    let shown = super::distributors::show(&world.fronts.all[&at("front-a")], "lab-x").unwrap();
    assert_eq!(shown.state, "STALE");
    world.clock.set_wall(180_000);
    world.pass(Duration::ZERO);
    assert_eq!(world.send(), [(at("front-a"), true)]);
    assert_eq!(world.redirect("front-a").0, ["lab-x", "tier2"], "the record is fresh");
}

#[test]
fn to_all_registers_with_every_first_tier_that_the_home_knows_as_long_as_it_knows_it() {
    let mut world = World::new(&["front-a", "front-b", "front-c"]);
    world.know("front-b");
    world.register("lab-x", "front-a", true).unwrap();
    world.send();
    assert_eq!((world.why("front-b", "lab-x").as_deref(), world.redirect("front-b").0.len()), (Some("register"), 2));
    // One that is known later; one that is down gets the newest state when it is back.
    world.know("front-c");
    world.fronts.down = vec![at("front-c")];
    assert!(registry::is_pending(&world.lab.store.view(), world.clock.now().wall).unwrap());
    assert_eq!(world.send(), [(at("front-c"), false)]);
    world.fronts.down.clear();
    world.pass(PERIOD / 2);
    assert_eq!(world.send(), [(at("front-c"), true)]);
    // Every one of them is told periodically.
    world.pass(PERIOD);
    assert_eq!(world.send(), [(at("front-a"), true), (at("front-b"), true), (at("front-c"), true)]);
    let known = world.lab.store.view().distributor("front-c").unwrap().unwrap().id;
    world.write(|tx| tx.remove_distributor(known));
    world.pass(PERIOD / 2);
    assert_eq!(world.send(), [(at("front-c"), true)]);
    assert_eq!(world.redirect("front-c").1, ["left: it unregistered"]);
    // With the registration that is the cause, all others end.
    world.unregister("front-a");
    assert_eq!(world.send(), [(at("front-a"), true), (at("front-b"), true)]);
    assert_eq!(world.lab.store.view().registrations().unwrap(), []);
}

#[test]
fn refused_registration_is_an_error_and_replaces_nothing() {
    let mut world = World::new(&["front-a"]);
    world.register("lab-x", "front-a", false).unwrap();
    let before = world.lab.store.view().registrations().unwrap();
    let error = world.register("tier2", "front-a", false).unwrap_err().to_string();
    assert!(error.contains("the name tier2 is taken") && error.contains("stays as it was"), "{error}");
    let sequence = world.lab.store.view().registrations().unwrap()[0].sequence;
    assert_eq!(world.lab.store.view().registrations().unwrap(), [Registration { sequence, ..before[0].clone() }]);
    world.pass(PERIOD);
    assert_eq!(world.send(), [(at("front-a"), true)]);
    // A new name takes the old one's place there.
    world.register("lab-new", "front-a", false).unwrap();
    assert_eq!(world.redirect("front-a").0, ["tier2", "lab-new"]);
    assert_eq!(world.redirect("front-a").1, ["left: it unregistered"]);
    // Who does not answer is registered with all the same, and told later.
    world.fronts.down = vec![at("front-a")];
    assert!(world.register("lab-new", "front-a", false).unwrap().error.is_some());
}

#[test]
fn drain_is_reported_where_only_events_are() {
    let mut world = World::new(&["front-a"]);
    world.register("lab-x", "front-a", false).unwrap();
    let id = world.lab.store.view().distributor("tier2").unwrap().unwrap().id;
    world.write(|tx| tx.set_distributor_drained(id, Some("moves")));
    world.pass(PERIOD / 2);
    assert_eq!(world.send(), [(at("front-a"), true)]);
    assert_eq!(world.why("front-a", "lab-x").as_deref(), Some("event"));
}

#[test]
fn what_was_placed_at_a_member_counts_until_that_reports_it() {
    let mut world = World::new(&["front-a"]);
    world.register("lab-x", "front-a", false).unwrap();
    let front = world.fronts.all.get_mut(&at("front-a")).unwrap();
    let id = front.store.view().distributor("lab-x").unwrap().unwrap().id;
    let placed = |tx: &Tx<'_>| {
        tx.set_search_policy(Tier::Second, Policy::LeastLoaded)?;
        let own = tx.distributor("tier2")?.unwrap().id;
        tx.order_distributors(Tier::Second, &[id, own])
    };
    front.store.write::<_, StoreError>(Durability::Normal, placed).unwrap();
    assert_eq!(world.redirect("front-a").0, ["lab-x", "tier2"]);
    let front = world.fronts.all.get_mut(&at("front-a")).unwrap();
    front.store.write::<_, StoreError>(Durability::Normal, |tx| tx.placed_there(id, 1)).unwrap();
    assert_eq!(world.redirect("front-a").0, ["tier2", "lab-x"]);
    world.pass(PERIOD);
    world.send();
    assert_eq!(world.redirect("front-a").0, ["lab-x", "tier2"]);
}
