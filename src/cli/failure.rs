//! Why a command line ends without having done what was asked.

use super::exit::{self, Code, Speaks};
use super::output::Out;
use crate::ops::{Grid, OpsError};
use std::io;

/// An error on its way to the person.
#[derive(Debug)]
pub enum Failure {
    Ops(OpsError),
    /// Known, and refused until it is built.
    NotYet(String),
    /// The reader of our output has gone.
    Closed,
    /// `run` has cancelled its task because of this signal.
    Cancelled {
        signal: i32,
    },
    /// Our output can't be written: the disk is full.
    Output(io::Error),
}

impl From<OpsError> for Failure {
    fn from(error: OpsError) -> Self {
        match error {
            OpsError::Output(error) => error.into(),
            other => Self::Ops(other),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

impl Failure {
    /// What was typed makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Ops(OpsError::Usage(text.into()))
    }

    /// The same, naming the database that it is about.
    pub fn in_home(self, grid: &Grid) -> Self {
        match self {
            Self::Ops(error) => Self::Ops(error.in_home(grid)),
            other => other,
        }
    }

    /// The signal that a shell expects this command to end by.
    pub const fn signal(&self) -> Option<i32> {
        match self {
            Self::Closed => Some(signal_hook::consts::SIGPIPE),
            Self::Cancelled { signal } | Self::Ops(OpsError::Interrupted { signal, .. }) => Some(*signal),
            _ => None,
        }
    }

    /// Is this error told with it?
    pub fn says(&self, error: &OpsError) -> bool {
        matches!(self, Self::Ops(ours) if ours.to_string().contains(&error.to_string()))
    }

    /// Says it on stderr and gives the exit code.
    pub fn tell(&self, out: &mut Out, speaks: Speaks) -> Code {
        match self {
            Self::Closed => {
                out.undelivered("its reader has gone");
                Code::READER_GONE
            }
            Self::Cancelled { .. } => Code::CANCELLED,
            Self::NotYet(what) => {
                out.complain(&format!("{what} is not supported yet"));
                Code::USAGE
            }
            Self::Output(error) => {
                if !out.undelivered(&error.to_string()) {
                    out.complain(&format!("output: {error}"));
                }
                exit::code(&OpsError::Grid(String::new()), speaks)
            }
            Self::Ops(error) => {
                out.complain(&error.to_string());
                if let OpsError::NoMatch { reasons, .. } | OpsError::Denied { reasons, .. } = error {
                    for reason in reasons {
                        out.complaint_below(reason);
                    }
                }
                exit::code(error, speaks)
            }
        }
    }
}
