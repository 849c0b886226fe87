//! What the owner of a moving task may answer, or not: what its client's home makes of it, and who may ask.

use super::hostile::envelope;
use super::world::{Waits, Wire, World, context, found, know, principal, request};
use grid::distributor::front::series_end;
use grid::distributor::moving::{MoveOutcome, give_up, move_away, move_own};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::principal::{Access, Principal, Reach};
use grid::distributor::reconcile::{Reconciled, reconcile};
use grid::distributor::serve::{CommitQuestion, TierQuestion, answer};
use grid::model::attribute::{Source, Value};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::{TaskId, TaskUuid};
use grid::model::task::State;
use grid::model::time::Timestamp;
use grid::protocol::distributor::{Answer, How, Question, Way};
use grid::protocol::envelope::Envelope;
use grid::protocol::seal;
use grid::store::attributes::Owner;
use grid::store::away::{Away, AwayState};
use grid::store::home::Home;
use grid::store::{Durability, Store, StoreError};
use std::collections::BTreeMap;
use std::path::Path;

/// Gives one answer to the question to give a task up; everything else goes its way.
struct Replying(Wire, Result<Answer, PeerError>);

impl Peers for Replying {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        match question {
            Question::GiveUp { .. } => self.1.clone(),
            _ => self.0.ask(endpoint, question, each),
        }
    }
}

/// Something happens between the moment when the task is given up and the search that follows.
struct Meanwhile<F>(Wire, Option<F>);

impl<F: FnOnce()> Peers for Meanwhile<F> {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let said = self.0.ask(endpoint, question, each);
        if matches!(question, Question::GiveUp { .. })
            && let Some(happens) = self.1.take()
        {
            happens();
        }
        said
    }
}

/// A client with a task in a lab that has no processor free, and another lab.
fn waiting(dir: &Path, wire: &mut Wire) -> (Store, Store, TaskId) {
    let mut client = found(&dir.join("client"), 1);
    let [lab, other] = ["x", "y"].map(|name| found(&dir.join(name), 1));
    for (name, lab) in [("lab-x", &lab), ("lab-y", &other)] {
        know(&mut client, name, Tier::Second, lab);
    }
    let [own, x, y] = ["tier2", "lab-x", "lab-y"].map(|name| client.view().distributor(name).unwrap().unwrap().id);
    let set = client.write(Durability::Normal, |tx| {
        tx.order_distributors(Tier::Second, &[x, y, own])?;
        [own, y].iter().try_for_each(|id| tx.set_distributor_drained(*id, Some("later")))
    });
    set.map_err(|error: StoreError| error).unwrap();
    let mut task = TaskId(0);
    for _ in 0..2 {
        let (request, principal) = (request(), principal());
        let mut order = PlacementRequest::new(super::back::envelope(&request), &request, &principal);
        let placed = place(&mut context(&mut client, wire), &mut order).unwrap();
        let SearchOutcome::Away(placed) = placed else { panic!("{placed:?}") };
        task = placed;
    }
    let resumed = client.write(Durability::Normal, |tx| tx.set_distributor_drained(y, None));
    resumed.map_err(|error: StoreError| error).unwrap();
    (client, lab, task)
}

#[test]
fn question_that_was_not_heard_or_is_too_new_changes_nothing() {
    let (world, dir) = World::new();
    let (mut client, _lab, task) = waiting(&dir, &mut Wire::of_client(&world));
    let before = client.view().away(task).unwrap().unwrap();
    let older = "the grid over there is older and can't answer this: bring it up to date";
    for (reply, words) in [
        (Ok(Answer::No { why: older.to_owned() }), older),
        (Err(PeerError::Unreached("nobody is there".to_owned())), "nobody is there"),
    ] {
        let mut peers = Replying(Wire::of_client(&world), reply);
        let outcome = move_away(&mut context(&mut client, &mut peers), task, &principal()).unwrap();
        assert!(matches!(&outcome, MoveOutcome::Stays(why) if why.contains(words)), "{outcome:?}");
        assert_eq!(client.view().away(task).unwrap().unwrap(), before);
    }
}

#[test]
fn question_that_may_have_been_heard_is_asked_again_until_it_is_answered() {
    for reply in [Ok(Answer::Denied("it went away".to_owned())), Err(PeerError::Cut("it went away".to_owned()))] {
        let (world, dir) = World::new();
        let (mut client, lab, task) = waiting(&dir, &mut Wire::of_client(&world));
        let mut peers = Replying(Wire::of_client(&world), reply);
        let outcome = move_away(&mut context(&mut client, &mut peers), task, &principal()).unwrap();
        assert!(matches!(&outcome, MoveOutcome::Unsure(why) if why.contains("--forget")), "{outcome:?}");
        let away = client.view().away_open(9).unwrap();
        let owner = lab.view().home_row().unwrap().id;
        assert!(matches!(away[..], [Away { held: AwayState::Moving { home, .. }, .. }] if home == owner));
        let mut wire = Wire::of_client(&world);
        reconcile(&mut context(&mut client, &mut wire), &away[0], &principal()).unwrap();
        assert_eq!(client.view().task(task).unwrap().unwrap().tier2, "lab-y");
        assert_eq!(lab.view().held_by_uuid(away[0].uuid).unwrap(), (None, None));
    }
}

