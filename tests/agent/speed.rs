//! How many commands that do nothing go through two lanes in a second, beside `xargs -P2`. Ignored: run it alone and
//! with `--release`. Figures are printed, nothing is claimed.

use crate::driver::*;
use grid::model::id::AttemptId;
use grid::protocol::agent::{Event, ToAgent};
use std::process::Command;
use std::time::{Duration, Instant};

const TASKS: usize = 20_000;
/// Both take turns, for other work on the machine comes and goes.
const TURNS: usize = 5;

#[test]
#[ignore = "a measurement"]
fn as_fast_as_xargs() {
    let home = Home::new();
    let mut agent = home.agent();
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TURNS {
        let began = Instant::now();
        array(&mut agent, TASKS / TURNS);
        ours += began.elapsed();
        let began = Instant::now();
        let script = format!("seq {} | xargs -P2 -n1 true", TASKS / TURNS);
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        theirs += began.elapsed();
    }
    let rate = |time: Duration| TASKS as f64 / time.as_secs_f64();
    let ratio = rate(ours) / rate(theirs);
    eprintln!("{TASKS} x true, 2 at a time: {:.0}/s, xargs -P2: {:.0}/s, ratio {ratio:.2}", rate(ours), rate(theirs));
}

#[test]
#[ignore = "a measurement"]
fn one_task_there_and_back() {
    let home = Home::new();
    let mut agent = home.agent();
    let mut times: Vec<Duration> = (0..500)
        .map(|_| {
            let began = Instant::now();
            agent.run(launch(&["true"]));
            began.elapsed()
        })
        .collect();
    let first = times[0];
    times.sort_unstable();
    eprintln!("start to end of `true`: first {first:.1?}, then median {:.1?}, 95 % {:.1?}", times[250], times[475]);
}

/// One array over two lanes, confirmed as it goes.
fn array(agent: &mut Agent, size: usize) {
    for lane in 0..2 {
        let ids: Vec<AttemptId> = (0..size / 2).map(|_| attempt()).collect();
        let order = agent.order(lane, launch(&["true"]), ids.into_iter().map(member).collect());
        agent.tell(&ToAgent::Start(order));
    }
    let (mut ended, mut confirmed) = (Vec::new(), 0);
    while ended.len() < size {
        if let Event::Ended { attempt, ended: end } = agent.event().unwrap() {
            assert_eq!(exited(&end), 0);
            ended.push(attempt);
        }
        if agent.seen().is_empty() {
            agent.confirm(&ended[confirmed..]);
            confirmed = ended.len();
        }
    }
}
