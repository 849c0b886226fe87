//! The types that all other folders use. The only input and output here: the type of a file system, the limit of open files, the caller's time zone, and the clocks.

pub mod ambient;
pub mod array;
pub mod attempt;
pub mod attribute;
pub mod bounds;
pub mod client;
pub mod clock;
pub mod command;
pub mod demand;
pub mod distributor;
pub mod endpoint;
pub mod facts;
pub mod failpoint;
pub mod feature;
pub mod files;
pub mod filesystem;
pub mod id;
pub mod inherited;
pub mod max_output;
pub mod name;
pub mod open_files;
pub mod process_attributes;
pub mod processors;
pub mod profile;
pub mod resources;
pub mod selector;
pub mod server;
pub mod settings;
pub mod ssh;
pub mod ssh_command;
pub mod task;
#[cfg(test)]
pub mod test_clock;
pub mod time;
pub mod user;
pub mod zone;
