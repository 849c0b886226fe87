//! First tiers on hosts of their own, one of which is lost: it holds up no task while another one is up.

use crate::support::process;
use crate::support::rig::Plan;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn front_that_is_powered_off_costs_the_first_task_under_2_s_while_another_one_is_up() {
    // `head` is the client, h1 and h2 its first tiers, h3 the lab.
    let Some(rig) = Plan::of(3).with_grid(&["h1", "h2", "h3"]).up() else { return };
    let (client, lab) = (rig.at("head"), rig.at("h3"));
    for (name, host) in [("front-a", "h1"), ("front-b", "h2")] {
        let front = rig.at(host);
        front.grid(["distributor", "drain", "tier2"]).ok();
        lab.grid([
            "distributor",
            "register",
            "--as",
            "lab-x",
            "--with",
            &format!("ssh:{host}"),
            "--endpoint",
            "ssh:h3",
        ])
        .ok();
        front.grid(["distributor", "allow", "lab-x", "--endpoint", "ssh:h3"]).ok();
        client.grid(["distributor", "add", name, "--tier", "1", "--endpoint", &format!("ssh:{host}")]).ok();
    }
    client.grid(["distributor", "remove", "tier1"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    // The other one is logged in to as well.
    client.grid(["distributor", "drain", "front-a"]).ok();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    client.grid(["distributor", "resume", "front-a"]).ok();
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
    rig.crash("h1");
    // What was heard within the last second counts as a sign of life.
    std::thread::sleep(Duration::from_millis(1_100));
    let begun = Instant::now();
    let done = client.grid(["submit", "--json", "--", "echo", "here"]).json();
    let took = begun.elapsed();
    assert_eq!(done["route"], json!(["front-b", "lab-x"]), "{done}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // It is not held up later either.
    let id = done["id"].as_str().unwrap_or_default();
    client.grid(["wait", id]).ok();
    assert_eq!(client.grid(["logs", id]).ok(), "here");
    client.grid(["distributor", "list"]).shows(&["SILENT"]);
    rig.boot("h1");
    let state = || client.grid(["distributor", "show", "front-a", "--json"]).json()["state"].clone();
    process::until("it is back", || state() == "UP");
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
}
