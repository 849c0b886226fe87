//! A probe of this host without a dispatcher, for founding a home.

use crate::engine::{Transport, local::Local};
use crate::link::{Link, LinkError};
use crate::model::facts::Facts;
use crate::model::id::{Epoch, HomeId};
use crate::protocol::agent::{FromAgent, ToAgent, VERSION, VERSION_MIN};
use crate::store::Home;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::{Duration, Instant};

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("{0}")]
    Unfit(String),
}

/// How long a probe may take.
pub const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Probes this host with an agent and a spool of its own: the home may not have an id yet.
pub fn this_host(
    home: &Home,
    watch: Vec<String>,
    script: Option<String>,
    prologue: Option<String>,
) -> Result<Facts, ProbeError> {
    let engine = Local { spool: home.agent_spool(), log: home.run_dir().join("agent.log"), expecting: false };
    let mut link = engine.open()?;
    link.send(&ToAgent::Hello {
        version_min: VERSION_MIN,
        version: VERSION,
        home: HomeId(uuid::Uuid::nil()),
        incarnation: 0,
        epoch: Epoch(0),
    })?;
    link.send(&ToAgent::Probe { watch, script, prologues: prologue.into_iter().collect() })?;
    let facts = wait_for_facts(&mut link)?;
    link.close().map_err(LinkError::from)?;
    Ok(facts)
}

fn wait_for_facts(link: &mut Link) -> Result<Facts, ProbeError> {
    let deadline = Instant::now() + PROBE_LIMIT;
    loop {
        link.flush()?;
        while let Some(message) = link.next()? {
            match message {
                FromAgent::Facts(facts) => return Ok(facts),
                FromAgent::Unfit { error } => return Err(ProbeError::Unfit(error)),
                _ => {}
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ProbeError::TimedOut(PROBE_LIMIT));
        }
        let flags = PollFlags::IN;
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(20), tv_nsec: i64::from(left.subsec_nanos()) };
        let mut fds = [PollFd::from_borrowed_fd(link.read_end(), flags)];
        match poll(&mut fds, Some(&timeout)) {
            // A signal that another part of the process handles.
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(|error| LinkError::Io(error.into()))?,
        };
        if !fds[0].revents().is_empty() && !link.receive()? {
            return Err(LinkError::Ended.into());
        }
    }
}
