//! A first tier asks no member to take a task before its client has heard to whom it is redirected.

use super::back::envelope;
use super::world::{Wire, World, context, found, holds, know, principal, request};
use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use grid::distributor::front::{self, Asker, PlaceQuestion};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::HomeId;
use grid::model::time::Timestamp;
use grid::protocol::distributor::{Answer, FromServe, Question, ToServe};
use grid::protocol::frame;
use grid::store::{Durability, Store, StoreError};
use std::path::{Path, PathBuf};

/// A client of two first tiers in front of one second tier; the first of them is lost as soon as it is asked.
struct Lost {
    first: PathBuf,
    /// It is of an older version.
    old: bool,
    asked: Vec<&'static str>,
    wire: Wire,
}

impl Peers for Lost {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        if *endpoint != Endpoint::Path(self.first.clone()) {
            return self.wire.ask(endpoint, question, each);
        }
        match question {
            Question::PlaceOnGo(_) if self.old => return Ok(Answer::No { why: "older".to_owned() }),
            Question::PlaceOnGo(_) => self.asked.push("on go"),
            Question::Place(_) => self.asked.push("place"),
            _ => return Err(PeerError::Unreached("it is gone".to_owned())),
        }
        Err(PeerError::Cut("it went away".to_owned()))
    }
}

/// A first tier whose link is cut behind its redirect, and that is not there any more.
pub(super) struct Cut;

impl Peers for Cut {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let Question::PlaceOnGo(_) = question else { return Err(PeerError::Unreached("it is gone".to_owned())) };
        each(Answer::Redirect { members: vec![stranger()] });
        Err(PeerError::Cut("it went away".to_owned()))
    }
}

fn homes(dir: &Path) -> (Store, [Store; 3]) {
    let mut client = found(&dir.join("client"), 1);
    let mut others = ["a", "b", "lab"].map(|name| found(&dir.join(name), 4));
    let [a, b, lab] = &mut others;
    for (name, front) in [("front-a", a), ("front-b", b)] {
        know(front, "lab-x", Tier::Second, lab);
        super::back::drain(front, "tier2", Some("not there"));
        know(&mut client, name, Tier::First, front);
    }
    let own = client.view().distributor("tier1").unwrap().unwrap().id;
    let removed = client.write(Durability::Normal, |tx| tx.remove_distributor(own));
    removed.map_err(|error: StoreError| error).unwrap();
    (client, others)
}

#[test]
fn task_passes_a_front_that_was_lost_before_its_redirect_was_heard() {
    let (world, dir) = World::new();
    let (mut client, [a, _, lab]) = homes(&dir);
    let (request, principal) = (request(), principal());
    let mut submit = |old: bool| {
        let wire = Wire::of_client(&world);
        let mut lost = Lost { first: a.home().dir().to_owned(), old, asked: Vec::new(), wire };
        let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
        let outcome = place(&mut context(&mut client, &mut lost), &mut order).unwrap();
        (outcome, holds(&lab, order.envelope.uuid), lost.asked)
    };
    let (outcome, held, asked) = submit(false);
    assert!(matches!(outcome, SearchOutcome::Away(_)), "{outcome:?}");
    // Perhaps only the link was lost: it is asked again once.
    assert_eq!((held, asked), (true, vec!["on go", "on go"]));
    // An older one may have passed the task on: it alone knows to whom.
    let (outcome, held, asked) = submit(true);
    assert!(matches!(outcome, SearchOutcome::Open { .. }), "{outcome:?}");
    assert_eq!((held, asked), (false, vec!["place"]));
}

/// A home that asks and hears to whom its task is redirected.
#[derive(Default)]
struct Redirects(Vec<Vec<HomeId>>);

impl Asker for Redirects {
    fn say(&mut self, word: Answer) {
        if let Answer::Redirect { members } = word {
            self.0.push(members);
        }
    }

    fn goes(&mut self) -> bool {
        !self.0.is_empty()
    }
}

#[test]
fn front_names_its_own_home_only_before_it_takes_a_task_itself() {
    let (world, dir) = World::new();
    let mut front = found(&dir.join("front"), 4);
    let lab = found(&dir.join("lab"), 4);
    know(&mut front, "lab-x", Tier::Second, &lab);
    let id = |store: &Store| store.view().home_row().unwrap().id;
    let (own, there) = (id(&front), id(&lab));
    let place = |front: &mut Store| {
        let mut redirects = Redirects::default();
        let (envelope, mut wire) = (envelope(&request()), Wire::of_client(&world));
        let uuid = envelope.uuid;
        let question = PlaceQuestion { envelope, on_go: true };
        let said = front::place(&mut context(front, &mut wire), question, &principal(), &mut redirects).unwrap();
        assert!(matches!(said, Answer::Placed(_)), "{said:?}");
        (redirects.0, holds(front, uuid))
    };
    assert_eq!(place(&mut front), (vec![vec![there], vec![own, there]], true));
    // Every home has a second tier of its own: without a server it takes nothing, and a lost front holds up no task for it.
    super::back::remove_server(&mut front);
    assert_eq!(place(&mut front), (vec![vec![there]], false));
    // A lab that has never said hello has no home that could be named.
    let mut front = found(&dir.join("other"), 4);
    super::back::remove_server(&mut front);
    let added = front.write(Durability::Normal, |tx| {
        let lab_y = tx.add_distributor(&"lab-y".parse().unwrap(), Tier::Second, Timestamp::now())?;
        tx.set_endpoint(lab_y, &Endpoint::Path(lab.home().dir().to_owned()), None)
    });
    added.map_err(|error: StoreError| error).unwrap();
    assert_eq!(place(&mut front), (vec![vec![]], false));
}

/// Reads answers to ticket 9 up to the one that `is` accepts.
fn hear(caller: &mut Caller, is: impl Fn(&Answer) -> bool) -> Answer {
    loop {
        match caller.hear() {
            Some(FromServe::Answer { ticket: 9, answer, .. }) if is(&answer) => return answer,
            Some(FromServe::Answer { answer: Answer::Working, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn front_commits_nothing_before_its_caller_says_go() {
    let grid = Grid::new();
    let mut caller = Caller::greeted(&mut grid.typed(["serve"]), stranger());
    let ask = |caller: &mut Caller| {
        let question = Question::PlaceOnGo(envelope(&request()));
        frame::write(&mut caller.say, &ToServe::Ask { ticket: 9, question }).unwrap();
        hear(caller, |answer| matches!(answer, Answer::Redirect { .. }));
        // It waits, and says so at intervals.
        for _ in 0..3 {
            hear(caller, |answer| *answer == Answer::Working);
        }
        assert_eq!(grid.tasks(), 0);
    };
    ask(&mut caller);
    frame::write(&mut caller.say, &ToServe::Drop { ticket: 9 }).unwrap();
    hear(&mut caller, |answer| matches!(answer, Answer::Denied(_)));
    assert_eq!(grid.tasks(), 0);
    ask(&mut caller);
    frame::write(&mut caller.say, &ToServe::Go { ticket: 9 }).unwrap();
    hear(&mut caller, |answer| matches!(answer, Answer::Placed(_)));
    assert_eq!(grid.tasks(), 1);
    caller.leaves();
}
