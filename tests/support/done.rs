//! How a command ended.

use serde_json::Value;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What a command printed, and its code.
#[derive(Clone)]
pub struct Done {
    pub line: String,
    pub status: ExitStatus,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl Done {
    /// As a shell counts.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// It must have ended so.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self:?}");
        self
    }

    /// It must have ended with 0; its stdout without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).out().trim_end_matches('\n').to_owned()
    }

    /// It must have ended with 0 and printed one JSON document.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.clone().ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Its stderr must hold all of these.
    #[track_caller]
    pub fn says(self, all: &[&str]) -> Self {
        let err = self.err();
        for wanted in all {
            assert!(err.contains(wanted), "{wanted:?} is not said: {self:?}");
        }
        self
    }

    /// It must have ended with 0, and its stdout must hold all of these.
    #[track_caller]
    pub fn shows(self, all: &[&str]) -> Self {
        let out = self.clone().ok();
        for wanted in all {
            assert!(out.contains(wanted), "{wanted:?} is not shown: {self:?}");
        }
        self
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {}\n--- stdout\n{}--- stderr\n{}", self.line, self.code(), self.out(), self.err())
    }
}
