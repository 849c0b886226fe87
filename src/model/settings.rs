//! The settings of a home: name, type, default and help of each, once.

use super::inherited::EnvironmentChoice;
use super::max_output::MaxOutput;
use super::name::Name;
use super::resources::Bytes;
use super::time::parse_duration;
use std::path::PathBuf;
use std::time::Duration;

/// A setting and the type of its values.
#[derive(Debug)]
pub struct SettingKey<T> {
    pub name: &'static str,
    /// As it could be set; empty where it depends on the home.
    pub default: &'static str,
    pub help: &'static str,
    read: fn(&str) -> Result<T, String>,
}

/// A setting, whatever the type of its values.
pub trait AnyKey: Sync {
    fn name(&self) -> &'static str;
    fn default(&self) -> &'static str;
    fn help(&self) -> &'static str;
    /// Why this text is no value.
    fn check(&self, text: &str) -> Result<(), BadSetting>;
}

/// A text that is no value of a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct BadSetting {
    pub name: &'static str,
    pub why: String,
}

impl<T> SettingKey<T> {
    /// The value that a text gives, or that of the default where none is set.
    pub fn read(&self, set: Option<&str>) -> Result<T, BadSetting> {
        (self.read)(set.unwrap_or(self.default)).map_err(|why| BadSetting { name: self.name, why })
    }
}

impl<T: Default> SettingKey<T> {
    /// The same; a text that another grid set and this one can't read counts as not set.
    pub fn value(&self, set: Option<&str>) -> T {
        self.read(set).or_else(|_| self.read(None)).unwrap_or_default()
    }
}

impl<T> AnyKey for SettingKey<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn default(&self) -> &'static str {
        self.default
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn check(&self, text: &str) -> Result<(), BadSetting> {
        if text.is_empty() && self.default.is_empty() {
            return Err(BadSetting { name: self.name, why: LINE.to_owned() });
        }
        self.read(Some(text)).map(drop)
    }
}

/// Which server is taken where preferences are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TieBreak {
    #[default]
    Spread,
    Pack,
}

pub const AGENT_DIR: SettingKey<Option<PathBuf>> = SettingKey {
    name: "agent_dir",
    default: "",
    help: "the directory of grid-ARCH programs for servers of another architecture; default: agents in the home",
    read: |text| if text.is_empty() { Ok(None) } else { line(text).map(|text| Some(text.into())) },
};
pub const ENV: SettingKey<EnvironmentChoice> = SettingKey {
    name: "env",
    default: "all",
    help: "tasks on the home's own host get the whole environment of their submit (all), or that of a login (minimal)",
    read: |text| match text {
        "all" => Ok(EnvironmentChoice::All),
        "minimal" => Ok(EnvironmentChoice::Minimal),
        other => Err(format!("{other:?} is none of all, minimal")),
    },
};
pub const ENV_EXCLUDE: SettingKey<Vec<String>> = SettingKey {
    name: "env_exclude",
    default: "",
    help: "variables that no task gets from the environment of its submit, as AWS_*,API_TOKEN",
    read: |text| {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let name = |name: &str| match name.contains(|c: char| c == '=' || c.is_control() || c.is_whitespace()) {
            true => Err(format!("{name:?} is no name of a variable")),
            false => Ok(name.to_owned()),
        };
        names.map(name).collect()
    },
};
pub const IDLE_EXIT: SettingKey<Duration> = SettingKey {
    name: "idle_exit",
    default: "10min",
    help: "a dispatcher without work exits after this time",
    read: time,
};
pub const KEEP_ENV: SettingKey<Duration> = SettingKey {
    name: "keep_env",
    default: "7d",
    help: "environments of submits are kept this long after their last task has ended",
    read: time,
};
pub const KEEP_OUTPUTS: SettingKey<Duration> =
    SettingKey { name: "keep_outputs", default: "30d", help: "outputs of ended tasks are kept this long", read: time };
pub const KEEP_ROWS: SettingKey<Duration> =
    SettingKey { name: "keep_rows", default: "365d", help: "ended tasks are kept this long", read: time };
