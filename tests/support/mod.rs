//! A grid of its own for each test: private home, private HOME, the real binary, and an end that leaves nothing behind.

#![allow(dead_code, unused_imports, clippy::allow_attributes, reason = "each test binary uses a part")]

pub mod caller;
pub mod crontab;
pub mod done;
pub mod grid;
pub mod lies;
pub mod load;
pub mod pack;
pub mod process;
pub mod rig;
pub mod said;
pub mod small;
pub mod tiers;

pub use done::Done;
pub use grid::Grid;
pub use rig::Rig;
pub use said::skipped;
