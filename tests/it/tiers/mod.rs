//! Tasks that go through both tiers to other homes.

mod back;
mod clients;
mod deaths;
mod drained;
mod extremes;
mod fates;
mod files;
mod go;
mod heard;
mod hostile;
mod idle;
mod lost_fronts;
mod lost_homes;
mod move_answers;
mod move_cases;
mod move_schedules;
mod moving;
mod named;
mod older;
mod records;
mod schedules;
mod silence;
mod spools;
mod strangers;
mod users;
pub mod way;
mod world;
