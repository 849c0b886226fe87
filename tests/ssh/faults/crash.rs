//! The power of a host goes, and comes back.

use crate::lab::Lab;
use crate::support::{process, said::tell};

fn crashed(shot: bool) {
    let Some(lab) = Lab::of(3) else { return };
    let stays = lab.running("h1");
    let again = lab.grid.submit([
        "--retry-lost",
        "--prefer",
        "server.name == \"h1\"",
        "--",
        "sh",
        "-c",
        "echo $GRID_TASK_ID >> ran; uname -n; test $GRID_ATTEMPT != 1 || exec sleep 1000",
    ]);
    lab.until_runs(&again, "h1");
    lab.rig.crash("h1");
    if shot {
        lab.shoot_dispatcher();
    }
    for id in [&stays, &again] {
        lab.until_silent(id, "RUNNING");
    }
    let before = lab.grid.submit(["-w", "h1", "--", "true"]);
    assert_eq!(lab.grid.state(&before), "PENDING", "it waits for the host");
    lab.rig.boot("h1");
    if shot {
        lab.shoot_dispatcher();
    }
    let done = lab.grid.grid(["wait", &stays]).expect(125);
    assert_eq!(lab.grid.state(&stays), "LOST", "{done:?}");
    assert_eq!(lab.ran(&stays), 1);
    lab.grid.grid(["wait", &again]).expect(0);
    assert_eq!(lab.ran(&again), 2, "that is what --retry-lost says");
    assert_ne!(lab.grid.grid(["logs", &again]).ok(), "h1", "elsewhere if possible");
    lab.grid.grid(["wait", &before]).expect(0);
    tell(&format!("| crash and boot | dispatcher shot: {shot} | {} |", lab.told(&stays).replace('\n', "; ")));
}

#[test]
fn a_crashed_host_makes_its_tasks_lost_when_it_is_back() {
    crashed(false);
}

#[test]
fn a_crashed_host_makes_its_tasks_lost_when_it_is_back_with_dispatchers_shot() {
    crashed(true);
}

#[test]
fn the_head_crashes_and_what_ran_is_collected() {
    let Some(lab) = Lab::of(1) else { return };
    let [ends, goes_on] = [lab.running("h1"), lab.running("h1")];
    lab.rig.crash("head");
    lab.let_go(&ends);
    process::until("the task has ended", || {
        !lab.rig.processes("h1").iter().any(|(_, l)| l.contains(&format!("go.{ends}")))
    });
    lab.rig.boot("head");
    lab.ends(&ends, 7);
    lab.let_go(&goes_on);
    lab.ends(&goes_on, 7);
}