#[test]
fn owner_that_does_not_know_the_task_did_not_give_it_up() {
    let (world, dir) = World::new();
    let (mut client, _lab, task) = waiting(&dir, &mut Wire::of_client(&world));
    let mut peers = Replying(Wire::of_client(&world), Ok(Answer::Unknown("no task".to_owned())));
    let outcome = move_away(&mut context(&mut client, &mut peers), task, &principal()).unwrap();
    assert!(matches!(&outcome, MoveOutcome::Stays(why) if why.contains("does not know it")), "{outcome:?}");
    let away = client.view().away(task).unwrap().unwrap();
    assert!(matches!(away.held, AwayState::By { .. }), "it may have ended there, and is not run again: {away:?}");
}

/// Knows what it gave up in the rounds of one series alone, as it was asked by an earlier build.
struct GaveUpOneSeries(Wire, u32);

impl Peers for GaveUpOneSeries {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        match question {
            Question::GiveUp { round, .. } if *round > self.1 => Ok(Answer::Unknown("no task".to_owned())),
            _ => self.0.ask(endpoint, question, each),
        }
    }
}

#[test]
fn owner_that_gave_the_task_up_to_an_earlier_build_is_believed() {
    let (world, dir) = World::new();
    let (mut client, lab, task) = waiting(&dir, &mut Wire::of_client(&world));
    let away = client.view().away(task).unwrap().unwrap();
    let mut peers = GaveUpOneSeries(Wire::of_client(&world), series_end(away.round));
    let outcome = move_away(&mut context(&mut client, &mut peers), task, &principal()).unwrap();
    assert!(matches!(outcome, MoveOutcome::GivenUp(Reconciled::Placed)), "{outcome:?}");
    assert_eq!(lab.view().held_by_uuid(away.uuid).unwrap(), (None, None));
    assert_eq!(client.view().task(task).unwrap().unwrap().tier2, "lab-y");
}

/// Reaches no home.
struct NoPeers;

impl Peers for NoPeers {
    fn ask(
        &mut self,
        _: &Endpoint,
        question: &Question,
        _: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        panic!("another process is at it, and this one asks {question:?}");
    }
}

#[test]
fn process_that_meets_another_one_at_the_lock_of_a_move_asks_and_changes_nothing() {
    let (world, dir) = World::new();
    let (mut client, _lab, task) = waiting(&dir, &mut Wire::of_client(&world));
    let before = client.view().away(task).unwrap().unwrap();
    let path = client.home().run_dir().join(format!("placing.{}", before.uuid));
    let locked = || {
        let lock = std::fs::File::create(&path).unwrap();
        lock.lock().unwrap();
        lock
    };
    let lock = locked();
    let outcome = move_away(&mut context(&mut client, &mut NoPeers), task, &principal()).unwrap();
    assert!(matches!(&outcome, MoveOutcome::Stays(why) if why.contains("another command")), "{outcome:?}");
    assert_eq!(client.view().away(task).unwrap().unwrap(), before);
    drop(lock);
    let mut cut = Replying(Wire::of_client(&world), Err(PeerError::Cut("it went away".to_owned())));
    move_away(&mut context(&mut client, &mut cut), task, &principal()).unwrap();
    let moving = client.view().away(task).unwrap().unwrap();
    assert!(matches!(moving.held, AwayState::Moving { .. }), "{moving:?}");
    let _lock = locked();
    let reconciled = reconcile(&mut context(&mut client, &mut NoPeers), &moving, &principal()).unwrap();
    assert_eq!(reconciled, Reconciled::GoingOn);
    assert_eq!(client.view().away(task).unwrap().unwrap(), moving);
}

#[test]
fn old_owner_takes_a_task_back_only_where_no_other_member_takes_it() {
    for (drained, lands) in [(false, "lab-y"), (true, "lab-x")] {
        let (world, dir) = World::new();
        let (mut client, lab, task) = waiting(&dir, &mut Wire::of_client(&world));
        let fills = || {
            let mut other = Store::open(&Home::at(dir.join("y"))).unwrap();
            if drained {
                super::back::drain(&mut other, "tier2", Some("meanwhile"));
                return;
            }
            let (request, principal) = (request(), principal());
            let mut order = PlacementRequest::new(super::back::envelope(&request), &request, &principal);
            place(&mut context(&mut other, &mut Wire::of_client(&world)), &mut order).unwrap();
        };
        let mut peers = Meanwhile(Wire::of_client(&world), Some(fills));
        let outcome = move_away(&mut context(&mut client, &mut peers), task, &principal()).unwrap();
        assert_eq!(outcome, MoveOutcome::GivenUp(Reconciled::Placed));
        let row = client.view().task(task).unwrap().unwrap();
        assert_eq!((row.tier2.as_str(), row.state()), (lands, State::Pending));
        assert_eq!(lab.view().held_by_uuid(row.uuid).unwrap().0.is_some(), drained);
    }
}

