//! The draft of a new task as it was typed, and its completion to a request by a profile and the defaults.

use super::OpsError;
use super::expressions::{ExpressionRole, check_some};
use super::submit::pack::FileRequest;
use crate::model::command::{Command, Environment, Text, quoted};
use crate::model::demand::{AppNeed, Demand, Target};
use crate::model::inherited::EnvironmentChoice;
use crate::model::max_output::MaxOutput;
use crate::model::name::Name;
use crate::model::profile::{Profile, ProfileSettings};
use crate::model::resources::{Bytes, Needs};
use crate::model::task::{ClientFacts, Launch, Members, Request};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The typed parts of a task. None: not typed, so that a profile may set it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    pub command: Command,
    pub members: Members,
    pub name: Option<String>,
    pub profile: Option<Name>,
    pub cpus: Option<u32>,
    pub mem: Option<Bytes>,
    pub apps: Vec<AppNeed>,
    pub time_limit: Option<Duration>,
    pub max_output: Option<MaxOutput>,
    pub constraint: Option<String>,
    pub prefer: Option<String>,
    pub on: Option<Target>,
    pub exclude: Vec<Target>,
    pub hold_unmatched: bool,
    pub user: Option<Name>,
    /// Absolute.
    pub cwd: Text,
    /// The caller's $HOME, if `cwd` is below it.
    pub home: Option<Text>,
    /// What `--env` names.
    pub env: Environment,
    pub environment: Option<EnvironmentChoice>,
    pub stdout: Option<Text>,
    pub stderr: Option<Text>,
    pub stdin: Option<Vec<u8>>,
    pub priority: Option<i32>,
    pub retries: Option<u32>,
    pub retry_lost: bool,
    pub lost_after: Option<Duration>,
    pub hold: bool,
    #[serde(skip)]
    pub files: FileRequest,
}

impl Draft {
    /// A draft of a single task with only a command.
    pub const fn new(command: Command, cwd: Text) -> Self {
        Self {
            command,
            members: Members::Single,
            name: None,
            profile: None,
            cpus: None,
            mem: None,
            apps: Vec::new(),
            time_limit: None,
            max_output: None,
            constraint: None,
            prefer: None,
            on: None,
            exclude: Vec::new(),
            hold_unmatched: false,
            user: None,
            cwd,
            home: None,
            env: Environment(Vec::new()),
            environment: None,
            stdout: None,
            stderr: None,
            stdin: None,
            priority: None,
            retries: None,
            retry_lost: false,
            lost_after: None,
            hold: false,
            files: FileRequest { dir: None, send: Vec::new(), fetch: Vec::new() },
        }
    }

    /// Completes the draft with its profile. Typed values win; both constraints must hold; the applications of both are needed.
    pub fn into_request(self, profile: Option<&Profile>, client: ClientFacts) -> Result<Request, OpsError> {
        check_some(self.constraint.as_deref(), ExpressionRole::Constraint)?;
        check_some(self.prefer.as_deref(), ExpressionRole::Preference)?;
        let nothing = ProfileSettings::default();
        let given = profile.map_or(&nothing, |p| &p.settings);
        let mut apps = self.apps;
        apps.extend(given.apps.iter().filter(|app| !apps.contains(app)).cloned().collect::<Vec<_>>());
        // The typed order must not make another class of tasks.
        apps.sort();
        apps.dedup();
        let mut exclude = self.exclude;
        exclude.sort();
        exclude.dedup();
        let priority = self.priority.or(given.priority).unwrap_or(0);
        let demand = Demand {
            needs: Needs { cpus: self.cpus.or(given.cpus).unwrap_or(1), mem: self.mem.or(given.mem) },
            apps,
            constraint: both(given.constraint.clone(), self.constraint).map(Into::into),
            prefer: self.prefer.or_else(|| given.prefer.clone()).map(Into::into),
            on: self.on,
            exclude,
            name: self.name.map(Into::into),
            profile: profile.map(|p| p.name.clone()),
            priority,
            // A home that accepts the task from elsewhere sets it: it knows whose task it is.
            shared_account: false,
            // Filled in when the task may leave its home.
            client: Default::default(),
            labels: given.labels.clone(),
        };
        let time_limit = self.time_limit.or(given.time_limit_ms.map(Duration::from_millis));
        let launch = Launch {
            command: self.command,
            cwd: self.cwd,
            home: self.home,
            env: self.env,
            time_limit,
            stdout: self.stdout,
            stderr: self.stderr,
            stdin: self.stdin,
            // Filled in when `files` are packed.
            workplace: Default::default(),
            fetch: None,
            max_output: self.max_output.or(given.max_output),
        };
        Ok(Request {
            demand,
            launch,
            members: self.members,
            retries: self.retries.or(given.retries).unwrap_or(0),
            retry_lost: self.retry_lost,
            lost_after: self.lost_after,
            hold: self.hold,
            hold_unmatched: self.hold_unmatched,
            user: self.user,
            client,
        })
    }
}

fn both(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(format!("({a}) && ({b})")),
        (a, b) => a.or(b),
    }
}

