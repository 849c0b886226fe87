//! 24 to 29: second tiers make themselves known to first tiers on other hosts, and keep what those know of them fresh.

use super::{Turn, of, route, turn};
use crate::support::process::until;
use crate::support::tiers::{FRONTS, LABS};
use serde_json::json;

/// The usual ways of telling again, and until every front has heard so.
fn as_ever(tiers: &Turn, lab: (&str, &str)) {
    tiers.register(lab, &["--to", "all", "--on", "change,event,period:60s"]);
}

#[test]
fn claim_24_between_hosts_a_second_tier_registers_and_gets_tasks_once_it_is_allowed() {
    let Some(tiers) = turn() else { return };
    let (client, front, lab) = (tiers.client(), tiers.at("h1"), tiers.at("h6"));
    // Another second-tier distributor of the third lab, with a server of its own.
    lab.grid(["distributor", "add", "night", "--tier", "2"]).ok();
    lab.grid(["server", "add", "n1", "--local", "--distributor", "night", "--set", "night=true"]).ok();
    let line = [
        "distributor",
        "register",
        "--as",
        "lab-n",
        "--distributor",
        "night",
        "--endpoint",
        "ssh:h6",
        "--to",
        "registered",
    ];
    lab.grid([&line[..], &["--with", "ssh:h1"]].concat()).shows(&["lab-n"]);
    // It is known, and nothing goes there: where it is reached is the owner's word.
    let listed = front.grid(["distributor", "show", "lab-n", "--json"]).json();
    assert_eq!((&listed["state"], &listed["attributes"]["endpoint"]["value"]), (&json!("REGISTERED"), &json!("local")));
    client.grid(["submit", "-C", "server.night", "--", "true"]).expect(75).says(&["lab-n", "not allowed yet"]);
    let key = front.grid(["distributor", "allow", "lab-n", "--endpoint", "ssh:h6"]).ok();
    assert!(key.starts_with("restrict,command=") && key.contains("--as lab-n"), "{key}");
    assert_eq!(route(&client, &["-C", "server.night"]), json!(["front-a", "lab-n"]));
    // Its name is its home's: nobody else gets it.
    let said =
        tiers.at("h5").grid(["distributor", "register", "--as", "lab-n", "--endpoint", "ssh:h5", "--with", "ssh:h1"]);
    said.says(&["belongs to another home"]);
    client.grid(["wait"]).ok();
    // What is refused is an error, and replaces nothing.
    let mut other = line.to_vec();
    other[3] = "lab-x";
    lab.grid([&other[..], &["--with", "ssh:h1"]].concat())
        .expect(1)
        .says(&["belongs to another home", "stays as it was"]);
    // After leaving it is marked, and gets no tasks.
    lab.grid(["distributor", "unregister", "--distributor", "night", "--with", "ssh:h1"]).ok();
    let left = || front.grid(["distributor", "show", "lab-n", "--json"]).json()["state"] == "LEFT";
    until("the farewell has arrived", left);
    client.grid(["submit", "-C", "server.night", "--", "true"]).expect(75).says(&["lab-n", "left: it unregistered"]);
    front.grid(["distributor", "remove", "lab-n"]).ok();
}

#[test]
fn claim_25_between_hosts_the_first_tier_has_a_record_of_each_second_tier_with_source_and_age() {
    let Some(tiers) = turn() else { return };
    for (_, host) in FRONTS {
        let front = tiers.at(host);
        front.grid(["distributor", "list"]).shows(&["lab-x", "lab-y", "lab-z", "UP"]);
        let shown = front.grid(["distributor", "show", "lab-y", "--json"]).json();
        let attributes = &shown["attributes"];
        assert!(attributes["servers"]["value"].as_u64() >= Some(2) && attributes["slots"]["value"].as_u64() >= Some(4));
        for name in ["servers", "slots", "running", "waiting", "idle_cpus", "power", "apps", "health", "version"] {
            assert!(!attributes[name]["value"].is_null(), "{name}: {shown}");
            assert_eq!(attributes[name]["source"], "reported", "{name}: {shown}");
            assert!(attributes[name]["read_at"].is_string(), "{name}: {shown}");
        }
        assert_eq!(attributes["endpoint"]["value"], "ssh:h5");
    }
}

#[test]
fn claim_26_between_hosts_attributes_are_transferred_on_change() {
    let Some(tiers) = turn() else { return };
    let lab = tiers.at("h4");
    tiers.register(LABS[0], &["--on", "change"]);
    lab.grid(["server", "set", "x1", "--slots", "7"]).ok();
    for (_, front) in FRONTS {
        until("the change has arrived", || of(&tiers.at(front), "lab-x", "slots") == 9);
        assert_eq!(of(&tiers.at(front), "lab-x", "reported"), "change");
    }
    lab.grid(["distributor", "drain", "tier2"]).ok();
    until("the drain has arrived", || of(&tiers.at("h2"), "lab-x", "health") == "DRAINED");
    lab.grid(["distributor", "resume", "tier2"]).ok();
    lab.grid(["server", "set", "x1", "--slots", "2"]).ok();
    until("all is as before", || of(&tiers.at("h3"), "lab-x", "slots") == 4);
    as_ever(&tiers, LABS[0]);
}

