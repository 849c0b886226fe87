//! A task: its request, and its states.

mod counts;
mod state;

pub use counts::Counts;
pub use state::{EndState, Phase, State, UnknownState};

use super::command::{Command, Environment, Text};
use super::demand::Demand;
use super::feature::Feature;
use super::files::{Fetch, Workplace};
use super::max_output::MaxOutput;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The reason of a task that its user holds.
pub const HELD_BY_USER: &str = "held until `grid release`";

/// The start of a task, the same for every member: what a supervisor carries out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub command: Command,
    pub cwd: Text,
    /// The client's $HOME, if `cwd` is below it: on a server over ssh the $HOME there takes its place.
    #[serde(default)]
    pub home: Option<Text>,
    pub env: Environment,
    pub time_limit: Option<Duration>,
    /// Opened on the server, relative to `cwd`; None keeps the output in the spool.
    pub stdout: Option<Text>,
    pub stderr: Option<Text>,
    /// The stdin of the command; None is /dev/null.
    #[serde(with = "serde_bytes", default)]
    pub stdin: Option<Vec<u8>>,
    #[serde(default)]
    pub workplace: Workplace,
    /// The files to fetch at the end.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// How much of each output is kept. None: the home's setting; for an agent, no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<MaxOutput>,
}

impl Launch {
    /// Features that it needs and that not every release has.
    pub fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        self.max_output.filter(|bound| bound.is_one()).map(|_| Feature::MaxOutput).into_iter()
    }
}

/// The members of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Members {
    Single,
    /// `first, first+step, ..`, `count` of them, at most `at_once` running.
    Range {
        first: u32,
        step: u32,
        count: u32,
        at_once: Option<u32>,
    },
    /// One for each line, counted from 1; `{}` in arguments and GRID_ENTRY are the line.
    Lines {
        lines: Vec<Text>,
        at_once: Option<u32>,
    },
}

impl Members {
    /// The number of members.
    pub fn count(&self) -> u32 {
        match self {
            Self::Single => 1,
            Self::Range { count, .. } => *count,
            Self::Lines { lines, .. } => u32::try_from(lines.len()).unwrap_or(u32::MAX),
        }
    }
}

/// The request of a task by its client: the content of an envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub demand: Demand,
    pub launch: Launch,
    pub members: Members,
    /// Attempts after the first for ends with a known code.
    pub retries: u32,
    /// Also after LOST: the task may then run twice.
    pub retry_lost: bool,
    /// How long its server may be unreachable before it is LOST; None: it is never LOST for that.
    #[serde(default)]
    pub lost_after: Option<Duration>,
    /// Start HELD.
    pub hold: bool,
    /// Hold it if no server could ever run it, instead of refusing it.
    pub hold_unmatched: bool,
    /// The user whose attributes count; None: the caller.
    pub user: Option<super::name::Name>,
    /// The submitting host.
    pub client: ClientFacts,
}

impl Request {
    /// Features that it needs and that not every release has, of the grid that accepts it.
    pub fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        let client = self.demand.looks_at_client().then_some(Feature::ClientAttributes);
        self.launch.features().chain(client)
    }
}

/// Facts on the client in every envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientFacts {
    pub host: String,
    pub user: String,
    pub os: String,
    pub arch: String,
}
