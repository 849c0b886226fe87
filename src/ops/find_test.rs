//! Whom a first tier asks for a task that may have been taken.

use super::fixture::{self, name};
use crate::distributor::front::{self, Sought};
use crate::distributor::peers::{PeerError, Peers};
use crate::distributor::principal::Principal;
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::id::TaskUuid;
use crate::model::time::Timestamp;
use crate::protocol::distributor::{Answer, Question};
use crate::store::{Durability, StoreError, Tx};
use std::time::Duration;

/// No home is reached. It records which were asked, and the age of the search.
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
    // The search began `age` ago as its client says, who said it some seconds ago.
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
        let answer = front::find(&mut grid.store, &mut peers, &sought, &principal, &mut |_| {}).unwrap();
        assert!(peers.0.iter().all(|told| *told >= age));
        (peers.0.len(), matches!(answer, Answer::Unsure { .. }))
    };
    assert_eq!(answers(Duration::from_secs(20), Duration::from_secs(5)), (1, true));
    assert_eq!(answers(Duration::from_secs(20), MINUTE * 60), (1, true));
    assert_eq!(answers(MINUTE * 5, MINUTE).0, 0, "that one was silent before the search began");
}
