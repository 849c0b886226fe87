//! Whatever comes in through `grid serve`: refused in clear words, no crash, no change.

use super::way::{many_servers, never};
use super::world::request;
use crate::support::caller::{Caller, stranger};
use crate::support::{Grid, process};
use grid::distributor::dry;
use grid::model::attribute::Value;
use grid::model::command::Command;
use grid::model::distributor::Load;
use grid::model::files::{Digest, Sent, Workplace};
use grid::model::id::{HomeId, Index, TaskUuid};
use grid::model::task::{Members, Request};
use grid::protocol::distributor::{Answer, FromServe, How, Question, Report, ToServe, VERSION, Verb, Way};
use grid::protocol::envelope::{Envelope, Sealed};
use grid::protocol::frame;
use grid::protocol::seal;
use std::io::Write;

fn knock(grid: &Grid) -> Caller {
    Caller::knock(&mut grid.typed(["serve"]))
}

pub fn greeted(grid: &Grid, credentials: &[&str], home: HomeId) -> Caller {
    let mut command = grid.typed(["serve"]);
    Caller::greeted(command.args(credentials), home)
}

pub fn envelope(user: Option<&str>, sealed: Sealed) -> Envelope {
    let user = user.map(|name| name.parse().unwrap());
    Envelope { version: 1, uuid: TaskUuid::new(), round: 1_000, user, hops: 0, sealed, list: None }
}

fn offer(envelope: Envelope) -> Question {
    Question::Offer { at: None, envelope, called: None, why: false, even_drained: false }
}

fn find(uuid: TaskUuid) -> Question {
    Question::Find { uuid, round: 1_999, onward: false, age_ms: 0, among: None, user: None }
}

#[test]
fn noise_huge_lengths_and_other_versions_are_refused_and_the_home_stands() {
    let grid = Grid::new();
    for noise in [&b"\xff\xff\xff\xffxx"[..], b"GET / HTTP/1.1\r\n\r\n", &[0x04, 0, 0, 0, 0xc1, 0xc1, 0xc1, 0xc1]] {
        let mut caller = knock(&grid);
        caller.say.write_all(noise).unwrap();
        match caller.hear() {
            Some(FromServe::Unfit { error }) => assert!(error.contains("no greeting"), "{error}"),
            other => panic!("{other:?}"),
        }
        caller.leaves();
    }
    let mut caller = knock(&grid);
    let hello = ToServe::Hello { version_min: VERSION + 1, version: VERSION + 3, home: stranger(), incarnation: 1 };
    frame::write(&mut caller.say, &hello).unwrap();
    match caller.hear() {
        Some(FromServe::Unfit { error }) => assert!(error.contains("same release"), "{error}"),
        other => panic!("{other:?}"),
    }
    caller.leaves();
    // Noise after a good beginning.
    let mut caller = greeted(&grid, &[], stranger());
    caller.say.write_all(&[0xff; 64]).unwrap();
    assert!(matches!(caller.hear(), Some(FromServe::Unfit { .. })));
    caller.leaves();
    // A slow drip holds up nobody else, and that it ends in the middle of a frame is no harm.
    let mut caller = greeted(&grid, &[], stranger());
    for byte in [9, 0, 0, 0, 0x81] {
        caller.say.write_all(&[byte]).unwrap();
        caller.say.flush().unwrap();
        let mut other = greeted(&grid, &[], stranger());
        assert_eq!(other.ask(find(TaskUuid::new())), Answer::Nowhere);
        other.leaves();
    }
    caller.leaves();
    // What is no home is made by nobody.
    let nowhere = grid.file("nowhere");
    let mut command = grid.typed(["serve", "--home"]);
    command.arg(&nowhere);
    process::run_with(&mut command, Some(b"")).expect(0);
    assert!(!nowhere.exists());
    grid.grid(["run", "--", "true"]).ok();
}

