//! Reading of ended tasks: without a write, and with an error for an output that is gone.

use super::fixture;
use super::follow::{self, FollowEvent};
use super::reader::Follower;
use super::selecting::Chosen;
use super::{Grid, OpsError, gc, logs, wait};
use crate::model::attempt::Stream;
use crate::model::clock::Reading;
use crate::model::task::State;
use std::fs::File;
use std::time::Duration;

/// A task that has just ended, with an output.
fn ended() -> (tempfile::TempDir, Grid, Chosen) {
    let (dir, mut grid) = fixture::grid();
    let task = fixture::add_task(&mut grid, fixture::draft());
    let attempt = fixture::start(&mut grid, task);
    fixture::end(&mut grid, task, &attempt, 0, "hello\n", false);
    (dir, grid, Chosen { task, index: None })
}

fn followed(grid: &mut Grid, what: Chosen, streams: &[Stream]) -> (String, Result<State, OpsError>) {
    let mut out = Vec::new();
    let mut follower = Follower { interrupts: None, reader: None };
    let ending = follow::follow(grid, what, streams, &mut follower, &mut |event| {
        if let FollowEvent::Output { bytes, .. } = event {
            out.extend_from_slice(bytes);
        }
        Ok(())
    });
    (String::from_utf8(out).unwrap(), ending.map(|ending| ending.state))
}

#[test]
fn wait_and_follow_of_an_ended_task_work_while_another_process_writes() {
    let (_dir, mut grid, what) = ended();
    let gate = File::open(grid.store.home().run_dir().join("gate")).unwrap();
    gate.lock().unwrap();
    let waited = wait::wait(&mut grid, &[what], &mut |_| true).unwrap();
    assert_eq!(waited.tasks[0].state, State::Completed);
    let (out, state) = followed(&mut grid, what, &[Stream::Out]);
    assert_eq!((out.as_str(), state.unwrap()), ("hello\n", State::Completed));
}

#[test]
fn logs_of_an_output_that_gc_took_are_refused_with_the_reason() {
    let (_dir, mut grid, what) = ended();
    let mut clock = Reading::now();
    let month = Duration::from_secs(31 * 24 * 3600);
    clock.moment.wall = clock.moment.wall.plus(month);
    clock.moment.since_boot += month;
    assert_eq!(gc::gc(&mut grid, gc::GcRequest::default(), &clock).unwrap().outputs, 1);
    let told = |result: Result<(), OpsError>| match result {
        Err(OpsError::Refused(words)) => words.contains("stdout is gone: outputs are kept 30d"),
        other => panic!("{other:?}"),
    };
    let wanted = |stream| logs::LogRequest { streams: vec![stream], attempt: None };
    assert!(told(logs::logs(&mut grid, what, &wanted(Stream::Out), &mut |_| Ok(()))));
    assert!(told(followed(&mut grid, what, &[Stream::Out]).1.map(drop)));
    // An empty output is not gone.
    logs::logs(&mut grid, what, &wanted(Stream::Err), &mut |_| Ok(())).unwrap();
}
