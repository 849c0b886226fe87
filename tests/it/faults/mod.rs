//! What must not be lost, must not run twice, must not say "locked".

mod clock;
mod deaths;
mod storm;
mod way_home;