#[test]
fn claim_27_between_hosts_attributes_are_transferred_on_events() {
    let Some(tiers) = turn() else { return };
    let (client, lab) = (tiers.client(), tiers.at("h6"));
    tiers.register(LABS[2], &["--on", "event"]);
    let id = client.submit(["-w", "z1", "--", "sh", "-c", "until [ -e go.27 ]; do sleep 0.05; done"]);
    for (_, front) in FRONTS {
        until("the start has arrived", || of(&tiers.at(front), "lab-z", "running") == 1);
        assert_eq!(of(&tiers.at(front), "lab-z", "reported"), "event");
    }
    std::fs::write(tiers.rig.home("h11").join("go.27"), "").unwrap();
    client.grid(["wait", &id]).ok();
    until("the end has arrived", || of(&tiers.at("h2"), "lab-z", "running") == 0);
    lab.grid(["distributor", "push"]).shows(&["lab-z", "ssh:h1", "ssh:h2", "ssh:h3"]);
    assert_eq!(of(&tiers.at("h1"), "lab-z", "reported"), "push");
    as_ever(&tiers, LABS[2]);
}

#[test]
fn claim_28_between_hosts_attributes_are_transferred_periodically() {
    let Some(tiers) = turn() else { return };
    let lab = tiers.at("h5");
    tiers.register(LABS[1], &["--on", "period:60s"]);
    lab.grid(["refresh"]).ok();
    assert_ne!(of(&tiers.at("h1"), "lab-y", "reported"), "period", "not before its time");
    lab.grid(["dispatcher", "stop"]);
    lab.grid(["config", "set", "idle_exit", "1s"]).ok();
    lab.grid(["distributor", "push"]).ok();
    let received = |front: &str| {
        tiers.at(front).grid(["distributor", "show", "lab-y", "--json"]).json()["attributes"]["servers"]["read_at"]
            .clone()
    };
    for _ in 0..2 {
        let before = FRONTS.map(|(_, front)| received(front));
        // A minute ago, as the lab's database has it. No command runs there: its dispatcher stays for the reports.
        let database = rusqlite::Connection::open(lab.home().join("grid.db")).unwrap();
        database.execute("UPDATE registration SET sent_at = sent_at - 61000", []).unwrap();
        drop(database);
        for ((_, front), before) in FRONTS.into_iter().zip(before) {
            until("the report has arrived", || received(front) != before);
            assert_eq!(of(&tiers.at(front), "lab-y", "reported"), "period");
        }
    }
    lab.grid(["config", "unset", "idle_exit"]).ok();
    as_ever(&tiers, LABS[1]);
}

#[test]
fn claim_29_between_hosts_attributes_go_to_the_registered_first_tier_or_are_broadcast_to_all() {
    let Some(tiers) = turn() else { return };
    let lab = tiers.at("h6");
    // A distributor that is registered with front-a, whose home knows front-b too; that one's owner lets it come in.
    lab.grid(["distributor", "add", "cast", "--tier", "2"]).ok();
    lab.grid(["server", "add", "c1", "--local", "--distributor", "cast"]).ok();
    lab.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", "ssh:h2"]).ok();
    let line =
        ["distributor", "register", "--as", "lab-c", "--distributor", "cast", "--endpoint", "ssh:h6", "--on", "never"];
    lab.grid([&line[..], &["--with", "ssh:h1", "--to", "registered"]].concat()).ok();
    assert_eq!(of(&tiers.at("h1"), "lab-c", "servers"), 1);
    tiers.at("h2").grid(["distributor", "show", "lab-c"]).expect(1).says(&["no distributor"]);
    lab.grid([&line[..], &["--with", "ssh:h1", "--to", "all"]].concat()).shows(&["ssh:h1", "ssh:h2"]);
    assert_eq!(of(&tiers.at("h2"), "lab-c", "servers"), 1, "to every first tier that its home knows");
    let listed = tiers.at("h2").grid(["distributor", "show", "lab-c", "--json"]).json();
    assert_eq!(listed["state"], "REGISTERED", "its owner lets tasks go there");
    // No longer registered, it tells nobody anything.
    lab.grid(["distributor", "unregister", "--distributor", "cast", "--with", "ssh:h1"]).ok();
    lab.grid(["server", "set", "c1", "--slots", "9"]).ok();
    let told = lab.grid(["distributor", "push"]).ok();
    assert!(!told.contains("lab-c"), "{told}");
    // It has left both, also the one that it told by the broadcast.
    for front in ["h1", "h2"] {
        assert_eq!(of(&tiers.at(front), "lab-c", "health"), "LEFT");
    }
    for front in ["h1", "h2"] {
        tiers.at(front).grid(["distributor", "remove", "lab-c"]).ok();
    }
    lab.grid(["distributor", "remove", "front-b"]).ok();
}
