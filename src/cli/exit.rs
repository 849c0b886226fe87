//! Every exit code of grid, named, and the one map from an error to its code.

use crate::ops::OpsError;
use std::process::ExitCode;

/// What a command ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u8);

/// The table of codes: constants, and what `--help` and the manual pages say of them.
macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident = $number:literal;)+) => {
        impl Code {
            $(#[doc = $doc] pub const $name: Self = Self($number);)+

            /// All codes with their meanings, in ascending order.
            pub const ALL: [(Self, &str); [$($number),+].len()] = [$((Self::$name, $doc)),+];
        }
    };
}

codes! {
    /// Done as asked.
    OK = 0;
    /// Refused (an unknown id or name, a state that forbids it), or grid itself failed.
    REFUSED = 1;
    /// Wrong usage, or a feature that is not supported yet.
    USAGE = 2;
    /// No server can ever run the task, or no distributor answered (EX_TEMPFAIL of sysexits.h).
    NO_MATCH = 75;
    /// The task was stopped at its time limit (as timeout(1) reports it).
    TIME_LIMIT = 124;
    /// grid itself failed, or the task is LOST; 1 would be the code of the task.
    GRID_FAILED = 125;
    /// The command could not be executed.
    NOT_EXECUTABLE = 126;
    /// The command was not found on its server.
    NOT_FOUND = 127;
    /// The task was ended by signal n.
    SIGNAL = 128;
    /// The task was cancelled (as a shell counts SIGINT).
    CANCELLED = 130;
    /// The reader of the output has exited (as a shell counts SIGPIPE).
    READER_GONE = 141;
}

impl Code {
    /// As people read it.
    pub fn shown(self) -> String {
        if self == Self::SIGNAL { "128+n".to_owned() } else { self.0.to_string() }
    }

    /// What it means for a command that says nothing else of it.
    pub fn meaning(self, here: &'static str) -> &'static str {
        let listed = || Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, doc)| doc.trim_start());
        if here.is_empty() { listed() } else { here }
    }
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
    match error {
        OpsError::Usage(_) | OpsError::Setting(_) => Code::USAGE,
        OpsError::NoMatch { .. } => Code::NO_MATCH,
        OpsError::Unknown { .. } | OpsError::Refused(_) | OpsError::Denied { .. } => Code::REFUSED,
        OpsError::Interrupted { .. } => Code::CANCELLED,
        OpsError::Store(_) | OpsError::Dispatcher(_) | OpsError::Grid(_) | OpsError::Output(_) => match speaks {
            Speaks::Task => Code::GRID_FAILED,
            Speaks::Grid => Code::REFUSED,
        },
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
