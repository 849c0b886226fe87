//! Tasks that go through both tiers to other homes.

mod schedules;
mod way;
mod world;
