//! Why a verb could not be carried out. Each variant is a kind that the exit code is chosen by.

use super::Grid;
use crate::dispatch::client::start::StartError;
use crate::model::near::nearest;
use crate::model::settings::BadSetting;
use crate::store::StoreError;

/// What went wrong, to what, and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// A name or id that this home does not know.
    #[error("no {kind} {name:?}{hint}")]
    Unknown { kind: &'static str, name: String, hint: String },
    /// What was typed makes no sense, or is not allowed.
    #[error("{0}")]
    Usage(String),
    /// A text that is no value of a setting.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// What was typed is right, but the state of things forbids it.
    #[error("{0}")]
    Refused(String),
    /// Nothing matches or nobody answered; the reasons, server by server.
    #[error("{summary}")]
    NoMatch { summary: String, reasons: Vec<String> },
    /// Whoever answered refuses this task or its user; the reasons, one by one.
    #[error("{summary}")]
    Denied { summary: String, reasons: Vec<String> },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no dispatcher to talk to.
    #[error(transparent)]
    Dispatcher(#[from] StartError),
    /// An agent, another home or this host's own limits.
    #[error("{0}")]
    Grid(String),
    /// A second Ctrl-C or TERM: the command ends by that signal, the task has not ended yet.
    #[error("{words}")]
    Interrupted { words: String, signal: i32 },
    /// Whoever reads what a verb streams went away, or can't take it.
    #[error("output: {0}")]
    Output(std::io::Error),
}

impl OpsError {
    /// The same, naming the database that it is about.
    pub fn in_home(self, grid: &Grid) -> Self {
        match self {
            Self::Store(error) => Self::Store(error.at(grid.store.home())),
            other => other,
        }
    }

    /// An unknown name, with the nearest known one as a hint.
    pub fn unknown<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let hint = nearest(name, known).map_or_else(
            || match kind {
                "server" => "; `grid server list` shows them".to_owned(),
                "user" => "; `grid user list` shows them, `grid user add NAME` adds one".to_owned(),
                "profile" => "; `grid task list` shows them".to_owned(),
                "client" => "; `grid client list` shows them".to_owned(),
                "distributor" => "; `grid distributor list` shows them".to_owned(),
                "task" => "; `grid status --all` shows them".to_owned(),
                _ => String::new(),
            },
            |near| format!("; did you mean {near:?}?"),
        );
        Self::Unknown { kind, name: name.chars().take(80).collect(), hint }
    }
}
