//! Histories: random steps of people, hosts and time. The counts are right after each step, and in the end everything ends.
//! `GRID_HISTORIES` sets how many are run; tests that run side by side share them.

mod history;
mod invariants;
mod step;

use history::History;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use step::{Commands, Step, any_steps};

/// The default number of histories; CI runs 1,200.
const HISTORIES: u32 = 250;
/// The tests that share them.
const SHARES: u32 = 4;

/// Takes all steps, then lets everything end.
fn run_history(steps: &[Step]) {
    let mut history = History::new();
    for step in steps {
        history.take(step);
    }
    history.settle();
}

/// Runs one share of the histories.
fn run_share(commands: Commands) {
    let all = std::env::var("GRID_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(HISTORIES);
    let config = ProptestConfig {
        cases: all.div_ceil(SHARES),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Default::default()
    };
    let run = TestRunner::new(config).run(&any_steps(commands), |steps| {
        run_history(&steps);
        Ok(())
    });
    run.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn counts_match_and_everything_ends_in_the_first_half_of_quiet_histories() {
    run_share(Commands::MostlySucceed);
}

#[test]
fn counts_match_and_everything_ends_in_the_second_half_of_quiet_histories() {
    run_share(Commands::MostlySucceed);
}

#[test]
fn counts_match_and_everything_ends_in_the_first_half_of_histories_of_failures() {
    run_share(Commands::MostlyFail);
}

#[test]
fn counts_match_and_everything_ends_in_the_second_half_of_histories_of_failures() {
    run_share(Commands::MostlyFail);
}
