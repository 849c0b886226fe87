//! Why a server does not qualify: what was wanted, what was found, how old the reading is.

use crate::model::demand::{AppNeed, Target};
use crate::model::id::TaskId;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::time::{Timestamp, short};
use std::fmt;
use std::time::Duration;

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    Down {
        error: String,
        since: Timestamp,
    },
    NotProbed,
    /// The reading is too old for a decision.
    Stale {
        age: Duration,
    },
    Drained {
        reason: String,
    },
    /// `host`: another server on its host is kept.
    KeptFor {
        task: TaskId,
        host: bool,
    },
    Slots {
        all: u32,
    },
    /// Of the server's own part, or (`host`) of what all servers on its host share.
    Cpus {
        wants: u32,
        free: u32,
        of: u32,
        host: bool,
    },
    /// `age` is that of the reading; None where the server's own part is what lacks.
    Memory {
        wants: Bytes,
        free: Bytes,
        of: Bytes,
        age: Option<Duration>,
    },
    Load {
        load: f64,
        max: f64,
        measured: f64,
        since: i32,
        age: Option<Duration>,
    },
    /// `watched`: probes look for it. `meant`: the name that is near.
    NoApp {
        need: AppNeed,
        watched: bool,
        meant: Option<String>,
    },
    AppVersion {
        need: AppNeed,
        found: Option<Box<str>>,
    },
    /// `lacking`: this distributor has no such server (any more).
    OtherServer {
        wanted: Target,
        lacking: Option<Name>,
    },
    Excluded {
        target: Target,
    },
    /// It may fit, and the task is kept from it.
    Avoided(Avoidance),
    /// An expression that is not true; `whose` begins the line: `-C`, `user requires`, `server accepts`.
    Expression {
        whose: &'static str,
        what: String,
    },
    /// No member of the group can take it: each with its first reason.
    Members(Vec<(Name, Self)>),
    /// A group qualifies by this member.
    By(Name),
    /// It ranks before all others that qualify; `next` is the second.
    First {
        by: RankedBy,
        next: Name,
    },
    /// Qualifies, but ranks below every number.
    NoRank {
        whose: &'static str,
        what: String,
    },
}

/// Why a waiting task is kept from a server that may fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Avoidance {
    /// It can't start the task as the server is now.
    Refused { why: String },
    /// All of it that waits failed there. `left`: how long it still waits for another server.
    FailedThere { left: Duration },
    /// Attempts fail there within moments, so many in a row, and live elsewhere.
    Pauses { failures: u32 },
}

impl fmt::Display for Avoidance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why } => {
                write!(f, "it refused this task: {why}; it is asked again after a `grid server set`")
            }
            Self::FailedThere { left } => {
                write!(f, "it failed there: for {} yet a retry waits for another server", short(*left))
            }
            Self::Pauses { failures } => {
                write!(f, "pauses: {failures} attempts in a row failed there at once, and live elsewhere")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down { error, since } => write!(f, "down since {}: {error}", since.local()),
            Self::NotProbed => f.write_str("not yet probed"),
            Self::Stale { age } => write!(f, "too stale to trust: read {} ago, being read", short(*age)),
            Self::Drained { reason } if reason.is_empty() => f.write_str("drained"),
            Self::Drained { reason } => write!(f, "drained: {reason}"),
            Self::KeptFor { task, host: false } => write!(f, "kept for task {task}"),
            Self::KeptFor { task, host: true } => write!(f, "its host is kept for task {task}"),
            Self::Slots { all: 0 } => f.write_str("slots: it has none"),
            Self::Slots { all: 1 } => f.write_str("slots: the only one is taken"),
            Self::Slots { all } => write!(f, "slots: all {all} are taken"),
            Self::Cpus { wants, free, of, host } => {
                let is = if *free == 1 { "is" } else { "are" };
                let place = if *host { " on its host" } else { "" };
                write!(f, "cpus: wants {wants}, {free} of {of} {is} free{place}")
            }
            Self::Memory { wants, free, of, age: Some(age) } => {
                write!(f, "memory: wants {wants}, {free} is free (of {of}; read {} ago)", short(*age))
            }
            Self::Memory { wants, free, of, age: None } => {
                write!(f, "memory: wants {wants}, {free} is free of its part of {of}")
            }
            Self::Load { load, max, measured, since, age } => {
                write!(
                    f,
                    "load {} is at or above --max-load {} (measured {}",
                    tidy(*load),
                    tidy(*max),
                    tidy(*measured)
                )?;
                f.write_str(&corrected(*since))?;
                match age {
                    Some(age) => write!(f, "; read {} ago)", short(*age)),
                    None => f.write_str(")"),
                }
            }
            Self::NoApp { need, meant: Some(meant), .. } => {
                write!(f, "application {need} is not known; did you mean {meant}?")
            }
            Self::NoApp { need, watched: true, .. } => write!(f, "application {need} is not there"),
            Self::NoApp { need, watched: false, .. } => {
                write!(
                    f,
                    "application {need} is not known: it is not in `watch`; `grid config get watch` shows what is"
                )
            }
            Self::AppVersion { need, found: Some(found) } => write!(f, "application {need}: found {found}"),
            Self::AppVersion { need, found: None } => {
                write!(f, "application {need}: found, but its version is not known")
            }
            Self::OtherServer { wanted, lacking: None } => write!(f, "excluded by -w {wanted}"),
            Self::OtherServer { wanted, lacking: Some(distributor) } => {
                write!(f, "excluded by -w {wanted}: {distributor} has no server {}", wanted.server)
            }
            Self::Excluded { target } => write!(f, "-x {target}: excluded"),
            Self::Avoided(why) => why.fmt(f),
            Self::Expression { whose, what } => write!(f, "{whose}: {what}"),
            Self::Members(each) if each.is_empty() => f.write_str("no member of the group is there"),
            Self::Members(each) => {
                f.write_str("no member can take it: ")?;
                for (at, (name, reason)) in each.iter().enumerate() {
                    write!(f, "{}{name}: {reason}", if at > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
            Self::First { by, next } => match by {
                RankedBy::Preference { whose, best, second } => {
                    write!(f, "first by {whose}: {}, before {next} with {}", number(*best), number(*second))
                }
                RankedBy::IdlePower { best, second } => {
                    let least = if best < second { "the least " } else { "" };
                    write!(f, "first by {least}idle power: {}, before {next} with {}", tidy(*best), tidy(*second))
                }
                RankedBy::Name => write!(f, "first by name: {next} ranks the same"),
            },
            Self::By(member) => write!(f, "would run on {member}"),
            Self::NoRank { whose, what } => write!(f, "{whose}: {what}, so it ranks below every number"),
        }
    }
}

/// What put a server before the next one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RankedBy {
    /// `whose` preference, and what it gives for both. None: no number.
    Preference {
        whose: &'static str,
        best: Option<f64>,
        second: Option<f64>,
    },
    IdlePower {
        best: f64,
        second: f64,
    },
    Name,
}

fn number(of: Option<f64>) -> String {
    of.map_or_else(|| "no number".to_owned(), tidy)
}

/// `, plus 3 started since`.
pub(super) fn corrected(since: i32) -> String {
    match since {
        0 => String::new(),
        1.. => format!(", plus {since} started since"),
        _ => format!(", less {} ended since", since.unsigned_abs()),
    }
}

/// A number without needless digits.
pub(super) fn tidy(number: f64) -> String {
    let text = format!("{number:.2}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