/// The variables that `--env NAME`, `--env NAME=VALUE` and `--env 'NAME?'` ask for; the last one wins.
pub fn environment(
    asked: impl IntoIterator<Item = impl AsRef<OsStr>>,
    outer: impl Fn(&OsStr) -> Option<OsString>,
) -> Result<Environment, OpsError> {
    let mut pairs: Vec<(Text, Text)> = Vec::new();
    for wish in asked {
        let wish = wish.as_ref();
        let wrong = |what: &str| OpsError::Usage(format!("--env {}: {what}", wish.to_string_lossy()));
        let bytes = wish.as_bytes();
        if bytes.split(|b| *b == b'=').next().is_some_and(|name| name.contains(&b',')) {
            return Err(wrong("a name has no comma: write an --env for each variable"));
        }
        let (name, value) = match bytes.iter().position(|b| *b == b'=') {
            Some(at) => (OsStr::from_bytes(&bytes[..at]), Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
            None if bytes == b"ALL" || bytes == b"*" => return Err(wrong("write --env-all for the whole environment")),
            None => match bytes.strip_suffix(b"?") {
                Some(name) => (OsStr::from_bytes(name), outer(OsStr::from_bytes(name))),
                None if bytes.is_empty() => (wish, None),
                None => {
                    let with = |end: &[u8]| Text::from_bytes([bytes, end].concat()).as_ref().map(quoted);
                    let (set, optional) = (with(b"=VALUE").unwrap_or_default(), with(b"?").unwrap_or_default());
                    let unset = || wrong(&format!("it is not set here; write --env {set}, or --env {optional}"));
                    (wish, Some(outer(wish).ok_or_else(unset)?))
                }
            },
        };
        if name.is_empty() {
            return Err(wrong("write NAME, NAME=VALUE or 'NAME?'"));
        }
        let Some(value) = value else { continue };
        let name = Text::from(name.to_owned());
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value.into()));
    }
    Ok(Environment(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::attribute::Value;

    fn draft() -> Draft {
        Draft::new(Command::new(vec!["true".into()]).unwrap(), "/tmp".into())
    }

    fn client() -> ClientFacts {
        ClientFacts { host: "h".into(), user: "me".into(), os: "linux".into(), arch: "x86_64".into() }
    }

    fn profile() -> Profile {
        let settings = ProfileSettings {
            cpus: Some(2),
            mem: Some(Bytes(1 << 30)),
            apps: vec!["blender".parse().unwrap()],
            time_limit_ms: Some(60_000),
            max_output: Some(MaxOutput::DEFAULT),
            constraint: Some("server.site == \"brno\"".into()),
            prefer: Some("server.power".into()),
            priority: Some(5),
            retries: Some(3),
            environment: None,
            env: Vec::new(),
            labels: [("kind".into(), Value::from("film"))].into(),
        };
        Profile { name: "render".parse().unwrap(), settings }
    }

    #[test]
    fn draft_without_a_profile_gets_the_defaults() {
        let request = draft().into_request(None, client()).unwrap();
        assert_eq!(request.demand, Demand::default());
        assert_eq!((request.retries, request.hold, request.launch.time_limit), (0, false, None));
    }

    #[test]
    fn profile_fills_only_what_was_not_typed() {
        let request = draft().into_request(Some(&profile()), client()).unwrap();
        let demand = &request.demand;
        assert_eq!((demand.needs.cpus, demand.needs.mem, demand.priority), (2, Some(Bytes(1 << 30)), 5));
        assert_eq!(demand.prefer.as_deref(), Some("server.power"));
        assert_eq!(demand.labels["kind"], Value::from("film"));
        assert_eq!(demand.profile.as_ref().map(Name::as_str), Some("render"));
        assert_eq!((request.retries, request.launch.time_limit), (3, Some(Duration::from_secs(60))));
        assert_eq!(request.launch.max_output, Some(MaxOutput::DEFAULT));
    }

    #[test]
    fn typed_values_win_constraints_are_anded_and_apps_united() {
        let mut typed = draft();
        typed.cpus = Some(8);
        typed.priority = Some(-1);
        typed.prefer = Some("1".into());
        typed.retries = Some(0);
        typed.constraint = Some("task.cpus > 1 || server.rack == 7".into());
        typed.apps = vec!["ffmpeg".parse().unwrap(), "blender".parse().unwrap()];
        let request = typed.into_request(Some(&profile()), client()).unwrap();
        let demand = &request.demand;
        assert_eq!((demand.needs.cpus, demand.priority, request.retries), (8, -1, 0));
        assert_eq!(demand.prefer.as_deref(), Some("1"));
        assert_eq!(
            demand.constraint.as_deref(),
            Some("(server.site == \"brno\") && (task.cpus > 1 || server.rack == 7)")
        );
        assert_eq!(demand.apps.iter().map(ToString::to_string).collect::<Vec<_>>(), ["blender", "ffmpeg"]);
    }

    #[test]
    fn environment_has_the_variables_asked_for() {
        let outer = |name: &OsStr| (name == "TOKEN").then(|| "s3cret".into());
        let env = environment(["TOKEN", "A=1", "A=2=3", "NOT_SET?", "TOKEN?"], outer).unwrap();
        let shown: Vec<String> = env.0.iter().map(|(n, v)| format!("{}={}", n.lossy(), v.lossy())).collect();
        assert_eq!(shown, ["A=2=3", "TOKEN=s3cret"]);
        for wrong in ["NOT_SET", "=x", "", "?", "ALL", "*", "TOKEN,B=1", "TOKEN,HOME"] {
            assert!(environment([wrong], outer).is_err(), "{wrong}");
        }
    }
}
