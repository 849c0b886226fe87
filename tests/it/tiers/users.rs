//! Users from other homes: what lies here for them is bounded, and some may do more than others.

use super::hostile::{envelope, greeted};
use super::way::three;
use super::world::{Wire, World, context, found, principal, request};
use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use grid::distributor::dry;
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::principal::Principal;
use grid::model::command::Command;
use grid::model::distributor::Tier;
use grid::model::files::{Digest, Sent, Workplace};
use grid::model::task::Request;
use grid::model::time::Timestamp;
use grid::protocol::distributor::{Answer, How, Question, ServerOrder, Way};
use grid::protocol::seal;
use grid::store::{Durability, Store, StoreError};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

/// A home with a user alice who may run tasks there.
fn home() -> Grid {
    let grid = Grid::new();
    grid.grid(["user", "add", "alice"]).ok();
    grid.grid(["server", "set", "local", "--shared-account"]).ok();
    grid
}

fn commit(caller: &mut Caller, request: &Request) -> Answer {
    let way = Way { front: "f".into(), member: "m".into(), search: String::new() };
    let envelope = envelope(None, seal::seal(request).unwrap().0);
    caller.ask(Question::Commit { at: None, envelope, how: How::Queue, way })
}

#[test]
fn data_kept_for_a_user_is_bounded_and_more_is_refused_by_name() {
    let grid = home();
    grid.grid(["config", "set", "user_spool", "1M"]).ok();
    let sent = |seed, size| {
        let mut with = request();
        let bundle = Digest([seed; 32]);
        with.launch.workplace = Workplace::Own(Sent { bundle, size, files: 1, below: Default::default() });
        with
    };
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    // Files that are still to come count as well: 600K, and 600K more are too much.
    assert!(matches!(commit(&mut alice, &sent(1, 600 << 10)), Answer::Placed(_)));
    alice.leaves();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    let refused = |answer| match answer {
        Answer::No { why } | Answer::Denied(why) => why,
        other => panic!("{other:?}"),
    };
    let why = refused(commit(&mut alice, &sent(2, 600 << 10)));
    for word in ["kept for alice: 60", "K and 602K more", "1M at most (user_spool)", "cancel"] {
        assert!(why.contains(word), "{word}: {why}");
    }
    // Small ones still go, and the owner's own tasks have no such bound.
    assert!(matches!(commit(&mut alice, &sent(3, 100 << 10)), Answer::Placed(_)));
    let mut owner = greeted(&grid, &[], stranger());
    assert!(matches!(commit(&mut owner, &sent(4, 600 << 20)), Answer::Placed(_)));
    grid.grid(["cancel", "--everyone", "all"]).ok();
    // A long output counts.
    let mut loud = request();
    loud.launch.command = Command::new(["sh", "-c", "yes | head -c 1048576"].map(Into::into).to_vec()).unwrap();
    grid.grid(["config", "set", "user_spool", "2M"]).ok();
    let Answer::Placed(placed) = commit(&mut alice, &loud) else { panic!() };
    grid.grid(["wait", &placed.task.id.to_string()]).ok();
    grid.grid(["config", "set", "user_spool", "1M"]).ok();
    let spool = grid.grid(["user", "show", "alice", "--json"]).json()["attributes"]["spool"]["value"].as_u64().unwrap();
    assert!(spool > 1 << 20 && spool < (1 << 20) + (32 << 10), "{spool}: its output, and some rows");
    alice.leaves();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    assert!(refused(commit(&mut alice, &request())).contains("user_spool"));
    // What is old enough to go is not held against her.
    grid.grid(["config", "set", "keep_outputs", "1ms"]).ok();
    alice.leaves();
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    assert!(matches!(commit(&mut alice, &request()), Answer::Placed(_)));
    alice.leaves();
    owner.leaves();
}

#[test]
fn a_burst_over_several_connections_does_not_pass_a_users_bound() {
    let grid = home();
    grid.grid(["config", "set", "user_spool", "1M"]).ok();
    let sent = |seed| {
        let mut with = request();
        let sent = Sent { bundle: Digest([seed; 32]), size: 400 << 10, files: 1, below: Default::default() };
        with.launch.workplace = Workplace::Own(sent);
        with
    };
    let mut connections: Vec<Caller> = (0..4).map(|_| greeted(&grid, &["--as", "alice"], stranger())).collect();
    for caller in &mut connections {
        // Each has counted, and will not count again for a while.
        let offer = envelope(None, seal::seal(&request()).unwrap().0);
        let offer = Question::Offer { at: None, envelope: offer, called: None, why: false, even_drained: false };
        assert!(matches!(caller.ask(offer), Answer::Offered(_)));
    }
    let said: Vec<Answer> = connections.iter_mut().zip(1..).map(|(caller, seed)| commit(caller, &sent(seed))).collect();
    let taken = said.iter().filter(|answer| matches!(answer, Answer::Placed(_))).count();
    assert_eq!(taken, 2, "{said:?}");
    assert!(matches!(&said[2], Answer::Denied(why) if why.contains("805K and 402K more")), "{said:?}");
    connections.into_iter().for_each(Caller::leaves);
}

