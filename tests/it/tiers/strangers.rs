//! Whoever knows a task's uuid: told of it, and able to settle it, only where the task is theirs.

use super::hostile::{envelope, greeted};
use super::world::request;
use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use grid::model::command::Command;
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, How, Question, Verb, Way};
use grid::protocol::envelope::{Envelope, Sealed};
use grid::protocol::seal;

/// A home with two users who may run tasks there, and its id.
fn home() -> (Grid, HomeId) {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    grid.grid(["user", "add", "bob"]).ok();
    grid.grid(["server", "set", "local", "--shared-account"]).ok();
    let id = id_of(&grid);
    (grid, id)
}

fn id_of(grid: &Grid) -> HomeId {
    HomeId(grid.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap())
}

fn commit(envelope: Envelope) -> Question {
    let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
    Question::Commit { at: None, envelope, how: How::Queue, way }
}

fn task() -> Envelope {
    envelope(None, seal::seal(&request()).unwrap().0)
}

fn find(uuid: TaskUuid, round: u32, onward: bool) -> Question {
    Question::Find { uuid, round, onward, age_ms: 0, among: None, user: None }
}

fn user(grid: &Grid, name: &str) -> Caller {
    greeted(grid, &["--as", name], stranger())
}

#[test]
fn stranger_is_answered_as_for_an_unknown_uuid() {
    let (grid, owner) = home();
    let (mut alice, mut bob) = (user(&grid, "alice"), user(&grid, "bob"));
    let hers = task();
    let Answer::Placed(placed) = alice.ask(commit(hers.clone())) else { panic!() };
    grid.grid(["wait", &placed.task.id.to_string()]).ok();
    let nobodys = TaskUuid::new();
    // The uuid is all that may differ.
    let told = |bob: &mut Caller, question: &dyn Fn(TaskUuid) -> Question| {
        let of = |bob: &mut Caller, uuid| format!("{:?}", bob.ask(question(uuid))).replace(&format!("{uuid}"), "UUID");
        let (known, unknown) = (of(bob, hers.uuid), of(bob, nobodys));
        assert_eq!(known, unknown);
        known
    };
    let verbs = [
        Verb::Show { index: None },
        Verb::Wait { index: None },
        Verb::Logs { index: None, streams: vec![], attempt: None },
        Verb::Cancel { index: None, grace_ms: 1_000 },
        Verb::Fetched { index: None },
        Verb::Send { offset: 0, bytes: vec![] },
    ];
    for verb in verbs {
        told(&mut bob, &|uuid| Question::Task { owner, user: None, uuid, verb: verb.clone() });
    }
    told(&mut bob, &|uuid| Question::Watch { owner, user: None, uuids: vec![uuid] });
    let states = told(&mut bob, &|uuid| Question::States { owner, user: None, uuids: vec![uuid] });
    assert_eq!(states, "States([])");
    // A search for it hears nothing of the task; it doesn't hear either that nobody holds it, for then it could be started twice.
    bob.denied(find(hers.uuid, 1_999, false), &["another user"]);
    let again = bob.ask(commit(Envelope { round: 3_000, ..hers.clone() }));
    assert!(matches!(again, Answer::Unsure { .. }), "{again:?}");
    let place = bob.ask(Question::Place(hers.clone()));
    assert!(matches!(place, Answer::Unsure { .. }), "{place:?}");
    // She is told all the same, and so is who may see all.
    assert!(matches!(alice.ask(find(hers.uuid, 1_999, false)), Answer::Placed(_)));
    assert!(matches!(alice.ask(commit(hers.clone())), Answer::Placed(_)));
    grid.grid(["user", "allow", "bob", "--role", "see-all"]).ok();
    assert!(matches!(bob.ask(find(hers.uuid, 1_999, false)), Answer::Placed(_)));
    assert_eq!(grid.tasks(), 1);
    alice.leaves();
    bob.leaves();
}

