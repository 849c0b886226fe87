//! What a first tier knows of its second tier, kept up to date between homes: by registration, on change, on events, periodically;
//! to one or to all of the first set; marked after leaving.

use super::way::three;
use crate::support::{Grid, process};
use serde_json::{Value, json};

fn path(grid: &Grid) -> String {
    grid.home().to_str().unwrap().to_owned()
}

/// A record as the first tier shows it.
fn record(front: &Grid, member: &str) -> Value {
    front.grid(["distributor", "show", member, "--json"]).json()
}

/// An attribute that a first tier has of one of its members, if it has it.
fn of(front: &Grid, member: &str, name: &str) -> Value {
    record(front, member)["attributes"][name]["value"].clone()
}

#[test]
fn record_of_a_second_tier_that_unregisters_is_marked_as_left_and_gets_no_tasks() {
    let (client, front, lab) = three();
    let register = ["distributor", "register", "--as", "lab-x", "--with", &path(&front)];
    lab.grid(register).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
    lab.grid(["distributor", "unregister", "--with", &path(&front)]).ok();
    process::until("the farewell has arrived", || record(&front, "lab-x")["state"] == "LEFT");
    assert_eq!(front.sql("select state from distributor_view where name = 'lab-x'")[0]["state"], "LEFT");
    assert_eq!(client.route(&[]), json!(["front-a", "tier2"]));
    let why = client.explain("last");
    assert!(why["tiers"][1].to_string().contains("left: it unregistered"), "{why}");
    // Either side brings it back.
    front.grid(["distributor", "allow", "lab-x"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    lab.grid(register).ok();
    assert_eq!((&record(&front, "lab-x")["state"], &of(&front, "lab-x", "health")), (&json!("UP"), &json!("UP")));
}

#[test]
fn broadcast_reaches_first_tiers_that_the_second_tier_did_not_register_with_by_name() {
    let (a, b, lab, client) = (Grid::new(), Grid::new(), Grid::new(), Grid::new());
    lab.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", &path(&b)]).ok();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&a), "--to", "all"]).shows(&["lab-x"]);
    for front in [&a, &b] {
        assert_eq!((of(front, "lab-x", "servers"), of(front, "lab-x", "reported")), (json!(1), json!("register")));
    }
    // A front that has heard of the lab only so redirects to it.
    b.grid(["distributor", "drain", "tier2"]).ok();
    client.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", &path(&b)]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    // On change, both.
    lab.grid(["server", "set", "local", "--slots", "7"]).ok();
    for front in [&a, &b] {
        process::until("the change has arrived", || of(front, "lab-x", "slots") == 7);
    }
    // It leaves all of them.
    lab.grid(["distributor", "unregister", "--with", &path(&a)]).ok();
    for front in [&a, &b] {
        process::until("the farewell has arrived", || record(front, "lab-x")["state"] == "LEFT");
    }
}

#[test]
fn refused_registration_exits_1_and_the_one_that_works_stays() {
    let (front, lab) = (Grid::new(), Grid::new());
    let line = ["distributor", "register", "--with", &path(&front), "--as"];
    lab.grid([&line[..], &["lab-x"]].concat()).ok();
    lab.grid([&line[..], &["tier2"]].concat()).expect(1).says(&["the name tier2 is taken", "stays as it was"]);
    assert_eq!(of(&lab, "tier2", "registered_with"), json!([format!("{} as lab-x", path(&front))]));
    lab.grid(["server", "set", "local", "--slots", "7"]).ok();
    process::until("the change has arrived", || of(&front, "lab-x", "slots") == 7);
    // One that never was is not kept either.
    let other = Grid::new();
    other.grid([&line[..], &["lab-x"]].concat()).expect(1).says(&["belongs to another home"]);
    assert!(of(&other, "tier2", "registered_with").is_null());
}

#[test]
fn periodic_reports_go_on_after_the_dispatcher_would_have_left_for_want_of_work() {
    let (front, lab) = (Grid::new(), Grid::new());
    lab.grid(["config", "set", "idle_exit", "1s"]).ok();
    lab.grid(["dispatcher", "stop"]);
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&front), "--on", "period:60s"]).ok();
    let database = rusqlite::Connection::open(lab.home().join("grid.db")).unwrap();
    let received = || record(&front, "lab-x")["attributes"]["servers"]["read_at"].clone();
    for _ in 0..3 {
        // No command of the lab runs; a minute has passed since the last report, as the database has it.
        let before = received();
        database.execute("UPDATE registration SET sent_at = sent_at - 61000", []).unwrap();
        process::until("a report has arrived", || received() != before);
        assert_eq!(of(&front, "lab-x", "reported"), "period");
    }
    lab.grid(["doctor"]).shows(&["reports", "has every report", "every 60 s while a dispatcher runs"]);
}

#[test]
fn least_loaded_spreads_tasks_over_second_tiers_that_have_not_reported_them_yet() {
    let (client, front, first) = three();
    let labs = [&first, &Grid::new(), &Grid::new()];
    front.grid(["distributor", "drain", "tier2"]).ok();
    for (lab, name) in labs.iter().zip(["lab-x", "lab-y", "lab-z"]) {
        lab.grid(["server", "set", "local", "--slots", "4"]).ok();
        lab.grid(["distributor", "register", "--as", name, "--with", &path(&front), "--on", "never"]).ok();
    }
    front.grid(["distributor", "search", "--tier", "2", "least-loaded"]).ok();
    for _ in 0..3 {
        client.submit(["-H", "--", "true"]);
    }
    assert_eq!(labs.map(Grid::tasks), [1, 1, 1]);
    // A first tier has no load.
    client
        .grid(["distributor", "search", "--tier", "1", "least-loaded"])
        .expect(2)
        .says(&["only redirect", "in-order"]);
}