#[test]
fn administrator_drains_servers_and_has_no_bounds() {
    let grid = home();
    let drain = |reason: &str| Question::Manage {
        user: None,
        at: None,
        server: "local".parse().unwrap(),
        order: ServerOrder::Drain { reason: reason.to_owned() },
    };
    let mut alice = greeted(&grid, &["--as", "alice"], stranger());
    grid.grid(["user", "allow", "alice", "--role", "operate"]).ok();
    alice.denied(drain("mine"), &["alice may not administer", "--role administer"]);
    let mut high = request();
    high.demand.priority = 5;
    grid.grid(["config", "set", "user_waiting", "0"]).ok();
    alice.denied(
        Question::Offer {
            at: None,
            envelope: envelope(None, seal::seal(&high).unwrap().0),
            called: None,
            why: false,
            even_drained: false,
        },
        &["priority 5"],
    );
    let line = grid.grid(["user", "allow", "alice", "--role", "administer"]).ok();
    assert!(line.starts_with("restrict,command=") && line.contains("--as alice"), "{line}");
    assert!(matches!(commit(&mut alice, &high), Answer::Placed(_)));
    assert_eq!(alice.ask(drain("fan is loud")), Answer::Done);
    grid.grid(["server", "list"]).shows(&["DRAINED", "fan is loud"]);
    // The wall stands for her as for anybody else.
    grid.grid(["server", "unset", "local", "shared_account"]).ok();
    let why = match commit(&mut alice, &request()) {
        Answer::No { why } => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("could never run it"), "{why}");
    grid.grid(["user", "allow", "alice", "--role", "admin"]).expect(2).says(&["administer"]);
    alice.leaves();
}

#[test]
fn a_server_of_another_home_is_drained_by_its_distributors_name() {
    let (client, front, lab) = three();
    client.grid(["server", "drain", "lab-x/local", "--reason", "new disk"]).ok();
    lab.grid(["server", "list"]).shows(&["DRAINED", "new disk"]);
    client.grid(["server", "drain", "lab-x/nobody"]).expect(1).says(&["nobody"]);
    client.grid(["server", "drain", "lab-q/local"]).expect(1).says(&["lab-q"]);
    front.grid(["distributor", "drain", "tier2"]).ok();
    assert_eq!(client.grid(["submit", "--json", "--", "true"]).json()["state"], json!("PENDING"));
    client.grid(["server", "resume", "lab-x/local"]).ok();
    client.grid(["wait"]).ok();
}

/// The home of another account, whose key lets this grid in as this user and as nobody else.
pub fn let_in(from: &Grid, to: &Grid, user: &str) {
    let (key, binary) = (from.file("key"), env!("CARGO_BIN_EXE_grid"));
    let line = format!("#!/bin/sh\nexec '{binary}' serve --home '{}' --as {user}\n", to.home().display());
    std::fs::write(&key, line).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o755)).unwrap();
    from.grid(["config", "set", "ssh.command", key.to_str().unwrap()]).ok();
}

#[test]
fn refusing_home_is_named_and_not_called_silent() {
    let (client, front, lab) = (Grid::new(), Grid::new(), Grid::new());
    let_in(&front, &lab, "alice");
    front.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", "ssh:lab"]).ok();
    front.grid(["distributor", "drain", "tier2"]).ok();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", front.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    let refused = |why: &str| {
        for (at, dry) in [(&client, false), (&client, true), (&front, false), (&front, true)] {
            let mut line = vec!["submit", "--", "true"];
            line.splice(1..1, dry.then_some("-n"));
            let told = at.grid(line).expect(1).says(&["refuses this", "lab-x: refuses: ", why]);
            assert!(!told.err().contains("no answer"), "{told:?}");
        }
        client.grid(["run", "--", "true"]).expect(1);
        front.grid(["distributor", "list"]).shows(&["lab-x", "UP"]);
        assert_eq!((client.tasks(), front.tasks(), lab.tasks()), (0, 0, 0));
    };
    refused("user alice is unknown here");
    lab.grid(["user", "add", "alice"]).ok();
    lab.grid(["config", "set", "user_waiting", "0"]).ok();
    refused("this home takes 0 (user_waiting) at most");
    // One that passes nobody on has not refused anybody, and who has no server for it has looked at it.
    lab.grid(["config", "set", "user_waiting", "9"]).ok();
    client.grid(["submit", "-w", "lab-x/local", "--", "true"]).expect(75).says(&["lab-x/local", "shared_account"]);
    lab.grid(["distributor", "drain", "tier2", "--reason", "moves"]).ok();
    // The front's own servers alone could run it, and are drained as well: it waits.
    let id = client.submit(["--", "true"]);
    let reason = client.show(&id)["reason"].to_string();
    assert!(reason.contains("tier2 is drained") && !reason.contains("refuses"), "{reason}");
    client.grid(["cancel", "--wait", &id]).ok();
    // Whoever does not refuse takes it.
    lab.grid(["distributor", "resume", "tier2"]).ok();
    lab.grid(["config", "set", "user_waiting", "0"]).ok();
    front.grid(["distributor", "resume", "tier2"]).ok();
    front.grid(["distributor", "order", "--tier", "2", "lab-x,tier2"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "tier2"]));
    // A first tier that refuses is told in the same way.
    let other = Grid::new();
    let_in(&other, &front, "bob");
    other.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", "ssh:front"]).ok();
    other.grid(["distributor", "remove", "tier1"]).ok();
    for line in [&["submit", "--", "true"][..], &["submit", "-n", "--", "true"]] {
        other.grid(line).expect(1).says(&["refuses this", "front-b: refuses: user bob is unknown here"]);
    }
    other.grid(["distributor", "list"]).shows(&["front-b", "UP"]);
}

