//! 1, 15, 2: the way of a task through both tiers to a server, and a server made of several.

use crate::support::{Grid, load, skipped};
use serde_json::{Value, json};

/// The answers of one tier as (distributor, answer).
fn searched(explained: &Value, tier: usize) -> Vec<(String, String)> {
    let all = explained["tiers"][tier - 1]["searched"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all.iter().map(|s| (text(&s["distributor"]), text(&s["answer"]))).collect()
}

fn names(all: &[(String, String)]) -> Vec<&str> {
    all.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn claim_1_client_first_tier_redirect_second_tier_match_execution() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid(["distributor", "add", "front", "--tier", "1"]).ok();
    for lab in ["lab-a", "lab-b"] {
        grid.grid(["distributor", "add", lab, "--tier", "2"]).ok();
    }
    grid.grid(["distributor", "order", "--tier", "2", "lab-a,lab-b,tier2"]).ok();
    grid.grid(["server", "add", "n1", "--local", "--distributor", "lab-b", "--set", "site=brno"]).ok();
    let done =
        grid.grid(["submit", "--json", "-C", "server.site == 'brno'", "--", "sh", "-c", "echo $GRID_SERVER"]).json();
    assert_eq!(done["route"], json!(["tier1", "lab-b"]), "{done}");
    let id = done["id"].as_str().unwrap();
    grid.grid(["wait", id]).ok();
    assert_eq!(grid.grid(["logs", id]).ok(), "n1", "it runs where it matches");
    let why = grid.explain(id);
    let (first, second) = (searched(&why, 1), searched(&why, 2));
    assert_eq!(names(&first), ["tier1"], "the first that answers is enough: {why}");
    assert!(first[0].1.contains("lab-a, lab-b, tier2"), "a redirect names the second tier in its order: {why}");
    assert_eq!(names(&second), ["lab-a", "lab-b"], "the second tier is searched in order and no further: {why}");
    assert_eq!(why["chosen"], "n1");
}

#[test]
fn claim_1_the_first_tier_is_searched_in_order_until_one_answers() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid(["distributor", "add", "front-b", "--tier", "1"]).ok();
    grid.grid(["distributor", "add", "front-a", "--tier", "1"]).ok();
    grid.grid(["distributor", "order", "--tier", "1", "front-a,front-b,tier1"]).ok();
    let route = |grid: &Grid| grid.grid(["submit", "--json", "--", "true"]).json()["route"][0].clone();
    assert_eq!(route(&grid), "front-a");
    grid.grid(["distributor", "drain", "front-a", "--reason", "moved"]).ok();
    assert_eq!(route(&grid), "front-b");
    let why = grid.explain("last");
    assert_eq!(
        searched(&why, 1)[0],
        ("front-a".into(), "drained: moved".into()),
        "what was passed over is told: {why}"
    );
    grid.grid(["distributor", "resume", "front-a"]).ok();
    assert_eq!(route(&grid), "front-a");
    grid.grid(["distributor", "search", "--tier", "1", "round-robin"]).ok();
    let round: Vec<Value> = (0..6).map(|_| route(&grid)).collect();
    assert_eq!(round[..3], round[3..], "one member further for each task, and it wraps: {round:?}");
    assert_ne!(round[0], round[1]);
    grid.grid(["distributor", "drain", "front-a", "front-b", "tier1"]).ok();
    grid.grid(["submit", "--", "true"]).expect(75).says(&["no distributor answered"]);
}

#[test]
fn claim_15_the_redirect_is_the_same_for_any_task_and_client() {
    let _among = load::together();
    let grid = Grid::new();
    for lab in ["lab-a", "lab-b", "lab-c"] {
        grid.grid(["distributor", "add", lab, "--tier", "2"]).ok();
    }
    grid.grid(["distributor", "drain", "lab-b"]).ok();
    grid.grid(["user", "add", "alice", "--group", "staff"]).ok();
    grid.grid(["client", "set", "elsewhere", "--set", "site=oslo"]).ok();
    let redirect = |arguments: &[&str]| {
        let mut line = vec!["submit", "-n", "--json"];
        line.extend(arguments);
        let why = grid.grid(line).json();
        searched(&why, 1)
    };
    let plain = redirect(&["--", "true"]);
    assert_eq!(plain, [("tier1".to_owned(), "redirects to tier2, lab-a, lab-c".to_owned())]);
    for other in [
        &["-c", "1", "--mem", "1M", "--priority", "7", "--", "sleep", "100"][..],
        &["--user", "alice", "-J", "name", "-t", "1h", "--", "make"],
        &["-a", "1-1000", "--", "true"],
        &["-C", "client.host != ''", "--prefer", "server.power", "--shell", "a | b"],
    ] {
        assert_eq!(redirect(other), plain, "{other:?}");
    }
    // Another client: this host under another name, to everybody in the namespace.
    let other = |line: &str| grid.sh(&format!("unshare -ru sh -c 'hostname elsewhere-2 && {line}'"));
    if other("true").code() != 0 {
        return skipped("claim 15, another client", "no namespace for a host name here");
    }
    let why = other("grid submit -n --json -- true").json();
    assert_eq!(searched(&why, 1), plain, "another client");
    other("grid submit -H -- true").ok();
    assert_eq!(grid.show("1")["client"], "elsewhere-2", "it was one indeed");
}

#[test]
fn claim_2_one_server_made_of_several() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid(["server", "remove", "local"]).ok();
    for (name, rack) in [("fast", "7"), ("slow", "9")] {
        grid.grid(["server", "add", name, "--local", "--slots", "1", "--set", &format!("rack={rack}")]).ok();
    }
    grid.grid(["server", "add", "farm", "--of", "fast,slow"]).ok();
    let listed = grid.grid(["server", "list", "--json"]).json();
    let farm = listed.as_array().unwrap().iter().find(|s| s["name"] == "farm").unwrap();
    assert_eq!(farm["engine"], "group");
    assert_eq!(farm["attributes"]["slots"]["value"], 2, "its slots are those of its members together: {farm}");
    // It runs a task on one of its members, under its own name.
    let id = grid.submit(["-w", "farm", "--", "true"]);
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.show(&id)["server"], "farm");
    // A member out of service: the other one takes it.
    grid.grid(["server", "drain", "fast", "--reason", "dust"]).ok();
    grid.grid(["run", "-w", "farm", "--", "true"]).ok();
    // None in service: it waits, and the reason tells of each.
    grid.grid(["server", "drain", "slow", "--reason", "noise"]).ok();
    let id = grid.submit(["-w", "farm", "--", "true"]);
    let why = grid.explain(&id)["servers"].to_string();
    for word in ["fast", "dust", "slow", "noise"] {
        assert!(why.contains(word), "{word}: {why}");
    }
    assert_eq!(grid.state(&id), "PENDING");
    grid.grid(["server", "resume", "slow"]).ok();
    grid.grid(["wait", &id]).ok();
}
