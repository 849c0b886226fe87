//! Scenarios of the dispatcher on the bench.

mod basics;
