//! The disk of a server is full, has no inodes left, or can't be written.

use crate::lab::Lab;
use crate::support::{process, said::tell};

fn full(shot: bool) {
    let Some(lab) = Lab::of(2) else { return };
    for (host, what) in [("h1", "full"), ("h2", "no inodes")] {
        lab.rig.small_home(host, "size=128m,nr_inodes=400");
        // What is open lies in the old home.
        lab.rig.shoot(host, " agent --link ");
        let script = "echo $GRID_TASK_ID >> /var/tmp/ran; until [ -e /var/tmp/go.$GRID_TASK_ID ]; do sleep 0.05; done; head -c 100000 /dev/zero; exit 7";
        let runs = lab.grid.submit(["-w", host, "--", "sh", "-c", script]);
        lab.grid.until_state(&runs, "RUNNING");
        if what == "full" {
            lab.rig.fill(host)
        } else {
            lab.rig.use_up_inodes(host)
        }
        let waits = lab.grid.submit(["-w", host, "--", "sh", "-c", "echo $GRID_TASK_ID >> /var/tmp/ran"]);
        process::until("it is told why it waits", || {
            let state = lab.grid.state(&waits);
            assert_eq!(state, "PENDING", "{}", lab.told(&waits));
            let why = lab.grid.grid(["explain", &waits]).ok();
            why.contains("No space left")
        });
        // Three seconds apart: the disk does not empty itself in between.
        let begun = std::time::Instant::now();
        let tries = || lab.told(&waits).matches("not started").count();
        let before = tries();
        process::until("it was tried twice more", || tries() >= before + 2);
        assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "tried without a pause: {}", lab.told(&waits));
        tell(&format!("| {what} | dispatcher shot: {shot} | {} |", lab.told(&waits).replace('\n', "; ")));
        if shot {
            lab.shoot_dispatcher();
            process::until("the next one is told too", || {
                assert_eq!((lab.grid.state(&runs), lab.grid.state(&waits)), ("RUNNING".into(), "PENDING".into()));
                lab.grid.grid(["server", "show", host]).ok().contains("No space left")
            });
        }
        lab.rig.root(host, &format!("touch /var/tmp/go.{runs}")).ok();
        lab.rig.make_room(host);
        lab.grid.grid(["wait", &runs]).expect(7);
        lab.grid.grid(["wait", &waits]).expect(0);
        let ran = lab.rig.root(host, "cat /var/tmp/ran").ok();
        assert_eq!(ran, format!("{runs}\n{waits}"), "each once");
    }
}

#[test]
fn a_disk_that_is_full_stops_starts_and_loses_nothing() {
    full(false);
}

#[test]
fn a_disk_that_is_full_and_the_dispatcher_is_shot() {
    full(true);
}

fn an_end_on_a_full_disk(shot: bool) {
    let Some(lab) = Lab::of(1) else { return };
    lab.rig.small_home("h1", "size=128m,nr_inodes=400");
    lab.rig.shoot("h1", " agent --link ");
    let script = "until [ -e /var/tmp/go ]; do sleep 0.05; done; echo said; exit 7";
    let id = lab.grid.submit(["-w", "h1", "--", "sh", "-c", script]);
    lab.grid.until_state(&id, "RUNNING");
    lab.rig.fill("h1");
    lab.rig.root("h1", "touch /var/tmp/go").ok();
    process::until("the command has ended", || {
        !lab.rig.processes("h1").iter().any(|(_, line)| line.contains("/var/tmp/go"))
    });
    if shot {
        lab.shoot_dispatcher();
    }
    // Its end needs no room to be told, but what knows it may not be in reach.
    let state = lab.grid.state(&id);
    assert!(["RUNNING", "FAILED"].contains(&state.as_str()), "{state}");
    lab.rig.make_room("h1");
    lab.grid.grid(["wait", &id]).expect(7);
}

#[test]
fn an_end_on_a_full_disk_is_told_when_there_is_room() {
    an_end_on_a_full_disk(false);
}

#[test]
fn an_end_on_a_full_disk_and_the_dispatcher_is_shot() {
    an_end_on_a_full_disk(true);
}

fn a_home_that_can_not_be_written(shot: bool) {
    let Some(lab) = Lab::of(2) else { return };
    lab.rig.shoot("h1", " agent --link ");
    lab.rig.read_only("h1", true);
    let id = lab.grid.submit(["-w", "h1", "--", "true"]);
    process::until("it is told why", || lab.grid.grid(["server", "show", "h1"]).ok().contains("Read-only"));
    assert_eq!(lab.grid.state(&id), "PENDING");
    tell(&format!("| read-only | dispatcher shot: {shot} | {} |", lab.told(&id).replace('\n', "; ")));
    if shot {
        lab.shoot_dispatcher();
    }
    lab.rig.read_only("h1", false);
    lab.grid.grid(["wait", &id]).expect(0);
}

#[test]
fn a_home_that_can_not_be_written_is_told() {
    a_home_that_can_not_be_written(false);
}

#[test]
fn a_home_that_can_not_be_written_and_the_dispatcher_is_shot() {
    a_home_that_can_not_be_written(true);
}
