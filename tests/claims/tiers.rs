//! The same claims where client, first tier and second tier are homes apart: 1, 2, 9 to 17; and how a second tier makes itself
//! known to a first one: 24 to 29.

use crate::support::{Grid, process};
use serde_json::{Value, json};

/// An attribute that a first tier has of one of its members, if it has it.
fn of(front: &Grid, member: &str, name: &str) -> Value {
    front.grid(["distributor", "show", member, "--json"]).json()["attributes"][name]["value"].clone()
}

fn path(grid: &Grid) -> String {
    grid.home().to_str().unwrap().to_owned()
}

/// A client of two first tiers, in front of two second tiers with a server each.
struct Homes {
    client: Grid,
    fronts: [Grid; 2],
    labs: [Grid; 2],
}

fn homes() -> Homes {
    let homes = Homes { client: Grid::new(), fronts: [Grid::new(), Grid::new()], labs: [Grid::new(), Grid::new()] };
    for (lab, (name, site)) in homes.labs.iter().zip([("lab-x", "brno"), ("lab-y", "oslo")]) {
        lab.grid(["server", "remove", "local"]).ok();
        lab.grid(["server", "add", "n1", "--local", "--slots", "2", "--set", &format!("site={site}")]).ok();
        for front in &homes.fronts {
            lab.grid(["distributor", "register", "--as", name, "--with", &path(front)]).ok();
        }
    }
    for (front, name) in homes.fronts.iter().zip(["front-a", "front-b"]) {
        front.grid(["distributor", "drain", "tier2"]).ok();
        front.grid(["distributor", "order", "--tier", "2", "lab-x,lab-y"]).ok();
        homes.client.grid(["distributor", "add", name, "--tier", "1", "--endpoint", &path(front)]).ok();
    }
    homes.client.grid(["distributor", "remove", "tier1"]).ok();
    homes
}

#[test]
fn claim_1_between_homes_the_way_is_client_first_tier_second_tier_server() {
    let homes = homes();
    let Homes { client, fronts, labs } = &homes;
    // Sequentially: the first front that answers, the first lab that can start it.
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    assert_eq!(client.route(&["-C", "server.site == 'oslo'"]), json!(["front-a", "lab-y"]));
    let why = client.explain("last");
    let asked = why["tiers"][1]["searched"].as_array().unwrap();
    let asked: Vec<&Value> = asked.iter().map(|s| &s["distributor"]).filter(|d| *d != "tier2").collect();
    assert_eq!(asked, ["lab-x", "lab-y"], "{why}");
    // A front that is drained or gone is passed over.
    client.grid(["distributor", "drain", "front-a"]).ok();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    client.grid(["distributor", "resume", "front-a"]).ok();
    fronts[0].grid(["distributor", "drain", "tier1"]).ok();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    // One that is no home any more: told, and remembered.
    std::fs::rename(fronts[1].home(), fronts[1].home().with_extension("away")).unwrap();
    client.grid(["dispatcher", "stop"]).ok();
    client.grid(["submit", "--", "true"]).expect(75).says(&["front-b", "no home"]);
    client.grid(["distributor", "list"]).shows(&["SILENT"]);
    std::fs::rename(fronts[1].home().with_extension("away"), fronts[1].home()).unwrap();
    client.grid(["wait"]).ok();
    assert_eq!(labs[0].tasks() + labs[1].tasks(), client.tasks(), "every task is in one lab and known to the client");
}

#[test]
fn claim_15_between_homes_the_redirect_is_the_same_for_any_task_and_client() {
    let homes = homes();
    let Homes { client, .. } = &homes;
    let redirect = |arguments: &[&str]| {
        let _ = client.route(arguments);
        client.explain("last")["tiers"][0].clone()
    };
    let plain = redirect(&[]);
    for other in [&["--priority", "-7", "-J", "name"][..], &["-a", "1-3"], &["-c", "1", "--mem", "1M"]] {
        assert_eq!(redirect(other), plain, "{other:?}");
    }
}

