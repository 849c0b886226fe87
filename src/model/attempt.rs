//! One start of a member on a server, and how it ended.

use super::bounds::AMOUNT_MAX;
use super::max_output::MaxOutput;
use super::resources::Bytes;
use super::task::EndState;
use super::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a command is no longer running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It exited with this code.
    Exited { code: u8 },
    /// A signal ended it.
    Signalled { signal: u8 },
    /// The supervisor ended it at its time limit.
    TimeLimit,
    /// The supervisor ended it above its memory, or the kernel did.
    OutOfMemory,
    /// It ended on request. The command may have ended with a code on TERM.
    Cancelled,
    /// It could not be executed: 127 not found, 126 not executable; with the system's error.
    NotExecuted { code: u8, error: String },
    /// Supervisor and command are gone without a record of the end.
    Lost { why: String },
}

impl Cause {
    /// The state that the member ends in.
    pub const fn state(&self) -> EndState {
        match self {
            Self::Exited { code: 0 } => EndState::Completed,
            Self::Exited { .. } | Self::Signalled { .. } | Self::NotExecuted { .. } => EndState::Failed,
            Self::TimeLimit => EndState::Timeout,
            Self::OutOfMemory => EndState::OutOfMemory,
            Self::Cancelled => EndState::Cancelled,
            Self::Lost { .. } => EndState::Lost,
        }
    }

    /// The command's exit code, if it has one.
    pub const fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Exited { code } | Self::NotExecuted { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The signal that ended it, if one did.
    pub const fn signal(&self) -> Option<u8> {
        match self {
            Self::Signalled { signal } => Some(*signal),
            _ => None,
        }
    }

    /// True if `--retries` may start it again. (LOST only with `--retry-lost`.)
    pub const fn known_failure(&self) -> bool {
        !matches!(self, Self::Exited { code: 0 } | Self::Cancelled | Self::Lost { .. })
    }
}

/// Resources that a command used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time, of the command and all children that were waited for.
    pub cpu_ms: u64,
    /// Largest resident set of one process.
    pub max_rss: Bytes,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub cause: Cause,
    /// None if the start is not known, or there was none.
    pub started_at: Option<Timestamp>,
    pub ended_at: Timestamp,
    pub usage: Usage,
    /// Bytes written to the spool.
    pub out_len: u64,
    pub err_len: u64,
    /// Why its outputs are incomplete. Older agents do not send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Variables of [`PREFIXES`](super::inherited::PREFIXES) that it ran without: their directories are not on its server. Older
    /// agents do not send it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

impl End {
    /// The end with lengths that can be stored, and gaps within them: a command may truncate its own output after the
    /// middle of it was dropped, or stretch it beyond any disk.
    pub fn fitting(mut self) -> Self {
        (self.out_len, self.err_len) = (self.out_len.min(AMOUNT_MAX), self.err_len.min(AMOUNT_MAX));
        if let Some(Cut::MaxOutput { out, err, .. }) = &mut self.cut {
            *out = out.and_then(|gap| gap.within(self.out_len));
            *err = err.and_then(|gap| gap.within(self.err_len));
        }
        self
    }

    /// Bytes of a stream that are still there.
    pub fn kept(&self, stream: Stream) -> u64 {
        let len = if stream == Stream::Out { self.out_len } else { self.err_len };
        let gap = self.cut.as_ref().and_then(|cut| cut.gap(stream));
        len.saturating_sub(gap.map_or(0, Gap::bytes))
    }
}

/// Why an output is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The disk that it is written to had no room.
    DiskFull,
    /// It grew beyond its bound: the gap of each stream was dropped. Without a gap all is kept, because its file system can't drop a part.
    MaxOutput {
        limit: MaxOutput,
        /// True if the command was ended for that.
        ended: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        out: Option<Gap>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        err: Option<Gap>,
    },
}

/// A part of an output that was dropped, in bytes from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from: u64,
    /// The first byte behind it.
    pub to: u64,
}

impl Gap {
    /// Its length.
    pub const fn bytes(self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The part of it within an output of this length.
    fn within(self, len: u64) -> Option<Self> {
        let part = Self { from: self.from.min(len), to: self.to.min(len) };
        (part.from < part.to).then_some(part)
    }

    /// Bytes from this offset to its end; 0 outside of it.
    pub const fn left_at(self, offset: u64) -> u64 {
        if offset >= self.from && offset < self.to { self.to - offset } else { 0 }
    }
}

impl Cut {
    /// The part of a stream that was dropped.
    pub const fn gap(&self, stream: Stream) -> Option<Gap> {
        match (self, stream) {
            (Self::MaxOutput { out, .. }, Stream::Out) => *out,
            (Self::MaxOutput { err, .. }, Stream::Err) => *err,
            (Self::DiskFull, _) => None,
        }
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DiskFull => write!(f, "its output was cut: the disk was full"),
            Self::MaxOutput { limit, ended, out, err } => {
                let dropped = out.map_or(0, Gap::bytes) + err.map_or(0, Gap::bytes);
                if *ended {
                    write!(f, "ended for it wrote more than its --max-output {}; ", limit.bytes)?;
                }
                match dropped {
                    0 => write!(
                        f,
                        "its output is beyond --max-output {}, but kept whole: its file system can't drop a part",
                        limit.bytes
                    ),
                    dropped => write!(
                        f,
                        "its output was cut: {} in the middle left out (--max-output {})",
                        Bytes(dropped),
                        limit.bytes
                    ),
                }
            }
        }
    }
}

/// A unique identity of a process: pids are reused, these three together are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Field 22 of /proc/PID/stat, in clock ticks since boot.
    pub start_time: u64,
}

/// Which of a command's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Out,
    Err,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_an_output_that_its_command_cut_short_fits_its_length() {
        let gap = |from, to| Some(Gap { from, to });
        let cut = Cut::MaxOutput { limit: MaxOutput::DEFAULT, ended: false, out: gap(64, 900), err: gap(64, 900) };
        let end = End {
            cause: Cause::Exited { code: 0 },
            started_at: None,
            ended_at: Timestamp(0),
            usage: Usage::default(),
            out_len: 100,
            err_len: 0,
            cut: Some(cut),
            without: Vec::new(),
        };
        let end = end.fitting();
        assert_eq!((end.kept(Stream::Out), end.kept(Stream::Err)), (64, 0));
        let stretched = End { out_len: u64::MAX, ..end }.fitting();
        assert_eq!(stretched.out_len, AMOUNT_MAX);
    }

    #[test]
    fn end_without_a_cut_is_written_as_before_and_read_without_one() {
        let text = r#"{"cause":{"exited":{"code":3}},"started_at":"2026-11-24T00:00:00.250Z","ended_at":"2026-11-24T00:00:01.000Z","usage":{"cpu_ms":12,"max_rss":3145728},"out_len":5,"err_len":0}"#;
        let end: End = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&end).unwrap(), text);
        let gap = Some(Gap { from: 3, to: 10 });
        let cut = Cut::MaxOutput { limit: MaxOutput::DEFAULT, ended: false, out: gap, err: None };
        let cut = End { cut: Some(cut), ..end };
        let cut = End { without: vec!["VIRTUAL_ENV".to_owned()], ..cut };
        let packed = rmp_serde::to_vec_named(&cut).unwrap();
        assert_eq!(rmp_serde::from_slice::<End>(&packed).unwrap(), cut);
    }
}
