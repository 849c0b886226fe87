//! How many commands that do nothing go through two lanes in a second, beside `xargs -P2`. Ignored: run it alone and
//! with `--release`. Figures are printed, nothing is claimed.

use crate::driver::*;
use grid::model::id::AttemptId;
use grid::protocol::agent::{Event, ToAgent};
use std::process::Command;
use std::time::Instant;

const TASKS: usize = 20_000;

#[test]
#[ignore = "a measurement"]
fn as_fast_as_xargs() {
    for round in 1..=3 {
        let home = Home::new();
        let mut agent = home.agent();
        let began = Instant::now();
        for lane in 0..2 {
            let ids: Vec<AttemptId> = (0..TASKS / 2).map(|_| attempt()).collect();
            let order = agent.order(lane, launch(&["true"]), ids.into_iter().map(member).collect());
            agent.tell(&ToAgent::Start(order));
        }
        let mut ended = Vec::new();
        let mut confirmed = 0;
        while ended.len() < TASKS {
            if let Event::Ended { attempt, ended: end } = agent.event().unwrap() {
                assert_eq!(exited(&end), 0);
                ended.push(attempt);
            }
            if agent.seen().is_empty() {
                agent.confirm(&ended[confirmed..]);
                confirmed = ended.len();
            }
        }
        let ours = began.elapsed();
        let began = Instant::now();
        let script = format!("seq {TASKS} | xargs -P2 -n1 true");
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        let theirs = began.elapsed();
        let rate = |t: std::time::Duration| TASKS as f64 / t.as_secs_f64();
        eprintln!(
            "round {round}: agent {:.0}/s, xargs -P2 {:.0}/s, ratio {:.2}",
            rate(ours),
            rate(theirs),
            rate(ours) / rate(theirs)
        );
    }
}