#[test]
fn tasks_that_no_receiver_takes_are_refused_by_name() {
    let grid = Grid::new();
    let me = grid.sql("select name from user_view")[0]["name"].as_str().unwrap().to_owned();
    let mut caller = greeted(&grid, &[], stranger());
    caller.denied(offer(envelope(None, Sealed::from_bytes(vec![0xc1; 100]))), &["can't be read"]);
    caller.denied(offer(envelope(None, Sealed::from_bytes(vec![0; (1 << 20) + 1]))), &["1048576 at most"]);
    let sealed = |change: &dyn Fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        envelope(None, seal::seal(&request).unwrap().0)
    };
    let labels = |n: usize| (0..n).map(|k| (format!("a{k}").into(), Value::Int(1))).collect();
    caller.denied(offer(sealed(&|r| r.demand.labels = labels(257))), &["task attributes: 257", "256 at most"]);
    let long: Value = "x".repeat(5000).as_str().into();
    caller.denied(
        offer(sealed(&|r| r.demand.labels = [("a".into(), long.clone())].into())),
        &["task attribute a", "4096"],
    );
    caller.denied(offer(sealed(&|r| r.demand.constraint = Some("server.".into()))), &["requirement"]);
    caller.denied(offer(sealed(&|r| r.demand.constraint = Some("x".repeat(3000).into()))), &["2048 at most"]);
    caller.denied(offer(sealed(&|r| r.launch.cwd = "tmp".into())), &["absolute"]);
    caller.denied(offer(sealed(&|r| r.user = Some("root2".parse().unwrap()))), &["--user"]);
    caller.denied(offer(sealed(&|r| r.client.host = "x\u{1b}[2J".into())), &["client.host"]);
    let zero = Members::Range { first: 4_000_000_000, step: 1_000_000_000, count: 5, at_once: None };
    caller.denied(offer(sealed(&|r| r.members = zero.clone())), &["array"]);
    let mut far = sealed(&|_| {});
    far.hops = 4;
    caller.denied(offer(far), &["circle"]);
    // And one that is right is taken, as the owner's.
    assert!(matches!(caller.ask(offer(sealed(&|_| {}))), Answer::Offered(_)));
    let way = Way { front: "f".into(), member: "m".into(), search: "nonsense".into() };
    let commit = |envelope| Question::Commit { at: None, envelope, how: How::Queue, way: way.clone() };
    let good = sealed(&|_| {});
    let Answer::Placed(placed) = caller.ask(commit(good.clone())) else { panic!() };
    // The same again is the same task; with another round too.
    let Answer::Placed(again) = caller.ask(commit(Envelope { round: 2_000, ..good })) else { panic!() };
    assert_eq!(placed.task.id, again.task.id);
    assert_eq!(grid.tasks(), 1);
    grid.grid(["wait", "1"]).ok();
    assert_eq!(grid.show("1")["user"], me.as_str());
    caller.leaves();
}

#[test]
fn files_of_strangers_are_taken_whole_or_not_at_all() {
    let grid = Grid::new();
    let mut caller = greeted(&grid, &[], stranger());
    let mut with = request();
    let sent = Sent { bundle: Digest([7; 32]), size: 10, files: 1, below: Default::default() };
    with.launch.workplace = Workplace::Own(sent);
    let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
    let envelope = envelope(None, seal::seal(&with).unwrap().0);
    let uuid = envelope.uuid;
    let commit = Question::Commit { at: None, envelope, how: How::Queue, way };
    let Answer::Placed(placed) = caller.ask(commit) else { panic!() };
    assert_eq!(grid.state("1"), "HELD");
    grid.grid(["release", "1"]).expect(1).says(&["waits for its files"]);
    assert_eq!(grid.state("1"), "HELD");
    let owner = placed.home;
    let send = |offset, bytes: &[u8]| {
        let verb = Verb::Send { offset, bytes: bytes.to_vec() };
        Question::Task { owner, user: None, uuid, verb }
    };
    for (offset, bytes) in [(0, &b""[..]), (5, b"hole"), (0, b"more than ten bytes"), (u64::MAX, b"x")] {
        assert_eq!(caller.ask(send(offset, bytes)), Answer::Have { bytes: 0 }, "{offset}");
    }
    assert_eq!(caller.ask(send(0, b"four")), Answer::Have { bytes: 4 });
    caller.denied(send(4, b"others"), &["damaged"]);
    assert_eq!(caller.ask(send(0, b"")), Answer::Have { bytes: 0 }, "it begins anew");
    let fetch = Verb::Fetch { index: Index(0), offset: 0 };
    caller.denied(Question::Task { owner, user: None, uuid, verb: fetch }, &["gone"]);
    assert_eq!((grid.state("1").as_str(), grid.number("select count(*) from bundle")), ("HELD", 0));
    grid.grid(["cancel", "1"]).ok();
    caller.leaves();
}

