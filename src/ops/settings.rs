//! `grid config`: the settings that there are, their defaults, and what they mean.

use super::report::Setting;
use super::{Grid, OpsError};
use crate::model::max_output::MaxOutput;
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::time::parse_duration;
use crate::store::{Durability, View};
use std::time::Duration;

/// What a setting's text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    Time,
    Size,
    Count,
    OneOf(&'static [&'static str]),
    /// How much of an output is kept.
    MaxOutput,
    /// Application names, separated by commas.
    Names,
    /// A program with its options, quoted as for a shell.
    CommandLine,
    Text,
}

/// A setting that this grid knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingSpec {
    pub name: &'static str,
    pub default: &'static str,
    pub kind: SettingKind,
    pub about: &'static str,
}

pub const STARVE_AFTER: SettingSpec = SettingSpec {
    name: "starve_after",
    default: "10min",
    kind: SettingKind::Time,
    about: "a task that waits so long gets a server kept for it",
};
pub const IDLE_EXIT: SettingSpec = SettingSpec {
    name: "idle_exit",
    default: "10min",
    kind: SettingKind::Time,
    about: "an idle dispatcher leaves after this",
};
pub const KEEP_OUTPUTS: SettingSpec = SettingSpec {
    name: "keep_outputs",
    default: "30d",
    kind: SettingKind::Time,
    about: "outputs of ended tasks are kept so long",
};
pub const KEEP_ROWS: SettingSpec =
    SettingSpec { name: "keep_rows", default: "365d", kind: SettingKind::Time, about: "ended tasks are kept so long" };
pub const PLACEMENT: SettingSpec = SettingSpec {
    name: "placement",
    default: "spread",
    kind: SettingKind::OneOf(&["spread", "pack"]),
    about: "what decides where preferences are equal: spread over idle servers, or pack onto busy ones",
};
pub const WATCH: SettingSpec = SettingSpec {
    name: "watch",
    default: "python3,ffmpeg,blender,R,julia,gcc,g++,clang,rustc,cargo,node,java,docker,podman,matlab,octave,gnuplot,convert",
    kind: SettingKind::Names,
    about: "applications that are looked up on each server's PATH",
};
pub const OUTPUT_LIMIT: SettingSpec = SettingSpec {
    name: "output_limit",
    default: "64M",
    kind: SettingKind::Size,
    about: "a longer output stays on its server and is read from there",
};
pub const MAX_OUTPUT: SettingSpec = SettingSpec {
    name: "max_output",
    default: "1G",
    kind: SettingKind::MaxOutput,
    about: "of a longer output of a task the first and the last 64M are kept; 1G,kill ends the task, none bounds nothing",
};
pub const SSH_COMMAND: SettingSpec = SettingSpec {
    name: "ssh.command",
    default: "ssh",
    kind: SettingKind::CommandLine,
    about: "the ssh command with its options, for servers and homes that were not named with another; \
            default: GRID_SSH_COMMAND of the caller that named one last",
};

pub const PEER_TIMEOUT: SettingSpec = SettingSpec {
    name: "peer_timeout",
    default: "5s",
    kind: SettingKind::Time,
    about: "another home that does not answer within this counts as silent",
};

pub const PROBE_TIMEOUT: SettingSpec = SettingSpec {
    name: "probe_timeout",
    default: "10s",
    kind: SettingKind::Time,
    about: "a login or a reading that takes longer is given up",
};
pub const STALE_AFTER: SettingSpec = SettingSpec {
    name: "stale_after",
    default: "10min",
    kind: SettingKind::Time,
    about: "a server over ssh that was read longer ago is read anew before it is given a task",
};
pub const AGENT_DIR: SettingSpec = SettingSpec {
    name: "agent_dir",
    default: "",
    kind: SettingKind::Text,
    about: "where grid-ARCH programs for servers of another architecture lie; default: agents in the home",
};

pub const PROBE_SCRIPT: SettingSpec = SettingSpec {
    name: "probe_script",
    default: "",
    kind: SettingKind::Text,
    about: "a line for sh on each server that is read, after its prologue: `name=value` lines are attributes, `app.NAME=VERSION` applications",
};
pub const USER_WAITING: SettingSpec = SettingSpec {
    name: "user_waiting",
    default: "10000",
    kind: SettingKind::Count,
    about: "tasks of one user from other homes that may be unended here",
};

pub const USER_SPOOL: SettingSpec = SettingSpec {
    name: "user_spool",
    default: "10G",
    kind: SettingKind::Size,
    about: "what is kept here of one user from other homes: its tasks and what they were submitted with, files and outputs",
};

/// All of them, by name.
pub const ALL: [SettingSpec; 16] = [
    AGENT_DIR,
    IDLE_EXIT,
    KEEP_OUTPUTS,
    KEEP_ROWS,
    MAX_OUTPUT,
    OUTPUT_LIMIT,
    PEER_TIMEOUT,
    PLACEMENT,
    PROBE_SCRIPT,
    PROBE_TIMEOUT,
    SSH_COMMAND,
    STALE_AFTER,
    STARVE_AFTER,
    USER_SPOOL,
    USER_WAITING,
    WATCH,
];

/// The text of a setting, or its default.
pub fn text(view: &View<'_>, known: SettingSpec) -> Result<String, OpsError> {
    Ok(view.setting(known.name)?.unwrap_or_else(|| known.default.to_owned()))
}

