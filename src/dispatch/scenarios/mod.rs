//! Scenarios of the dispatcher on the bench.

mod avoidance;
mod basics;
mod black_holes;
mod callers;
mod cancels;
mod clock;
mod commits;
mod histories;
mod lanes;
mod limits;
mod links;
mod machines;
mod offers;
mod order;
mod outputs;
mod placing;
mod reasons;
mod recovery;
mod refusals;
mod restored;
mod retries;
mod starving;
mod transfers;
