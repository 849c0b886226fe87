//! Histories: random steps of people, hosts and time. The counts are right after each step, and in the end everything ends.
//! `GRID_HISTORIES` sets how many are run.

mod history;
mod invariants;
mod step;

use history::History;
use proptest::collection::vec;
use proptest::prelude::*;
use step::{Step, any_step};

/// The default number of histories.
const HISTORIES: u32 = 250;

fn histories() -> ProptestConfig {
    let cases = std::env::var("GRID_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(HISTORIES);
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() }
}

/// Takes all steps, then lets everything end.
fn run_history(steps: &[Step]) {
    let mut history = History::new();
    for step in steps {
        history.take(step);
    }
    history.settle();
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn counts_match_after_each_step_and_everything_ends(steps in vec(any_step(), 1..24)) {
        run_history(&steps);
    }
}
