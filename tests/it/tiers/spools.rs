//! What one user from another home may take of this one: bytes of its disk, questions in a second, questions at once.

use super::hostile::{envelope, greeted};
use super::world::request;
use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use grid::model::attribute::Value;
use grid::model::command::Command;
use grid::model::files::{Digest, Sent, Workplace};
use grid::model::id::{HomeId, TaskUuid};
use grid::model::task::{Members, Request};
use grid::protocol::distributor::{Answer, FromServe, How, Question, ToServe, Verb, Way};
use grid::protocol::{frame, seal};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A home with a user alice who may run tasks there, and its id.
fn home() -> (Grid, HomeId) {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    grid.grid(["server", "set", "local", "--shared-account"]).ok();
    let id = HomeId(grid.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    (grid, id)
}

/// Bytes of the disk below a directory.
fn bytes_below(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    bytes.sum()
}

fn commit(task: &Request, search: String) -> (Question, TaskUuid) {
    let (sealed, list) = seal::seal(task).unwrap();
    let envelope = grid::protocol::envelope::Envelope { list, ..envelope(None, sealed) };
    let uuid = envelope.uuid;
    let way = Way { front: "f".into(), member: "m".into(), search };
    (Question::Commit { at: None, envelope, how: How::Queue, way }, uuid)
}

/// Large things that a task may be submitted with, another one each time.
fn large(number: usize) -> (Request, String) {
    let mut task = Request { hold: !number.is_multiple_of(3), ..request() };
    // Nothing is kept once that others have too.
    let filler = |len: usize| {
        let mut text = format!("{number}-").repeat(len / 2);
        text.truncate(len);
        text
    };
    let mut search = String::new();
    match number % 6 {
        0 => task.launch.stdin = Some(filler(900 << 10).into_bytes()),
        1 => {
            let long = |name: usize| (format!("l{name}").into(), Value::Text(filler(3 << 10).into()));
            task.demand.labels = (0..200).map(long).collect();
        }
        2 => {
            let lines = (0..50_000).map(|line| format!("{number}-{line}").as_str().into()).collect();
            task.members = Members::Lines { lines, at_once: None };
        }
        3 => {
            let mut digest = [7; 32];
            digest[..8].copy_from_slice(&number.to_le_bytes());
            let sent = Sent { bundle: Digest(digest), size: 900 << 10, files: 1, below: Default::default() };
            task.launch.workplace = Workplace::Own(sent);
        }
        4 => {
            let answer = filler(200 << 10);
            search = format!(
                r#"{{"tiers":[{{"tier":1,"searched":[{{"distributor":"f","answer":"{answer}"}}]}},{{"tier":2,"searched":[]}}]}}"#
            );
            task.client.host = format!("host{number}");
        }
        _ => {
            let loud = format!("yes {number} | head -c 16000");
            task.launch.command = Command::new(["sh", "-c", &loud].map(Into::into).to_vec()).unwrap();
            task.members = Members::Range { first: 1, step: 1, count: 200, at_once: None };
        }
    }
    (task, search)
}

#[test]
fn a_user_who_tries_leaves_no_more_than_twice_its_bound() {
    let (grid, owner) = home();
    grid.grid(["config", "set", "user_spool", "10M"]).ok();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let end = Instant::now() + Duration::from_secs(9);
    let (mut taken, mut most) = (0, 0);
    let mut refused: Vec<String> = Vec::new();
    // On a slow machine at least as often as it takes to come to the bound.
    for number in 0.. {
        if number > 24 && Instant::now() > end {
            break;
        }
        let (task, search) = large(number);
        let (question, uuid) = commit(&task, search);
        // The list of an array goes before its question.
        let mut question = question;
        if let Some(list) = question.take_list() {
            for piece in list.as_bytes().chunks(256 << 10) {
                frame::write(&mut alice.say, &ToServe::Piece { ticket: 7, bytes: piece.to_vec() }).unwrap();
            }
        }
        match alice.ask(question) {
            Answer::Placed(_) => taken += 1,
            Answer::Denied(why) | Answer::No { why } => refused.push(why),
            other => panic!("{other:?}"),
        }
        let about = |verb| Question::Task { owner, user: None, uuid, verb };
        if task.launch.workplace.sent().is_some() {
            for piece in 0..3 {
                alice.ask(about(Verb::Send { offset: piece * (256 << 10), bytes: vec![b'x'; 256 << 10] }));
            }
        }
        if number % 6 != 5 {
            alice.ask(about(Verb::Cancel { index: None, grace_ms: 10 }));
        }
        alice.ask(Question::Find {
            uuid: TaskUuid::new(),
            round: 1_999,
            onward: false,
            age_ms: 0,
            among: None,
            user: None,
        });
        most = most.max(bytes_below(grid.home()));
    }
    assert!(taken > 5, "{taken} were taken: {refused:?}");
    assert!(refused.iter().any(|why| why.contains("10M at most (user_spool)")), "{taken} were taken: {refused:?}");
    assert!(most <= 20 << 20, "{most} bytes lay in the home, {taken} tasks were taken");
    alice.leaves();
    // What waits says so, and the owner's own go on.
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["cancel", "--everyone", "all"]);
}

