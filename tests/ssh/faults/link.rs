//! The way to a host breaks: before a start arrives, while the task runs, when it ends; for longer than every time-out.
//! One host for each fault, all of them struck at once.

use super::{FAULTS, Fault};
use crate::lab::Lab;
use crate::support::said::tell;
use std::time::Instant;

fn struck(lab: &Lab) -> Vec<(Fault, String)> {
    let struck: Vec<(Fault, String)> = FAULTS.into_iter().zip(lab.servers().map(str::to_owned)).collect();
    for (fault, host) in &struck {
        fault.strike(lab, host);
    }
    struck
}

fn mend(lab: &Lab, struck: &[(Fault, String)]) {
    for (fault, host) in struck {
        fault.mend(lab, host);
    }
}

fn row(moment: &str, shot: bool, fault: Fault, what: &str, mended: Instant) {
    let dispatcher = if shot { "dispatcher killed" } else { "" };
    tell(&format!(
        "| {moment} | {fault:?} | {dispatcher} | {what} | {:.1} s after mending |",
        mended.elapsed().as_secs_f64()
    ));
}

/// Each host runs a task that ends while nobody can hear of it, and one that goes on after the mending.
fn while_it_runs(shot: bool) {
    let Some(lab) = Lab::of(FAULTS.len()) else { return };
    let tasks: Vec<[String; 2]> = lab.servers().map(|host| [lab.running(host), lab.running(host)]).collect();
    let struck = struck(&lab);
    if shot {
        lab.shoot_dispatcher();
    }
    for ((fault, host), [ends, goes_on]) in struck.iter().zip(&tasks) {
        if fault.lasts() {
            lab.until_down(host);
            lab.until_silent(ends, "RUNNING");
        }
        lab.let_go(ends);
        assert_eq!(lab.grid.state(goes_on), "RUNNING", "{fault:?}");
    }
    if shot {
        lab.shoot_dispatcher();
    }
    for ((fault, _), [ends, _]) in struck.iter().zip(&tasks).filter(|((f, _), _)| f.lasts()) {
        lab.until_silent(ends, "RUNNING");
        assert_eq!(lab.ran(ends), 1, "{fault:?}");
    }
    mend(&lab, &struck);
    let mended = Instant::now();
    for ((fault, host), [ends, goes_on]) in struck.iter().zip(&tasks) {
        lab.ends(ends, 7);
        row("ended while it lasted", shot, *fault, "RUNNING, last contact ..", mended);
        assert_eq!(lab.grid.state(goes_on), "RUNNING", "{fault:?}");
        lab.let_go(goes_on);
        lab.ends(goes_on, 7);
        row("ran on", shot, *fault, "RUNNING, last contact ..", mended);
        assert_eq!(lab.server_state(host), "UP", "{fault:?}");
    }
}

#[test]
fn broken_while_tasks_run_and_end() {
    while_it_runs(false);
}

#[test]
fn broken_while_tasks_run_and_end_and_the_dispatcher_is_shot() {
    while_it_runs(true);
}

/// The link is up as far as anybody knows, and the start goes into it.
fn at_the_start(shot: bool) {
    let Some(lab) = Lab::of(FAULTS.len()) else { return };
    // The links stand.
    for id in lab.servers().map(|host| lab.running(host)).collect::<Vec<_>>() {
        lab.let_go(&id);
        lab.ends(&id, 7);
    }
    let struck = struck(&lab);
    let tasks: Vec<String> = struck.iter().map(|(_, host)| lab.submit(host, &[])).collect();
    if shot {
        lab.shoot_dispatcher();
    }
    for ((fault, host), id) in struck.iter().zip(&tasks).filter(|((f, _), _)| f.lasts()) {
        lab.until_down(host);
        let state = lab.grid.state(id);
        assert!(["PENDING", "RUNNING"].contains(&state.as_str()), "{fault:?}: {state}");
        assert!(lab.ran(id) <= 1, "{fault:?}");
    }
    mend(&lab, &struck);
    let mended = Instant::now();
    for ((fault, _), id) in struck.iter().zip(&tasks) {
        lab.let_go(id);
        lab.ends(id, 7);
        row("at the start", shot, *fault, "not begun as far as known", mended);
    }
}

#[test]
fn broken_when_a_start_is_sent() {
    at_the_start(false);
}

#[test]
fn broken_when_a_start_is_sent_and_the_dispatcher_is_shot() {
    at_the_start(true);
}

#[test]
fn a_start_that_was_never_sent_goes_elsewhere() {
    let Some(lab) = Lab::of(2) else { return };
    lab.rig.cut("h1");
    // Nobody has noticed yet.
    lab.shoot_dispatcher();
    let script = "uname -n";
    let id = lab.grid.submit(["--prefer", "server.name == \"h1\"", "--", "sh", "-c", script]);
    lab.grid.grid(["wait", &id]).ok();
    assert_eq!(lab.grid.grid(["logs", &id]).ok(), "h2");
}
