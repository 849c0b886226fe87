//! Submit: client's first-tier set -> redirect -> second-tier set -> match -> store -> wake the dispatcher.
//!
//! ```text
//! grid submit -> SubmitRequest -> by_dispatcher   the usual way: over the socket, into the dispatcher's next transaction
//!                      |               |
//!                      |         in_dispatcher    the same search, within that transaction, for a task that stays in this home
//!                      |
//!                      +-------> by_itself        with files, many lines, other homes, or without a dispatcher
//! ```
//!
//! The task has one uuid in all three ways, and is accepted once.

mod by_dispatcher;
mod by_itself;
mod in_dispatcher;
mod inheritance;
pub mod pack;
mod request;
mod submitted;
mod venv;

pub use by_dispatcher::Accepted;
pub(super) use by_itself::refusal;
pub use by_itself::{dry_run, submit, take_in};
pub use in_dispatcher::SubmitService;
pub(super) use inheritance::keep_environment;
pub use request::SubmitRequest;
pub(super) use request::travelling;
pub use submitted::chosen;
pub(super) use submitted::{Several, waits_in};
