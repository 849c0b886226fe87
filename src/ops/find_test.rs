//! Which homes a first tier asks for a task that one of them may have accepted.

use super::fixture::{self, name};
use crate::distributor::context::TierContext;
use crate::distributor::front::{self, Sought};
use crate::distributor::peers::{PeerError, Peers};
use crate::distributor::principal::Principal;
use crate::model::ambient::{Ambient, Now, System};
use crate::model::clock::Moment;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::TaskUuid;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Question};
use crate::store::{Durability, StoreError, Tx};
use std::cell::Cell;
use std::time::Duration;

/// Peers of which none is reachable; records the age of the search at each question.
#[derive(Default)]
struct Unreached(Vec<Duration>);

impl Peers for Unreached {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        _: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let Question::Find { age_ms, .. } = question else { panic!("{question:?}") };
        self.0.push(Duration::from_millis(*age_ms));
        Err(PeerError::Unreached("it is down".to_owned()))
    }
}

#[test]
fn lab_that_fell_silent_behind_its_question_is_asked_however_long_the_next_one_took() {
    const MINUTE: Duration = Duration::from_secs(60);
    // The search began `age` ago by the word of its client, which is some seconds old.
    let answers = |silent_for: Duration, age: Duration| {
        let (_dir, mut grid) = fixture::grid();
        let silent = |tx: &Tx<'_>| {
            let now = Timestamp::now();
            let lab = tx.add_distributor(&name("lab"), Tier::Second, now)?;
            let endpoint = Endpoint::Path("/lab".into());
            tx.set_endpoint(lab, &endpoint, None)?;
            tx.endpoint_silent(&endpoint, "no answer", now.minus(silent_for))
        };
        grid.store.write::<_, StoreError>(Durability::Normal, silent).unwrap();
        let sought = Sought { uuid: TaskUuid::new(), round: 1, onward: true, age, among: None };
        let mut peers = Unreached::default();
        let principal = Principal::resident(name("me"));
        let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
        let answer = front::find(&mut context, &sought, &principal, &mut |_| {}).unwrap();
        assert!(peers.0.iter().all(|told| *told >= age));
        (peers.0.len(), matches!(answer, Answer::Unsure { .. }))
    };
    assert_eq!(answers(Duration::from_secs(20), Duration::from_secs(5)), (1, true));
    assert_eq!(answers(Duration::from_secs(20), MINUTE * 60), (1, true));
    assert_eq!(answers(MINUTE * 5, MINUTE).0, 0, "that one was silent before the search began");
}

/// A clock that the test moves.
#[derive(Debug)]
struct MovedClock {
    began: Now,
    passed: Cell<Duration>,
}

impl Ambient for MovedClock {
    fn now(&self) -> Now {
        Now { wall: self.began.wall.plus(self.passed.get()), mono: self.began.mono + self.passed.get() }
    }

    fn moment(&self) -> Moment {
        Moment { wall: self.now().wall, since_boot: self.passed.get() }
    }

    fn chance(&self) -> f64 {
        0.5
    }
}

/// Each question takes this long, and no home is reached.
struct Slow<'c> {
    clock: &'c MovedClock,
    takes: Duration,
    reached: Unreached,
}

impl Peers for Slow<'_> {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        self.clock.passed.set(self.clock.passed.get() + self.takes);
        self.reached.ask(endpoint, question, each)
    }
}

#[test]
fn age_of_a_find_grows_while_members_are_asked() {
    let (_dir, mut grid) = fixture::grid();
    let labs = |tx: &Tx<'_>| {
        ["lab-a", "lab-b", "lab-c"].iter().try_for_each(|lab| {
            let id = tx.add_distributor(&name(lab), Tier::Second, Timestamp::now())?;
            tx.set_endpoint(id, &Endpoint::Path(format!("/{lab}").into()), None)
        })
    };
    grid.store.write::<_, StoreError>(Durability::Normal, labs).unwrap();
    let (age, takes) = (Duration::from_secs(5), Duration::from_secs(30));
    let clock = MovedClock { began: System.now(), passed: Cell::default() };
    let mut peers = Slow { clock: &clock, takes, reached: Unreached::default() };
    let sought = Sought { uuid: TaskUuid::new(), round: 1, onward: true, age, among: None };
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &clock };
    front::find(&mut context, &sought, &Principal::resident(name("me")), &mut |_| {}).unwrap();
    assert_eq!(peers.reached.0, [age, age + takes, age + 2 * takes]);
}
