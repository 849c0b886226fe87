//! Histories: random steps of people, hosts and time, after each of which the books balance, and at the end of which everything ends.
//! `GRID_HISTORIES` says how many are tried.

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

/// Takes all steps, and settles.
fn live_through(steps: &[Step]) {
    let mut history = History::new();
    for step in steps {
        history.take(step);
    }
    history.settle();
}

proptest! {
    #![proptest_config(histories())]

    #[test]
    fn books_balance_after_each_step_and_everything_ends(steps in vec(any_step(), 1..24)) {
        live_through(&steps);
    }
}
