//! Scenarios of the dispatcher on the bench.

mod basics;
mod callers;
mod cancels;
mod clock;
mod commits;
mod links;
mod machines;
mod recovery;
mod refusals;
mod restored;
mod retries;
mod transfers;
mod histories;
mod lanes;
mod limits;
mod order;
mod placing;
mod starving;