#[test]
fn claims_2_9_10_16_between_homes_the_second_tier_matches_server_user_client_and_task() {
    let homes = homes();
    let Homes { client, labs, .. } = &homes;
    // 2: one server made of several, in the second tier.
    labs[1].grid(["server", "add", "n2", "--local", "--slots", "1", "--set", "site=oslo"]).ok();
    labs[1].grid(["server", "add", "farm", "--of", "n1,n2"]).ok();
    let id = client.submit(["-w", "farm", "--", "true"]);
    client.grid(["wait", &id]).ok();
    assert_eq!(client.show(&id)["server"], "farm");
    // 9: what the lab's owner declared of the client that sits elsewhere.
    let host = client.show(&id)["client"].as_str().unwrap().to_owned();
    for lab in labs {
        lab.grid(["client", "set", &host, "--set", "site=oslo"]).ok();
    }
    assert_eq!(client.route(&["-C", "server.site == client.site"]), json!(["front-a", "lab-y"]));
    // 10: an attribute of the user, in the lab's own database.
    labs[0].grid(["server", "set", "n1", "--accepts", "\"staff\" in user.groups"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-y"]));
    let me = client.show("last")["user"].as_str().unwrap().to_owned();
    labs[0].grid(["user", "set", &me, "--group", "staff"]).ok();
    // 16: together. The client's own requirement of its user travels along, and-ed.
    assert_eq!(client.route(&["-C", "server.site != client.site"]), json!(["front-a", "lab-x"]));
    client.grid(["user", "set", &me, "-C", "server.site == 'oslo'"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-y"]));
    client.grid(["submit", "-C", "server.site == 'brno'", "--", "true"]).expect(75);
}

#[test]
fn claims_11_to_14_and_17_between_homes_each_home_has_its_databases_and_the_next_match_sees_an_update() {
    let homes = homes();
    let Homes { client, fronts, labs } = &homes;
    // 11: servers are the second tier's, not the first one's and not the client's.
    assert_eq!(labs[0].number("select count(*) n from server_view where name = 'n1'"), 1);
    assert_eq!(fronts[0].number("select count(*) n from server_view where name = 'n1'"), 0);
    // 12 and 17: changed while everything runs, seen by the next match.
    labs[0].grid(["server", "set", "n1", "--set", "rack=7"]).ok();
    assert_eq!(client.route(&["-C", "server.rack == 7"]), json!(["front-a", "lab-x"]));
    labs[0].grid(["server", "unset", "n1", "rack"]).ok();
    labs[1].grid(["server", "set", "n1", "--set", "rack=7"]).ok();
    assert_eq!(client.route(&["-C", "server.rack == 7"]), json!(["front-a", "lab-y"]));
    // 13 and 14: users and tasks.
    client.grid(["wait"]).ok();
    let lab = &labs[1];
    assert_eq!(lab.number("select count(*) n from task_view where state = 'COMPLETED'"), 1);
    assert_eq!(client.number("select count(*) n from task_view where state = 'COMPLETED'"), 2);
    let me = client.show("last")["user"].clone();
    assert_eq!(lab.sql("select user from task_view")[0]["user"], me);
}

#[test]
fn claim_24_a_second_tier_registers_and_the_first_tiers_owner_lets_tasks_go_there() {
    let (front, lab, client) = (Grid::new(), Grid::new(), Grid::new());
    // Between homes of one account permission is implied.
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&front)]).shows(&["reported", "lab-x"]);
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", &path(&front)]).ok();
    front.grid(["distributor", "order", "--tier", "2", "lab-x,tier2"]).ok();
    client.grid(["distributor", "order", "--tier", "1", "front-a,tier1"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    // A name belongs to the home that took it first.
    let other = Grid::new();
    let said = other.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&front)]);
    said.says(&["belongs to another home"]);
    let said = other.grid(["distributor", "register", "--as", "tier2", "--with", &path(&front)]);
    said.says(&["taken"]);
    // Registering again changes how; who is not there gets it later.
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&front), "--on", "never"]).ok();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", "/nowhere/at-all"]).ok();
    lab.grid(["distributor", "unregister", "--with", "/nowhere/at-all"]).ok();
    lab.grid(["distributor", "unregister", "--with", "/nowhere/at-all"]).expect(1).says(&["no registration"]);
    // Registered anew, its reports are newer than all before.
    lab.grid(["distributor", "unregister", "--with", &path(&front)]).ok();
    lab.grid(["server", "set", "local", "--slots", "9"]).ok();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", &path(&front)]).ok();
    assert_eq!(of(&front, "lab-x", "slots"), 9);
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", "ssh:front-a"]).expect(2).says(&["--endpoint"]);
}

#[test]
fn claim_25_the_first_tier_has_a_record_of_the_second_tiers_attributes_with_source_and_age() {
    let homes = homes();
    let Homes { fronts, .. } = &homes;
    let shown = fronts[0].grid(["distributor", "show", "lab-x", "--json"]).json();
    for (name, value) in [("servers", json!(1)), ("slots", json!(2)), ("running", json!(0)), ("health", json!("UP"))] {
        assert_eq!(shown["attributes"][name]["value"], value, "{name}: {shown}");
        assert_eq!(shown["attributes"][name]["source"], "reported");
        assert!(shown["attributes"][name]["read_at"].is_string());
    }
    for name in ["idle_cpus", "power", "apps", "version", "waiting"] {
        assert!(!shown["attributes"][name]["value"].is_null(), "{name}: {shown}");
    }
    fronts[0].grid(["distributor", "list"]).shows(&["lab-x", "lab-y", "UP"]);
}

