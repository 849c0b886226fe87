//! A first tier that is lost holds up no task while another one is up.

use super::way::three;
use crate::support::{Grid, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::time::{Duration, Instant};

/// A client of two first tiers in front of one second tier.
fn two_fronts() -> (Grid, [Grid; 2], Grid) {
    let (client, front, lab) = three();
    let other = Grid::new();
    other.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    other.grid(["distributor", "drain", "tier2"]).ok();
    client.grid(["distributor", "add", "front-b", "--tier", "1", "--endpoint", other.home().to_str().unwrap()]).ok();
    (client, [front, other], lab)
}

#[test]
fn first_task_after_a_front_went_dead_behind_its_link_goes_through_the_other_one_at_once() {
    let (client, [front, _other], lab) = two_fronts();
    client.grid(["config", "set", "peer_timeout", "60s"]).ok();
    // What works for the lab is no child of the front.
    for home in [&client, &lab] {
        home.grid(["config", "set", "idle_exit", "60s"]).ok();
    }
    lab.grid(["dispatcher", "stop"]);
    lab.grid(["dispatcher", "start"]).ok();
    client.grid(["dispatcher", "stop"]);
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
    // It hears nothing and says nothing, and its link stays: as a host without power.
    let mut all: Vec<Pid> = front.processes().into_iter().filter_map(Pid::from_raw).collect();
    all.retain(|pid| kill_process(*pid, Signal::STOP).is_ok());
    assert!(!all.is_empty());
    // What was heard within the last second counts as a sign of life.
    std::thread::sleep(Duration::from_millis(1_100));
    let begun = Instant::now();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    let took = begun.elapsed();
    client.grid(["wait"]).ok();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(lab.tasks(), 2);
    // The next ones ask the other one first.
    client.grid(["distributor", "list"]).shows(&["SILENT", "no sign of life"]);
    for pid in all {
        let _ = kill_process(pid, Signal::CONT);
    }
    process::until("it answers again", || {
        client.grid(["distributor", "show", "front-a", "--json"]).json()["state"] == "UP"
    });
}

/// A first tier on another host, whose login takes this long.
fn slow_login(client: &mut Grid, front: &Grid, seconds: u32) -> String {
    std::fs::write(
        client.file("ssh"),
        format!("#!/bin/sh\nsleep {seconds}\nfor last; do :; done\nexec sh -c \"$last\"\n"),
    )
    .unwrap();
    client.sh("chmod +x ssh").ok();
    client.set_env("GRID_SSH_COMMAND", "./ssh");
    format!("ssh:slow:{}", front.home().display())
}

#[test]
fn front_that_can_not_be_logged_in_to_at_once_is_asked_after_the_others() {
    let (mut client, [front, other], _lab) = two_fronts();
    client.grid(["distributor", "remove", "front-a"]).ok();
    let far = slow_login(&mut client, &front, 5);
    client.grid(["distributor", "add", "front-far", "--tier", "1", "--endpoint", &far]).expect(0);
    client.grid(["distributor", "order", "--tier", "1", "front-far,front-b"]).ok();
    client.grid(["dispatcher", "stop"]);
    let begun = Instant::now();
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // Where no other one answers, it gets the time that it needs.
    client.grid(["wait"]).ok();
    client.grid(["dispatcher", "stop"]);
    std::fs::rename(other.home(), other.home().with_extension("away")).unwrap();
    assert_eq!(client.route(&[]), json!(["front-far", "lab-x"]));
    client.grid(["wait"]).ok();
    std::fs::rename(other.home().with_extension("away"), other.home()).unwrap();
}

#[test]
fn front_that_is_lost_before_its_redirect_was_heard_holds_up_no_task() {
    let (client, [front, _other], lab) = two_fronts();
    for home in [&client, &lab] {
        home.grid(["config", "set", "idle_exit", "60s"]).ok();
    }
    lab.grid(["dispatcher", "stop"]);
    lab.grid(["dispatcher", "start"]).ok();
    client.grid(["dispatcher", "stop"]);
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
    // Its last word was heard a moment ago: the next question is sent to it.
    let mut all: Vec<Pid> = front.processes().into_iter().filter_map(Pid::from_raw).collect();
    all.retain(|pid| kill_process(*pid, Signal::STOP).is_ok());
    assert_eq!(client.route(&[]), json!(["front-b", "lab-x"]));
    client.grid(["wait"]).ok();
    assert_eq!(lab.tasks(), 2);
    for pid in all {
        let _ = kill_process(pid, Signal::CONT);
    }
    // What it was asked meanwhile came to nothing.
    process::until("it answers again", || {
        client.grid(["distributor", "show", "front-a", "--json"]).json()["state"] == "UP"
    });
    // A task that goes the same way after it.
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    client.grid(["wait"]).ok();
    assert_eq!(lab.tasks(), 3);
}

#[test]
fn front_that_could_not_ask_its_whole_second_tier_leaves_a_refused_task_to_the_next_one() {
    let (client, [front, other], _lab) = two_fronts();
    let gone = Grid::new();
    front.grid(["distributor", "add", "lab-gone", "--tier", "2", "--endpoint", gone.home().to_str().unwrap()]).ok();
    std::fs::rename(gone.home(), gone.home().with_extension("away")).unwrap();
    front.grid(["distributor", "drain", "tier2"]).ok();
    other.grid(["distributor", "resume", "tier2"]).ok();
    let refused = client.grid(["submit", "-C", "server.rack == 'b'", "--", "true"]).expect(75);
    refused.says(&["gave no answer", "no server of the others could ever run this", "lab-x/local"]);
    assert_eq!(client.tasks(), 0);
    other.grid(["server", "set", "local", "--set", "rack=b"]).ok();
    let dry = client.grid(["submit", "-n", "--json", "-C", "server.rack == 'b'", "--", "true"]).json();
    assert_eq!(dry["tiers"][0]["searched"][1]["distributor"], "front-b", "{dry}");
    assert_eq!(dry["chosen"], "local", "{dry}");
    let done = client.grid(["submit", "--json", "-C", "server.rack == 'b'", "--", "true"]).json();
    assert_eq!(done["route"], json!(["front-b", "tier2"]));
    let id = done["id"].as_str().unwrap();
    client.grid(["wait", id]).ok();
    client.grid(["explain", id]).shows(&["front-a", "redirects; some second-tier distributors gave no answer"]);
    std::fs::rename(gone.home().with_extension("away"), gone.home()).unwrap();
}
