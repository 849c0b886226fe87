//! 5, 7, 12, 17: load capacity and idle computing power, with real load on this host, seen by the next match.

use crate::support::load::{Busy, alone, limit_above};
use crate::support::process::until;
use crate::support::{Grid, said, skipped};
use std::time::{Duration, Instant};

/// Why a server does not qualify now, as `explain` tells it.
fn why(grid: &Grid, id: &str) -> String {
    grid.explain(id)["servers"][0]["reasons"].to_string()
}

#[test]
fn claim_5_load_capacity_in_slots() {
    let _alone = alone();
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "1"]).ok();
    grid.fifo("go");
    let first = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.until_state(&first, "RUNNING");
    let second = grid.submit(["--", "true"]);
    assert_eq!(grid.state(&second), "PENDING", "its only slot is taken");
    assert!(why(&grid, &second).contains("slot"), "{}", why(&grid, &second));
    grid.sh("echo > go").ok();
    grid.grid(["wait", &first, &second]).ok();
}

#[test]
fn claim_5_load_capacity_with_real_load() {
    let _alone = alone();
    let grid = Grid::new();
    let limit = limit_above(|| grid.measured("local", "load1"));
    grid.grid(["server", "set", "local", "--max-load", &limit.to_string()]).ok();
    let before = grid.submit(["--", "true"]);
    grid.grid(["wait", &before]).ok();
    let busy = Busy::put_above(limit);
    // Above by a margin: the first task's end corrects the measured load by its one processor.
    until("real load is above the limit", || grid.measured("local", "load1") > limit + 0.2);
    let after = grid.submit(["--", "true"]);
    assert_eq!(grid.state(&after), "PENDING", "the load is above the limit");
    let reason = why(&grid, &after);
    assert!(reason.contains("load") && reason.contains("max-load") && reason.contains("read"), "{reason}");
    busy.end();
    // Nobody does anything: the dispatcher reads the host again and starts it.
    grid.grid(["wait", &after]).ok();
}

#[test]
fn claim_7_idle_computing_power_with_real_load() {
    let _alone = alone();
    let grid = Grid::new();
    let enough = 0.6;
    let begun = Instant::now();
    let mut idle = grid.measured("local", "idle_cpus");
    while idle < enough + 0.2 && begun.elapsed() < Duration::from_secs(20) {
        idle = grid.measured("local", "idle_cpus");
    }
    let constraint = format!("server.idle_cpus >= {enough}");
    if idle < enough + 0.2 {
        // Others keep this host busy: that alone is the load.
        skipped(
            "claim 7, first half",
            &format!("{idle:.2} processors are idle here; the test shows the busy host only"),
        );
    } else {
        grid.grid(["run", "-C", &constraint, "--", "true"]).ok();
    }
    let busy = Busy::put();
    until("real load leaves nothing idle", || grid.measured("local", "idle_cpus") < 0.3);
    let id = grid.submit(["-C", &constraint, "--", "true"]);
    assert_eq!(grid.state(&id), "PENDING", "nothing is idle");
    assert!(why(&grid, &id).contains("idle_cpus"), "{}", why(&grid, &id));
    busy.end();
    // It starts by the next reading that shows enough. Where others keep this host busy, none may.
    let (begun, mut shown) = (Instant::now(), 0);
    while grid.state(&id) == "PENDING" && shown < 5 && begun.elapsed() < Duration::from_secs(40) {
        shown += u32::from(grid.measured("local", "idle_cpus") >= enough + 0.2);
    }
    if grid.state(&id) == "PENDING" {
        assert!(shown < 5, "enough is idle, and it waits: {}", why(&grid, &id));
        grid.grid(["cancel", "--wait", &id]).ok();
        skipped("claim 7, second half", "nothing is idle here; the test shows the busy host only");
        return;
    }
    grid.grid(["wait", &id]).ok();
    said::tell(&format!("claim 7: {idle:.2} processors idle, none under load, the task started when they were again"));
}

#[test]
fn claim_7_the_more_idle_server_is_taken_first() {
    let _alone = alone();
    let grid = Grid::new();
    grid.grid(["server", "add", "part", "--local", "--cpus", "1", "--slots", "1"]).ok();
    // On one host all share what is idle; a server's part of it is what it can offer.
    let why = grid.grid(["submit", "-n", "--json", "--", "true"]).json();
    let chosen = why["chosen"].as_str().unwrap();
    let score =
        |name: &str| why["servers"].as_array().unwrap().iter().find(|s| s["server"] == name).unwrap()["score"].as_f64();
    let best = ["local", "part"].into_iter().max_by(|a, b| score(a).partial_cmp(&score(b)).unwrap()).unwrap();
    assert!(score(chosen) >= score(best), "{why}");
}

#[test]
fn claim_12_the_databases_are_updated_while_running() {
    let _alone = alone();
    let grid = Grid::new();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.until_state(&id, "RUNNING");
    let read = || grid.sql("SELECT read_at, load1, running_slots FROM server_view")[0].clone();
    let before = read();
    assert_eq!(before["running_slots"], 1);
    let limit = before["load1"].as_f64().unwrap_or(0.0) + 1.0;
    let busy = Busy::put_above(limit);
    // Nobody asks for it: the dispatcher reads the host on events.
    until("the record is newer by itself", || read()["read_at"].as_str() > before["read_at"].as_str());
    until("real load is in the record", || {
        grid.grid(["refresh"]).ok();
        read()["load1"].as_f64().is_some_and(|load| load > limit)
    });
    busy.end();
    // What a person declares, while it runs, stands beside what is read and survives it.
    grid.grid(["server", "set", "local", "--set", "rack=9"]).ok();
    grid.grid(["refresh"]).ok();
    assert_eq!(grid.attribute("local", "rack"), 9);
    grid.sh("echo > go").ok();
    grid.grid(["wait", &id]).ok();
    assert_eq!(read()["running_slots"], 0);
}

#[test]
fn claim_17_the_next_match_sees_the_update() {
    let _alone = alone();
    let grid = Grid::new();
    let limit = limit_above(|| grid.measured("local", "load1"));
    let constraint = format!("server.load1 < {limit}");
    grid.grid(["run", "-C", &constraint, "--", "true"]).ok();
    let busy = Busy::put_above(limit);
    until("real load is above the limit", || grid.measured("local", "load1") > limit + 0.2);
    let id = grid.submit(["-C", &constraint, "--", "true"]);
    assert_eq!(grid.state(&id), "PENDING", "the same task, matched against the newer record, waits");
    assert!(why(&grid, &id).contains("load1"), "{}", why(&grid, &id));
    busy.end();
    grid.grid(["wait", &id]).ok();
    // A declared change is seen by what waits, too.
    let id = grid.submit(["--hold-unmatched", "-C", "server.rack == 9", "--", "true"]);
    assert_eq!(grid.state(&id), "HELD");
    grid.grid(["server", "set", "local", "--set", "rack=9"]).ok();
    grid.grid(["wait", &id]).ok();
}
