//! The far end of a link: what runs on a server. No database; a spool directory instead.
//!
//! `serve` is `grid agent`: it speaks with a home's dispatcher over stdio and keeps the home's spool.
//! `supervise` is `grid supervise`: it runs attempts one after the other and outlives the agent.
//! The two meet in frames (`protocol::supervisor`) and, when one of them has died, in the `journal`.

pub mod facts;
pub mod journal;
pub mod place;
pub mod probe;
pub mod serve;
pub mod supervise;

mod apps;
mod behind;
mod book;
mod bound;
mod bundles;
mod clearing;
mod cpus;
mod follow;
mod gpus;
mod handover;
mod hole;
mod installed;
mod lanes;
mod launch;
mod limits;
mod login;
mod memory;
mod orders;
mod orphans;
mod output;
mod power;
mod process;
mod prologue;
mod recover;
mod results;
mod running;
mod spool;
mod supervisor;
mod tool;
mod tree;
mod worker;
mod works;

pub use process::close_inherited;

/// Why an agent or a supervisor can't go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error(transparent)]
    Frame(#[from] crate::protocol::frame::FrameError),
    #[error("{0}")]
    Unfit(String),
}

impl AgentError {
    /// For `map_err`: what was being done when the system refused.
    fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }
}
