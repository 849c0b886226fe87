//! A task: what was asked, and the states that it goes through.

use super::command::{Command, Environment, Text};
use super::demand::Demand;
use super::feature::Feature;
use super::files::{Fetch, Workplace};
use super::max_output::MaxOutput;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The states that people and scripts see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    Pending,
    Held,
    Running,
    Completed,
    Failed,
    Timeout,
    OutOfMemory,
    Cancelled,
    Skipped,
    Lost,
}

impl State {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Held,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Timeout,
        Self::OutOfMemory,
        Self::Cancelled,
        Self::Skipped,
        Self::Lost,
    ];

    /// The word that the database, tables and JSON use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Held => "HELD",
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Timeout => "TIMEOUT",
            Self::OutOfMemory => "OUT_OF_MEMORY",
            Self::Cancelled => "CANCELLED",
            Self::Skipped => "SKIPPED",
            Self::Lost => "LOST",
        }
    }

    /// Nothing more happens by itself.
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Pending | Self::Held | Self::Running)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let wanted = text.to_ascii_uppercase();
        Self::ALL.into_iter().find(|s| s.word() == wanted).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// A word that is no state.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is no state: PENDING HELD RUNNING COMPLETED FAILED TIMEOUT OUT_OF_MEMORY CANCELLED SKIPPED LOST")]
pub struct UnknownState(String);

/// Why a task is held that its user holds.
pub const HELD_BY_USER: &str = "held until `grid release`";

/// Where a member is inside the database: finer than what people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not given to a server.
    Waiting,
    Held,
    /// Given to a server, not known to have begun.
    Starting,
    Running,
    /// One of the ended states.
    Ended(State),
}

impl Phase {
    /// The public state.
    pub const fn state(self) -> State {
        match self {
            Self::Waiting | Self::Starting => State::Pending,
            Self::Held => State::Held,
            Self::Running => State::Running,
            Self::Ended(state) => state,
        }
    }

    /// The word in the database.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Starting => "STARTING",
            Self::Held => "HELD",
            Self::Running => "RUNNING",
            Self::Ended(state) => state.word(),
        }
    }
}

impl FromStr for Phase {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Ok(match text {
            "WAITING" => Self::Waiting,
            "STARTING" => Self::Starting,
            "HELD" => Self::Held,
            "RUNNING" => Self::Running,
            other => Self::Ended(other.parse()?),
        })
    }
}

/// How many members of a task are in each phase. A single task is one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Not given to a server.
    pub waiting: u32,
    pub held: u32,
    /// Given to a server, not known to have begun.
    pub starting: u32,
    pub running: u32,
    pub completed: u32,
    pub failed: u32,
    pub timeout: u32,
    pub out_of_memory: u32,
    pub cancelled: u32,
    pub skipped: u32,
    pub lost: u32,
}

impl Counts {
    /// The state of the whole: that of its worst unended member, else FAILED if any failed.
    pub const fn state(&self) -> State {
        if self.running > 0 {
            State::Running
        } else if self.waiting + self.starting > 0 {
            State::Pending
        } else if self.held > 0 {
            State::Held
        } else if self.lost > 0 {
            State::Lost
        } else if self.failed > 0 {
            State::Failed
        } else if self.timeout > 0 {
            State::Timeout
        } else if self.out_of_memory > 0 {
            State::OutOfMemory
        } else if self.cancelled > 0 {
            State::Cancelled
        } else if self.skipped > 0 {
            State::Skipped
        } else {
            State::Completed
        }
    }

    /// The number in a public state; PENDING counts those that are starting too.
    pub const fn of(&self, state: State) -> u32 {
        match state {
            State::Pending => self.waiting + self.starting,
            State::Held => self.held,
            State::Running => self.running,
            State::Completed => self.completed,
            State::Failed => self.failed,
            State::Timeout => self.timeout,
            State::OutOfMemory => self.out_of_memory,
            State::Cancelled => self.cancelled,
            State::Skipped => self.skipped,
            State::Lost => self.lost,
        }
    }