#[test]
fn tombstone_of_a_user_binds_that_user_and_of_the_owner_all() {
    let (grid, _) = home();
    let (mut alice, mut bob) = (user(&grid, "alice"), user(&grid, "bob"));
    let hers = task();
    assert_eq!(bob.ask(find(hers.uuid, 900_000, false)), Answer::Nowhere);
    assert!(matches!(alice.ask(commit(hers)), Answer::Placed(_)), "bob has refused it");
    let (late, owners) = (task(), task());
    assert_eq!(alice.ask(find(late.uuid, late.round, false)), Answer::Nowhere);
    assert!(matches!(alice.ask(commit(late.clone())), Answer::No { .. }));
    assert!(matches!(alice.ask(commit(Envelope { round: late.round + 1, ..late })), Answer::Placed(_)));
    // The owner's word, and that of a first tier that vouches for many, binds all.
    grid.grid(["user", "add", "front-a"]).ok();
    let vouching = ["--as", "front-a", "--vouch", "front-a"];
    for credentials in [&[][..], &vouching] {
        let mut caller = greeted(&grid, credentials, stranger());
        let late = task();
        assert_eq!(caller.ask(find(late.uuid, late.round, false)), Answer::Nowhere);
        assert!(matches!(alice.ask(commit(late)), Answer::No { .. }));
        // It is told of all, too.
        assert!(matches!(alice.ask(commit(owners.clone())), Answer::Placed(_)));
        assert!(matches!(caller.ask(find(owners.uuid, 1_999, false)), Answer::Placed(_)));
        caller.leaves();
    }
    alice.leaves();
    bob.leaves();
}

#[test]
fn late_commit_of_a_task_that_its_client_removed_is_refused_to_the_login_that_brought_it() {
    let (grid, owner) = home();
    grid.grid(["user", "add", "front-a"]).ok();
    let vouching = ["--as", "front-a", "--vouch", "front-a"];
    for credentials in [&[][..], &vouching, &["--as", "alice"]] {
        let mut caller = greeted(&grid, credentials, stranger());
        let task = task();
        let Answer::Placed(placed) = caller.ask(commit(task.clone())) else { panic!("{credentials:?}") };
        grid.grid(["wait", &placed.task.id.to_string()]).ok();
        let verb = Verb::Remove { discard: true };
        let removed = caller.ask(Question::Task { owner, user: None, uuid: task.uuid, verb });
        assert!(matches!(removed, Answer::Report(_)), "{removed:?}");
        let late = caller.ask(commit(task));
        assert!(matches!(late, Answer::No { .. }), "{credentials:?}: {late:?}");
        assert_eq!(grid.tasks(), 0);
        caller.leaves();
    }
}

#[test]
fn a_first_tier_asks_as_its_caller() {
    let (front, lab) = (home().0, home().0);
    front.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    let id = lab.submit(["--", "true"]);
    lab.grid(["wait", &id]).ok();
    let owners = TaskUuid(lab.show(&id)["uuid"].as_str().unwrap().parse().unwrap());
    let mut bob = user(&front, "bob");
    let said = bob.ask(find(owners, 1_999, true));
    assert!(matches!(&said, Answer::Unsure { why, .. } if why.contains("another user")), "{said:?}");
    // He buries for himself alone, there as here.
    let hers = task();
    assert_eq!(bob.ask(find(hers.uuid, 900_000, true)), Answer::Nowhere);
    let mut alice = user(&lab, "alice");
    assert!(matches!(alice.ask(commit(hers)), Answer::Placed(_)));
    // For whom that home does not know, nothing was ever taken there.
    front.grid(["user", "add", "carol"]).ok();
    let mut carol = user(&front, "carol");
    assert_eq!(carol.ask(find(TaskUuid::new(), 1_999, true)), Answer::Nowhere);
    let said = carol.ask(find(owners, 1_999, true));
    assert!(!matches!(said, Answer::Placed(_)), "{said:?}");
    for caller in [alice, bob, carol] {
        caller.leaves();
    }
}

#[test]
fn task_that_comes_back_is_accepted_only_if_its_home_sealed_it() {
    let (client, lab) = (home().0, home().0);
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", lab.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    let id = client.submit(["-H", "--", "true"]);
    let uuid = TaskUuid(client.show(&id)["uuid"].as_str().unwrap().parse().unwrap());
    let mut bob = user(&client, "bob");
    let mut his = request();
    his.launch.command = Command::new(vec!["false".into()]).unwrap();
    let forged = Envelope { uuid, ..envelope(None, seal::seal(&his).unwrap().0) };
    let said = bob.ask(commit(forged));
    assert!(matches!(said, Answer::Unsure { .. }), "{said:?}");
    assert_eq!(client.number("select count(*) from away"), 1, "it is still the owner's, elsewhere");
    let database = rusqlite::Connection::open(client.home().join("grid.db")).unwrap();
    let sealed: Vec<u8> = database.query_row("select sealed from away", [], |row| row.get(0)).unwrap();
    let own = Envelope { uuid, ..envelope(None, Sealed::from_bytes(sealed)) };
    let said = bob.ask(commit(own));
    assert!(matches!(said, Answer::Placed(_)), "{said:?}");
    bob.leaves();
    client.grid(["cancel", "--everyone", "all"]).ok();
    lab.grid(["cancel", "--everyone", "all"]).ok();
}