#[test]
fn tasks_of_a_user_whose_room_is_full_wait_until_there_is_room() {
    let (grid, _) = home();
    grid.grid(["config", "set", "user_spool", "400K"]).ok();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let mut loud = request();
    loud.launch.command =
        Command::new(["sh", "-c", "yes | head -c 16000; sleep 0.01"].map(Into::into).to_vec()).unwrap();
    loud.members = Members::Range { first: 1, step: 1, count: 400, at_once: None };
    let Answer::Placed(placed) = alice.ask(commit(&loud, String::new()).0) else { panic!() };
    let id = placed.task.id.to_string();
    let waits = || grid.show(&id)["reason"].as_str().is_some_and(|why| why.contains("user_spool"));
    let end = Instant::now() + Duration::from_secs(60);
    while !waits() {
        assert!(Instant::now() < end, "{}", grid.show(&id));
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = || grid.number(&format!("select completed from task where id = {id}"));
    assert!(ended() < 400, "all have ended");
    // The owner's go on, and hers as soon as there is room.
    grid.grid(["run", "--", "true"]).ok();
    grid.grid(["config", "set", "user_spool", "10M"]).ok();
    grid.grid(["wait", &id]).ok();
    assert_eq!(ended(), 400);
    alice.leaves();
}

/// Asks so often without waiting, and counts the answers that are no refusal for haste.
fn hasten(caller: &mut Caller, questions: u64) -> usize {
    for ticket in 1..=questions {
        let question = Question::States { owner: stranger(), user: None, uuids: Vec::new() };
        frame::write(&mut caller.say, &ToServe::Ask { ticket, question }).unwrap();
    }
    let mut answered = 0;
    for _ in 0..questions {
        let Some(FromServe::Answer { answer, last: true, .. }) = caller.hear() else { panic!("no answer") };
        answered += usize::from(!format!("{answer:?}").contains("slow down"));
    }
    answered
}

#[test]
fn eight_logins_of_one_user_are_answered_as_one() {
    let (grid, _) = home();
    let began = Instant::now();
    let mut logins: Vec<Caller> = (0..8).map(|_| greeted(&grid, &["--as", "alice"], stranger())).collect();
    let answered: usize = logins.iter_mut().map(|login| hasten(login, 200)).sum();
    let most = 200.0 + 50.0 * (began.elapsed().as_secs_f64() + 1.0);
    assert!((200.0..most).contains(&(answered as f64)), "{answered} of 1600 in {:?}", began.elapsed());
    // The owner is not hurried.
    let mut owner = greeted(&grid, &[], stranger());
    assert_eq!(hasten(&mut owner, 250), 250);
    owner.leaves();
    logins.into_iter().for_each(Caller::leaves);
}

#[test]
fn questions_that_wait_are_bounded_over_all_logins_of_a_user_also_of_those_that_were_killed() {
    let (grid, owner) = home();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let held = Request { hold: true, ..request() };
    let (question, uuid) = commit(&held, String::new());
    let Answer::Placed(placed) = alice.ask(question) else { panic!() };
    let wait = Verb::Wait { index: None };
    let question = Question::Task { owner, user: None, uuid, verb: wait };
    let mut logins: Vec<Caller> = (0..2).map(|_| greeted(&grid, &["--as", "alice"], stranger())).collect();
    for ticket in 1..=96 {
        for login in &mut logins {
            frame::write(&mut login.say, &ToServe::Ask { ticket, question: question.clone() }).unwrap();
        }
    }
    // All are taken in by whoever answers what comes after them.
    let show = Question::Task { owner, user: None, uuid, verb: Verb::Show { index: None } };
    for login in &mut logins {
        assert!(matches!(said_to(login, 500, &show), Answer::Report(_)));
    }
    let said = said_to(&mut logins[0], 501, &question);
    assert!(matches!(&said, Answer::Denied(why) if why.contains("192 questions of alice")), "{said:?}");
    // One is killed: what it had under way counts no more.
    logins.pop().unwrap().kill();
    frame::write(&mut alice.say, &ToServe::Ask { ticket: 1, question }).unwrap();
    assert!(matches!(said_to(&mut alice, 2, &show), Answer::Report(_)));
    grid.grid(["release", &placed.task.id.to_string()]).ok();
    let ended = said_to(&mut alice, 3, &Question::Task { owner, user: None, uuid, verb: Verb::Wait { index: None } });
    assert!(matches!(ended, Answer::Ended { .. }), "{ended:?}");
}

/// Asks, and gives the last answer to that; what waits must not have been refused meanwhile.
fn said_to(login: &mut Caller, ticket: u64, question: &Question) -> Answer {
    frame::write(&mut login.say, &ToServe::Ask { ticket, question: question.clone() }).unwrap();
    loop {
        match login.hear() {
            Some(FromServe::Answer { ticket: of, answer, last: true }) if of == ticket => return answer,
            Some(FromServe::Answer { answer: Answer::Denied(why), .. }) => panic!("{why}"),
            Some(FromServe::Answer { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