    /// The number in one phase.
    pub const fn phase_mut(&mut self, phase: Phase) -> &mut u32 {
        match phase {
            Phase::Waiting | Phase::Ended(State::Pending) => &mut self.waiting,
            Phase::Held | Phase::Ended(State::Held) => &mut self.held,
            Phase::Starting => &mut self.starting,
            Phase::Running | Phase::Ended(State::Running) => &mut self.running,
            Phase::Ended(State::Completed) => &mut self.completed,
            Phase::Ended(State::Failed) => &mut self.failed,
            Phase::Ended(State::Timeout) => &mut self.timeout,
            Phase::Ended(State::OutOfMemory) => &mut self.out_of_memory,
            Phase::Ended(State::Cancelled) => &mut self.cancelled,
            Phase::Ended(State::Skipped) => &mut self.skipped,
            Phase::Ended(State::Lost) => &mut self.lost,
        }
    }

    /// Members that have not ended.
    pub const fn unended(&self) -> u32 {
        self.waiting + self.held + self.starting + self.running
    }

    /// All members.
    pub const fn size(&self) -> u32 {
        self.unended()
            + self.completed
            + self.failed
            + self.timeout
            + self.out_of_memory
            + self.cancelled
            + self.skipped
            + self.lost
    }
}

/// What is the same for every member of a task: the order that a supervisor carries out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    pub command: Command,
    pub cwd: Text,
    /// The client's $HOME, where `cwd` lies below it: on a server that one logs in to, the $HOME there stands for it.
    #[serde(default)]
    pub home: Option<Text>,
    pub env: Environment,
    pub time_limit: Option<Duration>,
    /// Opened on the server, relative to `cwd`; None keeps the output in the spool.
    pub stdout: Option<Text>,
    pub stderr: Option<Text>,
    /// What the command reads; None is /dev/null.
    #[serde(with = "serde_bytes", default)]
    pub stdin: Option<Vec<u8>>,
    #[serde(default)]
    pub workplace: Workplace,
    /// Brought back at the end.
    #[serde(default)]
    pub fetch: Option<Fetch>,
    /// How much of each output is kept. None: what the home's setting says; to an agent, no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<MaxOutput>,
}

impl Launch {
    /// What was asked for it that not every release does.
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
    /// How many there are.
    pub fn count(&self) -> u32 {
        match self {
            Self::Single => 1,
            Self::Range { count, .. } => *count,
            Self::Lines { lines, .. } => u32::try_from(lines.len()).unwrap_or(u32::MAX),
        }
    }
}

/// A task as its client asks for it: the content of an envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub demand: Demand,
    pub launch: Launch,
    pub members: Members,
    /// Attempts after the first for ends with a known code.
    pub retries: u32,
    /// Also after LOST: the task may then run twice.
    pub retry_lost: bool,
    /// LOST once its server was out of reach for so long; None: never for that.
    #[serde(default)]
    pub lost_after: Option<Duration>,
    /// Begin HELD.
    pub hold: bool,
    /// Keep HELD where nothing could ever run it, instead of refusing.
    pub hold_unmatched: bool,
    /// Whose attributes count; None: the caller.
    pub user: Option<super::name::Name>,
    /// The submitting host.
    pub client: ClientFacts,
}

impl Request {
    /// What it needs of the grid that takes it, beyond what every release does.
    pub fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        self.launch.features()
    }
}

/// What a client says of itself in every envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientFacts {
    pub host: String,
    pub user: String,
    pub os: String,
    pub arch: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_task_has_ended_when_no_member_is_left(waiting in 0u32..2, held in 0u32..2, starting in 0u32..2, running in 0u32..2, completed in 0u32..3, failed in 0u32..3) {
            let counts = Counts { waiting, held, starting, running, completed, failed, ..Counts::default() };
            prop_assert_eq!(counts.state().ended(), counts.unended() == 0);
            prop_assert_eq!(State::ALL.iter().map(|s| counts.of(*s)).sum::<u32>(), counts.size());
        }
    }
}