/// A setting that is a length of time.
pub fn time(view: &View<'_>, known: SettingSpec) -> Result<Duration, OpsError> {
    let text = text(view, known)?;
    parse_duration(&text).map_err(|error| bad(known.name, &error))
}

/// A setting that is a size.
pub fn size(view: &View<'_>, known: SettingSpec) -> Result<Bytes, OpsError> {
    let text = text(view, known)?;
    Bytes::parse(&text).map_err(|error| bad(known.name, &error))
}

/// A setting that is a list of words.
pub fn words(view: &View<'_>, known: SettingSpec) -> Result<Vec<String>, OpsError> {
    let text = text(view, known)?;
    Ok(text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect())
}

/// All settings.
pub fn list(grid: &Grid) -> Result<Vec<Setting>, OpsError> {
    ALL.into_iter().map(|known| report(grid, known)).collect()
}

/// One setting.
pub fn get(grid: &Grid, name: &str) -> Result<Setting, OpsError> {
    report(grid, find(name)?)
}

/// Changes a setting, once its text is understood.
pub fn set(grid: &mut Grid, name: &str, value: &str) -> Result<(), OpsError> {
    let known = find(name)?;
    check(known, value)?;
    put(grid, known, Some(value))
}

/// Goes back to the default.
pub fn unset(grid: &mut Grid, name: &str) -> Result<(), OpsError> {
    put(grid, find(name)?, None)
}

fn put(grid: &mut Grid, known: SettingSpec, value: Option<&str>) -> Result<(), OpsError> {
    grid.store.write(Durability::Full, |tx| {
        tx.set_setting(known.name, value)?;
        if known == SSH_COMMAND {
            tx.home_ssh_changed(value.is_some())?;
        }
        Ok(())
    })
}

fn find(name: &str) -> Result<SettingSpec, OpsError> {
    let found = ALL.into_iter().find(|known| known.name == name.replace('-', "_"));
    found.ok_or_else(|| match OpsError::unknown("setting", name, ALL.iter().map(|known| known.name)) {
        OpsError::Unknown { kind, name, hint } if hint.is_empty() => {
            OpsError::Unknown { kind, name, hint: "; `grid config list` shows them".to_owned() }
        }
        near => near,
    })
}

fn report(grid: &Grid, known: SettingSpec) -> Result<Setting, OpsError> {
    let view = grid.store.view();
    let set = view.setting(known.name)?;
    let default = if known == SSH_COMMAND { view.home_ssh(None)?.0 } else { known.default.to_owned() };
    Ok(Setting {
        name: known.name,
        set: set.is_some(),
        value: set.unwrap_or(default),
        default: known.default.to_owned(),
        about: known.about,
    })
}

fn check(known: SettingSpec, value: &str) -> Result<(), OpsError> {
    let name = known.name;
    match known.kind {
        SettingKind::Time => parse_duration(value).map(drop).map_err(|error| bad(name, &error)),
        SettingKind::Count => {
            value.parse::<u32>().map(drop).map_err(|_| bad(name, &format!("{value:?} is no whole number from 0 on")))
        }
        SettingKind::Size => Bytes::parse(value).map(drop).map_err(|error| bad(name, &error)),
        SettingKind::MaxOutput => MaxOutput::parse(value).map(drop).map_err(|error| bad(name, &error)),
        SettingKind::OneOf(words) if words.contains(&value) => Ok(()),
        SettingKind::OneOf(words) => Err(bad(name, &format!("{value:?} is none of {}", words.join(", ")))),
        SettingKind::Names => value
            .split(',')
            .filter(|word| !word.trim().is_empty())
            .try_for_each(|word| app_name(word.trim()).map_err(|error| bad(name, &error))),
        SettingKind::CommandLine if shlex::split(value).is_none_or(|words| words.is_empty()) => {
            Err(bad(name, &format!("{value:?} is no command line: a quote is left open, or it is empty")))
        }
        SettingKind::CommandLine | SettingKind::Text
            if value.trim().is_empty() || value.chars().any(char::is_control) =>
        {
            Err(bad(name, &"a line of text is needed"))
        }
        SettingKind::CommandLine | SettingKind::Text => Ok(()),
    }
}

/// Names of applications may end in `++`, unlike names of ours.
fn app_name(word: &str) -> Result<(), crate::model::name::BadName> {
    word.trim_end_matches('+').parse::<Name>().map(drop)
}

fn bad(name: &str, error: &dyn std::fmt::Display) -> OpsError {
    OpsError::Usage(format!("{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_could_be_set() {
        // An empty default stands for a place that depends on the home.
        for known in ALL.into_iter().filter(|known| !known.default.is_empty()) {
            check(known, known.default).unwrap_or_else(|error| panic!("{}: {error}", known.name));
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_the_name() {
        for (known, value) in [
            (STARVE_AFTER, "10"),
            (OUTPUT_LIMIT, "64"),
            (MAX_OUTPUT, "1G,stop"),
            (PLACEMENT, "random"),
            (WATCH, "a b"),
            (SSH_COMMAND, ""),
            (SSH_COMMAND, "ssh -i 'my key"),
        ] {
            let error = check(known, value).unwrap_err().to_string();
            assert!(error.starts_with(known.name), "{error}");
        }
    }
}