#[test]
fn refusal_with_a_silent_member_left_is_temporary() {
    let (client, front, lab) = (Grid::new(), Grid::new(), Grid::new());
    let_in(&front, &lab, "alice");
    front.grid(["distributor", "add", "lab-a", "--tier", "2", "--endpoint", "ssh:lab"]).ok();
    front.grid(["distributor", "add", "lab-b", "--tier", "2", "--endpoint", "/nowhere/at-all"]).ok();
    front.grid(["distributor", "drain", "tier2"]).ok();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", front.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    let told = |at: &Grid, code: i32, words: &[&str]| {
        for line in [&["submit", "--", "true"][..], &["submit", "-n", "--", "true"]] {
            at.grid(line).expect(code).says(words);
        }
    };
    // Asked in vain just now, or passed over for that.
    for home in [&client, &front, &client] {
        let words = ["refuse this, the others gave no answer", "lab-a: refuses: user alice is unknown here", "lab-b: "];
        told(home, 75, &words);
    }
    // One that its owner took out of use is not waited for.
    front.grid(["distributor", "drain", "lab-b"]).ok();
    told(&client, 1, &["lab-a: refuses: ", "lab-b: drained"]);
    // In the first tier as in the second.
    let other = Grid::new();
    let_in(&other, &front, "bob");
    other.grid(["distributor", "add", "front-0", "--tier", "1", "--endpoint", "/nowhere/at-all"]).ok();
    other.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", "ssh:front"]).ok();
    other.grid(["distributor", "remove", "tier1"]).ok();
    told(&other, 75, &["some distributors refuse this", "front-b: refuses: user bob is unknown here", "front-0: "]);
    other.grid(["distributor", "drain", "front-0"]).ok();
    told(&other, 1, &["front-b: refuses: user bob is unknown here", "front-0: drained"]);
}

#[test]
fn refusal_by_the_own_home_alone_is_in_its_words() {
    let (world, dir) = World::new();
    let mut store = found(&dir, 1);
    let nobody = Principal { user: "nobody".parse().unwrap(), ..principal() };
    let searched = |store: &mut Store| {
        let (task, mut peers) = (request(), Wire::of_client(&world));
        let envelope = || envelope(None, seal::seal(&task).unwrap().0);
        let placed =
            place(&mut context(store, &mut peers), &mut PlacementRequest::new(envelope(), &task, &nobody)).unwrap();
        let looked = dry::search(&mut context(store, &mut peers), &mut envelope(), &task, &nobody).unwrap();
        let SearchOutcome::Refused(refused) = placed else { panic!("{placed:?}") };
        assert_eq!(Some(&refused), looked.refused.as_ref());
        assert!(refused.denied, "{refused:?}");
        refused
    };
    let refused = searched(&mut store);
    assert_eq!(
        (&*refused.summary(), refused.reasons.len()),
        ("user nobody is unknown here: its owner has to run `grid user add nobody`", 0)
    );
    // Where others are asked, it is told who refused.
    store
        .write(Durability::Normal, |tx| {
            tx.add_distributor(&"lab".parse().unwrap(), Tier::Second, Timestamp::now()).map(drop)
        })
        .map_err(|error: StoreError| error)
        .unwrap();
    let refused = searched(&mut store);
    assert!(refused.summary().contains("refuses this"), "{refused:?}");
    assert!(refused.reasons.iter().any(|why| why.starts_with("lab: refuses: user nobody")), "{refused:?}");
}

#[test]
fn home_that_denies_the_state_of_a_task_is_not_called_silent() {
    let (client, lab) = (home(), home());
    let_in(&client, &lab, "alice");
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:lab"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    let id = client.submit(["-H", "--", "true"]);
    // Its key is another user's now.
    client.grid(["dispatcher", "stop"]).expect(0);
    let_in(&client, &lab, "bob");
    let mut waits = client.beside(["wait", &id]);
    let said = BufReader::new(waits.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(said.contains("does not report its state") && said.contains("bob is unknown here"), "{said}");
    assert!(!said.contains("does not answer"), "{said}");
    waits.kill().unwrap();
    waits.wait().unwrap();
    client.grid(["cancel", "--forget", &id]).expect(0);
    lab.grid(["cancel", "--everyone", "all"]).ok();
}
