//! Every exit code of grid, named, and the one map from an error to its code.

use crate::ops::OpsError;
use std::process::ExitCode;

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// Done as asked.
    pub const OK: Self = Self(0);
    /// An unknown id or name, the state of things forbids it, or other homes refuse it.
    pub const REFUSED: Self = Self(1);
    /// What was typed makes no sense, or is not built yet.
    pub const USAGE: Self = Self(2);
    /// No server can ever run it, or no distributor answered (EX_TEMPFAIL of sysexits.h).
    pub const NO_MATCH: Self = Self(75);
    /// `run`, `wait`: the task was ended at its time limit (as timeout(1) says it).
    pub const TIME_LIMIT: Self = Self(124);
    /// `run`, `submit --wait`: grid itself failed; `wait`: the task is LOST.
    pub const GRID_FAILED: Self = Self(125);
    /// The command could not be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The command was not found on its server.
    pub const NOT_FOUND: Self = Self(127);
    /// The task was cancelled (as a shell counts SIGINT).
    pub const CANCELLED: Self = Self(130);
    /// The reader of our output has gone (as a shell counts SIGPIPE).
    pub const READER_GONE: Self = Self(141);
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.0)
    }
}

/// Ends this process by a signal, so that a shell sees it: a filter whose reader has gone ends by SIGPIPE, a loop of bash ends
/// when its command ends by SIGINT. Gives the code that a shell makes of it where that fails.
pub fn by_signal(signal: i32) -> Code {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    Code(128_u8.saturating_add(u8::try_from(signal).unwrap_or(u8::MAX)))
}

/// Whose code a person expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// grid's own.
    Grid,
    /// The task's: `run`, `wait` and `submit --wait`, where 1 would be the task's word.
    Task,
}

/// The code for an error.
pub const fn code(error: &OpsError, speaks: Speaks) -> Code {
    match (error, speaks) {
        (OpsError::Usage(_), _) => Code::USAGE,
        (OpsError::NoMatch { .. }, _) => Code::NO_MATCH,
        (OpsError::Unknown { .. } | OpsError::Refused(_) | OpsError::Denied { .. }, _) => Code::REFUSED,
        (OpsError::Interrupted { .. }, _) => Code::CANCELLED,
        (OpsError::Store(_) | OpsError::Grid(_) | OpsError::Output(_), Speaks::Task) => Code::GRID_FAILED,
        (OpsError::Store(_) | OpsError::Grid(_) | OpsError::Output(_), Speaks::Grid) => Code::REFUSED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_grid_is_never_taken_for_one_of_the_task() {
        let failed = OpsError::Grid("x".into());
        assert_eq!(code(&failed, Speaks::Task), Code::GRID_FAILED);
        assert_eq!(code(&failed, Speaks::Grid), Code::REFUSED);
        assert_eq!(code(&OpsError::Usage("x".into()), Speaks::Task), Code::USAGE);
        assert_eq!(code(&OpsError::NoMatch { summary: String::new(), reasons: vec![] }, Speaks::Task), Code::NO_MATCH);
    }
}
