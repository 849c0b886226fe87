//! The far end of a link: what runs on a server. No database; a spool directory instead.
//!
//! `serve` is `grid agent`: it speaks with a home's dispatcher over stdio and keeps the home's spool.
//! `supervise` is `grid supervise`: it runs attempts one after the other and outlives the agent.
//! They exchange frames (`protocol::supervisor`); what one missed while it was dead it reads in the `journal`.

pub mod facts;
pub mod journal;
pub mod place;
pub mod probe;
pub mod serve;
pub mod supervise;

mod apps;

mod attempt_table;
mod bound;
mod bundles;
mod cancel_note;
mod clearing;
mod cpus;
mod follow;
mod gpus;
mod handover;
mod hole;
pub mod inheriting;
mod installed;
mod lanes;
mod last_use;
mod launch;
mod limits;
mod login;
mod memory;
mod orphans;
mod output;
mod power;
mod process;
mod prologue;
mod prologue_probe;
mod recover;
mod requests;
mod results;
mod running;
mod spool;
mod spool_lock;
mod supervisor;
mod supervisor_files;
mod termination;
mod tool;
mod tree;
mod workdirs;
mod worker;

pub use process::close_inherited;

/// Why an agent or a supervisor had to stop.
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