#[test]
fn users_are_who_their_key_says_and_run_only_where_the_owner_lets_them() {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    grid.grid(["user", "add", "bob"]).ok();
    grid.grid(["user", "add", "front-a"]).ok();
    let line = grid.grid(["user", "allow", "alice"]).ok();
    assert!(
        line.starts_with("restrict,command=\"") && line.contains("serve --home") && line.contains("--as alice"),
        "{line}"
    );
    assert!(grid.grid(["user", "allow", "front-a", "--vouch"]).ok().contains("--vouch front-a"));
    let task = |user: Option<&str>| envelope(user, seal::seal(&request()).unwrap().0);
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    // A forged user.
    alice.denied(offer(task(Some("bob"))), &["alice speaks for bob", "--vouch"]);
    // Not on a server that runs tasks under the owner's account, until the owner says so.
    let refused = match alice.ask(offer(task(None))) {
        Answer::Offered(offered) => offered,
        other => panic!("{other:?}"),
    };
    // It is the home's requirement and not hers, and nothing that she leaves out would help.
    let told = refused.servers.join("; ") + &refused.relaxed.join("; ");
    assert!(told.contains("home requires of other users: server.shared_account is not set"), "{refused:?}");
    assert!(!told.contains("-C"), "{refused:?}");
    grid.grid(["server", "set", "local", "--shared-account"]).ok();
    let Answer::Offered(offered) = alice.ask(offer(task(None))) else { panic!() };
    assert!(offered.servers.is_empty(), "{offered:?}");
    // Also where she requires something herself.
    let mut picky = request();
    picky.demand.constraint = Some("server.os == 'none'".into());
    let Answer::Offered(offered) = alice.ask(offer(envelope(None, seal::seal(&picky).unwrap().0))) else { panic!() };
    assert!(offered.servers[0].contains("-C: ") && !offered.servers[0].contains("home requires"), "{offered:?}");
    let mut high = request();
    high.demand.priority = 5;
    alice.denied(offer(envelope(None, seal::seal(&high).unwrap().0)), &["priority 5", "only lower"]);
    // The wall is not to be broken out of.
    let mut out = request();
    out.demand.constraint = Some("true) || (true".into());
    alice.denied(offer(envelope(None, seal::seal(&out).unwrap().0)), &["requirement"]);
    // A first tier that is vouched for may speak for its users, if they are users here.
    let mut front = greeted(&grid, &["--as", "front-a", "--vouch", "front-a"], stranger());
    assert!(matches!(front.ask(offer(task(Some("bob")))), Answer::Offered(_)));
    front.denied(offer(task(Some("mallory"))), &["mallory@front-a is unknown here"]);
    // Other people's tasks do not exist for one who may only submit.
    let id = grid.submit(["--", "true"]);
    grid.grid(["wait", &id]).ok();
    let uuid = grid.show(&id)["uuid"].as_str().unwrap().parse().unwrap();
    let owner = HomeId(grid.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    let show = Verb::Show { index: None };
    let question = Question::Task { owner, user: None, uuid: TaskUuid(uuid), verb: show };
    alice.denied(question.clone(), &["no task"]);
    grid.grid(["user", "allow", "alice", "--role", "see-all"]).ok();
    assert!(matches!(alice.ask(question), Answer::Report(_)));
    // What such a task can read under a shared account: all that the owner can.
    let mut nosy = request();
    nosy.launch.command =
        Command::new(vec!["cat".into(), grid.home().join("grid.db").as_os_str().to_owned().into()]).unwrap();
    let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
    let envelope = envelope(None, seal::seal(&nosy).unwrap().0);
    let Answer::Placed(placed) = alice.ask(Question::Commit { at: None, envelope, how: How::Queue, way }) else {
        panic!()
    };
    let id = placed.task.id.to_string();
    grid.grid(["wait", &id]).ok();
    assert!(grid.show(&id)["constraint"].is_null(), "she required nothing");
    let read = grid.grid(["logs", &id]);
    assert!(read.out.starts_with(b"SQLite format 3"), "README says so: {read:?}");
    alice.leaves();
    front.leaves();
}

/// Passed over in these words, by whoever searches: no refusal of this task or its user.
fn is_passed_over(answer: &Answer, why: &str) -> bool {
    match answer {
        Answer::No { why: said } => said.contains(why),
        Answer::Refused(refused) => !refused.answered && !refused.denied && refused.summary.contains(why),
        Answer::Report(found) => {
            let found: dry::DryRun = serde_json::from_str(found).unwrap();
            found.refused.is_some_and(|refused| !refused.answered && !refused.denied && refused.summary().contains(why))
        }
        _ => false,
    }
}

#[test]
fn member_that_can_not_search_now_is_passed_over_without_a_refusal() {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    let task = || envelope(None, seal::seal(&request()).unwrap().0);
    let searches = || [offer(task()), Question::Place(task()), Question::Look(task())];
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let mut owner = greeted(&grid, &[], stranger());
    // More questions than she may ask in a second.
    let tell = |caller: &mut Caller, ticket, question| {
        frame::write(&mut caller.say, &ToServe::Ask { ticket, question }).unwrap();
    };
    for ticket in 1..=300 {
        tell(&mut alice, ticket, Question::States { owner: stranger(), user: None, uuids: Vec::new() });
    }
    for (ticket, question) in (301..).zip((0..10).flat_map(|_| searches())) {
        tell(&mut alice, ticket, question);
    }
    let mut passed_over = 0;
    let mut left = 330;
    while left > 0 {
        let Some(FromServe::Answer { ticket, answer, last }) = alice.hear() else { panic!() };
        left -= u32::from(last);
        let told = format!("{answer:?}");
        if ticket > 300 && (told.contains("slow down") || told.contains("try again")) {
            assert!(
                is_passed_over(&answer, if told.contains("slow down") { "slow down" } else { "try again" }),
                "{told}"
            );
            passed_over += 1;
        }
    }
    assert!(passed_over > 3, "{passed_over}");
    alice.leaves();
    // A distributor that is not there, to the offer as to the commit.
    let at = Some("none".parse().unwrap());
    let unknown = Question::Offer { at, envelope: task(), called: None, why: false, even_drained: false };
    let mut other = greeted(&grid, &[], stranger());
    assert!(is_passed_over(&other.ask(unknown), "no second-tier distributor none"));
    other.leaves();
    // A database that can't be read.
    let database = grid.home().join("grid.db");
    std::fs::rename(&database, grid.home().join("whole")).unwrap();
    std::fs::write(&database, "no database ".repeat(1_000)).unwrap();
    for question in searches() {
        let said = owner.ask(question);
        assert!(is_passed_over(&said, "database"), "{said:?}");
    }
    let about = Question::States { owner: stranger(), user: None, uuids: Vec::new() };
    assert!(matches!(owner.ask(about), Answer::Denied(why) if why.contains("database")));
    owner.leaves();
    std::fs::rename(grid.home().join("whole"), &database).unwrap();
}

#[test]
fn a_long_report_goes_in_pieces_to_those_who_know_them_and_whole_to_others() {
    let grid = Grid::new();
    many_servers(&grid, 300);
    let id = grid.submit(["--hold-unmatched", "-C", &never(), "--", "true"]);
    let uuid = TaskUuid(grid.show(&id)["uuid"].as_str().unwrap().parse().unwrap());
    let owner = HomeId(grid.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    for (version, in_pieces) in [(2, false), (VERSION, true)] {
        let mut caller = Caller::greeted_in(version, &mut grid.typed(["serve"]), stranger());
        let question = Question::Task { owner, user: None, uuid, verb: Verb::Explain { index: None } };
        frame::write(&mut caller.say, &ToServe::Ask { ticket: 9, question }).unwrap();
        let (mut text, mut parts) = (String::new(), 0);
        loop {
            match caller.hear() {
                Some(FromServe::Answer { answer: Answer::Part(part), .. }) => {
                    parts += 1;
                    text += &part;
                }
                Some(FromServe::Answer { answer: Answer::Report(last), last: true, .. }) => {
                    text += &last;
                    break;
                }
                Some(FromServe::Answer { answer: Answer::Working, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(parts > 0, in_pieces, "version {version}");
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["servers"].as_array().unwrap().len(), 301, "version {version}");
        caller.leaves();
    }
}

#[test]
fn tombstones_do_not_fill_the_disk() {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    grid.grid(["server", "set", "local", "--shared-account"]).ok();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
    let task = || envelope(None, seal::seal(&request()).unwrap().0);
    let commit = |envelope| Question::Commit { at: None, envelope, how: How::Queue, way: way.clone() };
    let hers = task();
    assert!(matches!(alice.ask(commit(hers.clone())), Answer::Placed(_)));
    assert_eq!(alice.ask(find(TaskUuid::new())), Answer::Nowhere);
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let many = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 16384)
                INSERT INTO tombstone SELECT randomblob(16), (SELECT id FROM user WHERE name = 'alice'), 1999, ?1 FROM n";
    let long_ago = grid::model::time::Timestamp::now().0 - 40 * 24 * 3_600_000;
    database.execute(many, [long_ago]).unwrap();
    // She is told so, and can't have it settled now; what is hers is found, and the owner goes on.
    alice.denied(find(TaskUuid::new()), &["refusals for good", "16384", "grid gc"]);
    let nowhere = Some("none".parse().unwrap());
    let unknown = Question::Commit { at: nowhere, envelope: task(), how: How::Queue, way: way.clone() };
    alice.denied(unknown, &["refusals for good"]);
    // What can be taken is, for that leaves no refusal.
    assert!(matches!(alice.ask(commit(task())), Answer::Placed(_)));
    assert!(matches!(alice.ask(find(hers.uuid)), Answer::Placed(_)));
    let mut owner = greeted(&grid, &[], stranger());
    assert_eq!(owner.ask(find(TaskUuid::new())), Answer::Nowhere);
    grid.grid(["gc"]).ok();
    assert_eq!(alice.ask(find(TaskUuid::new())), Answer::Nowhere);
    assert!(database.query_row("SELECT count(*) FROM tombstone", [], |row| row.get::<_, u32>(0)).unwrap() < 20);
    alice.leaves();
    owner.leaves();
}

fn report(name: &str, home: HomeId, sequence: u64, running: u32) -> Report {
    Report {
        name: name.parse().unwrap(),
        there: "tier2".parse().unwrap(),
        home,
        incarnation: 1,
        sequence,
        load: Load { servers: 1, slots: 4, running, waiting: 0, idle_cpus: 1.0, power: 1.0 },
        apps: vec![],
        health: "UP".into(),
        release: "0".into(),
        why: "event".into(),
        period_ms: None,
    }
}

#[test]
fn registrant_can_not_claim_an_endpoint_or_another_name_and_stale_reports_change_nothing() {
    let front = Grid::new();
    front.grid(["user", "add", "lab-x"]).ok();
    let (lab, other) = (stranger(), stranger());
    let running = |front: &Grid| {
        front.grid(["distributor", "show", "lab-x", "--json"]).json()["attributes"]["running"]["value"].clone()
    };
    let offers: grid::model::endpoint::Endpoint = "ssh:somebody-else".parse().unwrap();
    let mut caller = greeted(&front, &["--as", "lab-x"], lab);
    // Whoever registers is told what is missing, also where its own dispatcher has reported meanwhile.
    for sequence in [3, 2, 3] {
        let register = Question::Register { offers: offers.clone(), report: report("lab-x", lab, sequence, 1) };
        assert!(matches!(caller.ask(register), Answer::Note(words) if words.contains("distributor allow lab-x")));
    }
    // Nothing goes there, and what it says of its place is not believed.
    let listed = front.grid(["distributor", "list", "--json"]).json();
    let row = listed.as_array().unwrap().iter().find(|d| d["name"] == "lab-x").unwrap().clone();
    assert_eq!(row["state"], "REGISTERED");
    assert_eq!(row["attributes"]["endpoint"]["value"], "local", "{row}");
    front.grid(["submit", "--json", "-n", "--", "true"]).ok();
    // Replayed and reordered reports are older: the newest stands.
    let transfer = |sequence, running| Question::Transfer(report("lab-x", lab, sequence, running));
    for (sequence, sent, stands) in [(5, 5, 5), (4, 4, 5), (5, 9, 5), (6, 6, 6), (3, 1, 6)] {
        assert_eq!(caller.ask(transfer(sequence, sent)), Answer::Done);
        assert_eq!(running(&front), stands);
    }
    caller.denied(Question::Transfer(report("lab-x", other, 99, 99)), &["itself only"]);
    let mut odd = report("lab-x", lab, 7, 7);
    odd.load.power = f64::NAN;
    caller.denied(Question::Transfer(odd), &["report.power: NaN"]);
    caller.leaves();
    let mut thief = greeted(&front, &["--as", "lab-x"], other);
    thief.denied(Question::Register { offers, report: report("lab-x", other, 99, 99) }, &["belongs to another home"]);
    thief.denied(Question::Transfer(report("tier2", other, 99, 99)), &["may report lab-x only"]);
    thief.leaves();
    assert_eq!(running(&front), 6);
    let key = front.grid(["distributor", "allow", "lab-x", "--endpoint", "ssh:lab-x"]).ok();
    assert!(key.contains("--as lab-x"), "{key}");
    front.grid(["distributor", "show", "lab-x"]).shows(&["ssh:lab-x"]);
}

#[test]
fn claim_15_random_bytes_are_redirected_as_a_real_task_is() {
    let (front, lab) = (Grid::new(), Grid::new());
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", front.home().to_str().unwrap()]).ok();
    front.grid(["distributor", "order", "--tier", "2", "lab-x,tier2"]).ok();
    let mut caller = greeted(&front, &[], stranger());
    let real = caller.redirect(envelope(None, seal::seal(&request()).unwrap().0));
    assert_eq!(real.len(), 2, "both members: {real:?}");
    for noise in [vec![], vec![0xc1; 7], (0..=255).collect(), b"the quick brown fox".repeat(1000)] {
        assert_eq!(caller.redirect(envelope(None, Sealed::from_bytes(noise))), real);
    }
    caller.leaves();
}