pub const MAX_OUTPUT: SettingKey<MaxOutput> = SettingKey {
    name: "max_output",
    default: "1G",
    help: "of a longer output of a task the first and the last 64M are kept; 1G,kill also stops the task, none sets no limit",
    read: |text| MaxOutput::parse(text).map_err(|error| error.to_string()),
};
pub const OUTPUT_LIMIT: SettingKey<Bytes> = SettingKey {
    name: "output_limit",
    default: "64M",
    help: "a longer output stays on its server and is read from there",
    read: size,
};
pub const PEER_TIMEOUT: SettingKey<Duration> = SettingKey {
    name: "peer_timeout",
    default: "5s",
    help: "another home that does not answer within this time counts as silent",
    read: time,
};
pub const PLACEMENT: SettingKey<TieBreak> = SettingKey {
    name: "placement",
    default: "spread",
    help: "if preferences are equal: spread over idle servers, or pack onto busy servers",
    read: |text| match text {
        "spread" => Ok(TieBreak::Spread),
        "pack" => Ok(TieBreak::Pack),
        other => Err(format!("{other:?} is none of spread, pack")),
    },
};
pub const PROBE_SCRIPT: SettingKey<Option<String>> = SettingKey {
    name: "probe_script",
    default: "",
    help: "a line for sh, run at each probe of a server after its prologue: `name=value` lines are attributes, `app.NAME=VERSION` applications",
    read: |text| if text.is_empty() { Ok(None) } else { line(text).map(Some) },
};
pub const PROBE_TIMEOUT: SettingKey<Duration> = SettingKey {
    name: "probe_timeout",
    default: "10s",
    help: "a login or a probe that takes longer is given up",
    read: time,
};
pub const RETRY_ELSEWHERE: SettingKey<Duration> = SettingKey {
    name: "retry_elsewhere",
    default: "5min",
    help: "a retry waits this long for another server that could run it before it returns to one where it failed; 0s: not at all",
    read: |text| if text == "0s" { Ok(Duration::ZERO) } else { time(text) },
};
pub const SSH_COMMAND: SettingKey<String> = SettingKey {
    name: "ssh.command",
    default: "ssh",
    help: "the ssh command with its options, for servers and homes without a command of their own; \
           default: GRID_SSH_COMMAND of the last caller that had one",
    read: |text| match shlex::split(text) {
        Some(words) if !words.is_empty() => line(text),
        _ => Err(format!("{text:?} is no command line: a quote is left open, or it is empty")),
    },
};
pub const STALE_AFTER: SettingKey<Duration> = SettingKey {
    name: "stale_after",
    default: "10min",
    help: "a server over ssh that was last probed longer ago is probed again before it gets a task",
    read: time,
};
pub const STARVE_AFTER: SettingKey<Duration> = SettingKey {
    name: "starve_after",
    default: "10min",
    help: "after this long, a server is reserved for a waiting task",
    read: time,
};
pub const USER_SPOOL: SettingKey<Bytes> = SettingKey {
    name: "user_spool",
    default: "10G",
    help: "how much is kept here for one user from other homes: tasks with what they were submitted with, files and outputs",
    read: size,
};
pub const USER_WAITING: SettingKey<u32> = SettingKey {
    name: "user_waiting",
    default: "10000",
    help: "how many tasks of one user from other homes may be here that have not ended",
    read: |text| text.parse().map_err(|_| format!("{text:?} is no whole number from 0 on")),
};
pub const WATCH: SettingKey<Vec<String>> = SettingKey {
    name: "watch",
    default: "python3,ffmpeg,blender,R,julia,gcc,g++,clang,rustc,cargo,node,java,docker,podman,matlab,octave,gnuplot,convert",
    help: "applications that are looked up on each server's PATH",
    read: apps,
};

/// All of them, by name.
pub const ALL: [&dyn AnyKey; 20] = [
    &AGENT_DIR,
    &ENV,
    &ENV_EXCLUDE,
    &IDLE_EXIT,
    &KEEP_ENV,
    &KEEP_OUTPUTS,
    &KEEP_ROWS,
    &MAX_OUTPUT,
    &OUTPUT_LIMIT,
    &PEER_TIMEOUT,
    &PLACEMENT,
    &PROBE_SCRIPT,
    &PROBE_TIMEOUT,
    &RETRY_ELSEWHERE,
    &SSH_COMMAND,
    &STALE_AFTER,
    &STARVE_AFTER,
    &USER_SPOOL,
    &USER_WAITING,
    &WATCH,
];

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<Bytes, String> {
    Bytes::parse(text).map_err(|error| error.to_string())
}

/// What is said of a text that is no line.
const LINE: &str = "a line of text is needed";

fn line(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(LINE.to_owned());
    }
    Ok(text.to_owned())
}

/// Names of applications may end in `++`, unlike names of ours.
fn apps(text: &str) -> Result<Vec<String>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let app = |word: &str| match word.trim_end_matches('+').parse::<Name>() {
        Ok(_) => Ok(word.to_owned()),
        Err(error) => Err(error.to_string()),
    };
    words.map(app).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value() {
        // An empty default stands for a place that depends on the home.
        for key in ALL.iter().filter(|key| !key.default().is_empty()) {
            key.check(key.default()).unwrap();
        }
        assert_eq!(AGENT_DIR.read(None), Ok(None));
        assert_eq!(PROBE_SCRIPT.read(None), Ok(None));
        assert_eq!(MAX_OUTPUT.read(None), Ok(MaxOutput::DEFAULT));
    }

    #[test]
    fn table_is_in_order_of_names() {
        let names: Vec<&str> = ALL.iter().map(|key| key.name()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn text_that_is_no_value_is_refused_with_the_name() {
        let bad: [(&dyn AnyKey, &str); 10] = [
            (&STARVE_AFTER, "10"),
            (&OUTPUT_LIMIT, "64"),
            (&MAX_OUTPUT, "1G,stop"),
            (&PLACEMENT, "random"),
            (&WATCH, "a b"),
            (&SSH_COMMAND, ""),
            (&SSH_COMMAND, "ssh -i 'my key"),
            (&USER_WAITING, "-1"),
            (&PROBE_SCRIPT, "a\nb"),
            (&AGENT_DIR, ""),
        ];
        for (key, text) in bad {
            let error = key.check(text).unwrap_err().to_string();
            assert!(error.starts_with(key.name()), "{error}");
        }
    }

    #[test]
    fn unreadable_text_counts_as_not_set() {
        assert_eq!(IDLE_EXIT.value(Some("soon")), Duration::from_secs(600));
        assert_eq!(IDLE_EXIT.value(Some("2s")), Duration::from_secs(2));
    }
}