#[test]
fn claim_26_attributes_are_transferred_on_change() {
    let homes = homes();
    let Homes { fronts, labs, .. } = &homes;
    labs[0].grid(["server", "set", "n1", "--slots", "7"]).ok();
    process::until("the change has arrived", || of(&fronts[0], "lab-x", "slots") == 7);
    assert_eq!(of(&fronts[0], "lab-x", "reported"), "change");
    labs[0].grid(["distributor", "drain", "tier2"]).ok();
    process::until("the drain has arrived", || of(&fronts[1], "lab-x", "health") == "DRAINED");
}

#[test]
fn claim_27_attributes_are_transferred_on_events() {
    let homes = homes();
    let Homes { fronts, labs, .. } = &homes;
    labs[0].fifo("go");
    let id = labs[0].submit(["--", "sh", "-c", "cat go"]);
    process::until("the start has arrived", || of(&fronts[0], "lab-x", "running") == 1);
    assert_eq!(of(&fronts[0], "lab-x", "reported"), "event");
    std::fs::write(labs[0].file("go"), "on").unwrap();
    labs[0].grid(["wait", &id]).ok();
    process::until("the end has arrived", || of(&fronts[0], "lab-x", "running") == 0);
    labs[0].grid(["distributor", "push"]).ok();
    assert_eq!(of(&fronts[0], "lab-x", "reported"), "push");
    // Switched off, an event tells nothing.
    let quiet = ["distributor", "register", "--as", "lab-x", "--on", "change", "--to", "registered", "--with"];
    for front in fronts {
        labs[0].grid([&quiet[..], &[&path(front)]].concat()).ok();
    }
    let id = labs[0].submit(["--", "true"]);
    labs[0].grid(["wait", &id]).ok();
    labs[0].grid(["refresh"]).ok();
    assert_eq!(of(&fronts[0], "lab-x", "reported"), "register");
}

#[test]
fn claim_28_attributes_are_transferred_periodically() {
    let (front, lab) = (Grid::new(), Grid::new());
    let line = ["distributor", "register", "--as", "lab-x", "--on", "period:60s", "--with"];
    lab.grid([&line[..], &[&path(&front)]].concat()).ok();
    lab.grid(["refresh"]).ok();
    assert_eq!(of(&front, "lab-x", "reported"), "register", "not before its time");
    // A minute ago, as the database has it.
    let database = rusqlite::Connection::open(lab.home().join("grid.db")).unwrap();
    database.execute("UPDATE registration SET sent_at = sent_at - 61000", []).unwrap();
    lab.grid(["refresh"]).ok();
    process::until("the report has arrived", || of(&front, "lab-x", "reported") == "period");
    lab.grid([&line[..5], &["period:5s", "--with", &path(&front)]].concat()).expect(2).says(&["60s"]);
}

#[test]
fn claim_29_attributes_go_to_the_registered_first_tier_or_are_broadcast_to_all() {
    let (a, b, lab) = (Grid::new(), Grid::new(), Grid::new());
    for (name, front) in [("front-a", &a), ("front-b", &b)] {
        lab.grid(["distributor", "add", name, "--tier", "1", "--endpoint", &path(front)]).ok();
        // Both know the lab; it is registered with one of them.
        front.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", &path(&lab)]).ok();
    }
    let line = ["distributor", "register", "--as", "lab-x", "--with"];
    lab.grid([&line[..], &[&path(&a), "--to", "registered"]].concat()).ok();
    assert_eq!(of(&a, "lab-x", "servers"), 1);
    assert!(of(&b, "lab-x", "servers").is_null(), "only to the one registered with");
    lab.grid([&line[..], &[&path(&a), "--to", "all"]].concat()).ok();
    assert_eq!(of(&b, "lab-x", "servers"), 1, "to every first tier that it knows");
    // least-loaded goes by these records.
    b.grid(["distributor", "search", "--tier", "2", "least-loaded"]).ok();
    let client = Grid::new();
    client.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", &path(&b)]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    lab.fifo("go");
    lab.submit(["--", "sh", "-c", "cat go"]);
    process::until("the start has arrived", || of(&b, "lab-x", "running") == 1);
    assert_eq!(client.route(&[]), json!(["front-b", "tier2"]));
    b.fifo("go");
    std::fs::write(lab.file("go"), "on").unwrap();
}
