//! The states of tasks and members: what people see, and the finer phases that the database keeps.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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

    /// The end that this state is; None: not ended.
    pub const fn end(self) -> Option<EndState> {
        Some(match self {
            Self::Pending | Self::Held | Self::Running => return None,
            Self::Completed => EndState::Completed,
            Self::Failed => EndState::Failed,
            Self::Timeout => EndState::Timeout,
            Self::OutOfMemory => EndState::OutOfMemory,
            Self::Cancelled => EndState::Cancelled,
            Self::Skipped => EndState::Skipped,
            Self::Lost => EndState::Lost,
        })
    }

    /// Nothing more happens unless a person asks for it.
    pub const fn ended(self) -> bool {
        self.end().is_some()
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

/// The states in which a member, or a task, stays until a person starts it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndState {
    Completed,
    Failed,
    Timeout,
    OutOfMemory,
    Cancelled,
    Skipped,
    Lost,
}

impl EndState {
    /// The public state.
    pub const fn state(self) -> State {
        match self {
            Self::Completed => State::Completed,
            Self::Failed => State::Failed,
            Self::Timeout => State::Timeout,
            Self::OutOfMemory => State::OutOfMemory,
            Self::Cancelled => State::Cancelled,
            Self::Skipped => State::Skipped,
            Self::Lost => State::Lost,
        }
    }

    /// The word that the database, tables and JSON use.
    pub const fn word(self) -> &'static str {
        self.state().word()
    }
}

impl From<EndState> for State {
    fn from(end: EndState) -> Self {
        end.state()
    }
}

/// Where a member is inside the database: finer than what people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not given to a server.
    Waiting,
    Held,
    /// Given to a server, not known to have begun.
    Starting,
    Running,
    Ended(EndState),
}

impl Phase {
    /// The public state.
    pub const fn state(self) -> State {
        match self {
            Self::Waiting | Self::Starting => State::Pending,
            Self::Held => State::Held,
            Self::Running => State::Running,
            Self::Ended(end) => end.state(),
        }
    }
}