#[test]
fn task_of_this_home_is_taken_back_only_where_no_other_member_takes_it() {
    for (drained, lands) in [(false, "lab-y"), (true, "tier2")] {
        let (world, dir) = World::new();
        let mut client = found(&dir.join("client"), 1);
        let mut other = found(&dir.join("y"), 1);
        know(&mut client, "lab-y", Tier::Second, &other);
        let own = |store: &mut Store| {
            let (request, principal) = (request(), principal());
            let mut order = PlacementRequest::new(super::back::envelope(&request), &request, &principal);
            match place(&mut context(store, &mut Wire::of_client(&world)), &mut order).unwrap() {
                SearchOutcome::Here(task) => task,
                other => panic!("{other:?}"),
            }
        };
        super::back::drain(&mut client, "lab-y", Some("later"));
        let [_, task] = [(); 2].map(|()| own(&mut client));
        super::back::drain(&mut client, "lab-y", None);
        own(&mut other);
        if drained {
            super::back::drain(&mut other, "tier2", Some("meanwhile"));
        }
        let mut wire = Wire::of_client(&world);
        let outcome = move_own(&mut context(&mut client, &mut wire), task, &request(), &principal()).unwrap();
        assert_eq!(outcome, MoveOutcome::GivenUp(Reconciled::Placed));
        let row = client.view().task(task).unwrap().unwrap();
        assert_eq!((row.tier2.as_str(), row.state()), (lands, State::Pending));
    }
}

/// A user of another home who may see its own tasks.
fn user(name: &str) -> Principal {
    Principal { access: Access::User, reach: Reach::Own, ..Principal::resident(name.parse().unwrap()) }
}

#[test]
fn task_is_given_up_to_its_client_alone_once_for_each_series_and_its_old_commits_are_refused() {
    let (world, dir) = World::new();
    let mut lab = found(&dir.join("lab"), 1);
    let mut wire = Wire::of_client(&world);
    let server = lab.view().server("local").unwrap().unwrap().id;
    let set = lab.write(Durability::Normal, |tx| {
        let now = Timestamp::now();
        ["alice", "bob"].iter().try_for_each(|name| tx.add_user(&name.parse().unwrap(), now).map(drop))?;
        let shared = BTreeMap::from([("shared_account".into(), Value::Bool(true))]);
        tx.set_attributes(Owner::Server(server.0), &shared, Source::Declared, now)
    });
    set.map_err(|error: StoreError| error).unwrap();
    let mut commit = |lab: &mut Store, envelope: &Envelope, how: How| {
        let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
        let question = TierQuestion::Commit(CommitQuestion { at: None, envelope, how, way: &way });
        answer(&mut context(lab, &mut wire), &mut Default::default(), &user("alice"), question, &mut Waits).unwrap()
    };
    let task = || envelope(None, seal::seal(&request()).unwrap().0);
    let (first, second) = (task(), task());
    assert!(matches!(commit(&mut lab, &first, How::Queue), Answer::Placed(_)), "it takes the only processor");
    assert!(matches!(commit(&mut lab, &second, How::Queue), Answer::Placed(_)));
    let mut wire = Wire::of_client(&world);
    let mut asks = |lab: &mut Store, uuid: TaskUuid, round: u32, who: &Principal| {
        give_up(&mut context(lab, &mut wire), uuid, round, who).unwrap()
    };
    let (series, next) = (1_999, 2_999);
    assert!(matches!(asks(&mut lab, second.uuid, series, &user("bob")), Answer::Unknown(_)), "it is not his");
    let told = asks(&mut lab, first.uuid, series, &user("alice"));
    assert!(matches!(&told, Answer::Kept { why, .. } if why.contains("it has begun")), "{told:?}");
    let again = asks(&mut lab, first.uuid, series, &user("alice"));
    assert!(matches!(&again, Answer::Kept { why, .. } if why.contains("before")), "{again:?}");
    for _ in 0..2 {
        assert_eq!(asks(&mut lab, second.uuid, series, &user("alice")), Answer::Nowhere);
    }
    assert!(matches!(asks(&mut lab, second.uuid, next, &user("alice")), Answer::Unknown(_)), "that was not decided");
    assert!(matches!(commit(&mut lab, &second, How::Queue), Answer::No { .. }), "an old commit comes too late");
    let anew = Envelope { round: 2_000, ..second };
    assert!(matches!(commit(&mut lab, &anew, How::Queue), Answer::Placed(_)));
    assert!(
        matches!(asks(&mut lab, anew.uuid, series, &user("alice")), Answer::Kept { .. }),
        "so does an old question"
    );
    assert_eq!(asks(&mut lab, anew.uuid, next, &user("alice")), Answer::Nowhere);
}
