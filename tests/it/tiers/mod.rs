//! Tasks that go through both tiers to other homes.

mod back;
mod deaths;
mod files;
mod hostile;
mod lost_homes;
mod older;
mod schedules;
mod silence;
mod users;
mod way;
mod world;
