//! Reports of verbs: one value feeds the table and the JSON. Scripts rely on the names of fields.

pub use crate::distributor::search::TierSearch;
pub use crate::matching::Verdict as ServerVerdict;
mod explained;
mod files;

use crate::model::attempt::Cut;
use crate::model::attribute::Attributes;
use crate::model::demand::AppNeed;
use crate::model::id::Index;
use crate::model::resources::Bytes;
use crate::model::task::State;
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use explained::Explained;
pub use files::{Collected, CollectedThere, FetchedFiles, Landed, Landing};

/// `submit --json`, and the head of every report about a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// "12", or "12.3" for a member.
    pub id: String,
    pub uuid: String,
    pub state: State,
    /// Where it runs or ran last.
    pub server: Option<String>,
    /// "T1 NAME", "T2 NAME".
    pub route: Vec<String>,
    /// The distributor that has it, where that is another home's, or one of several of this home, and no server is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_in: Option<String>,
    /// Why it waits or is held.
    pub reason: Option<String>,
    /// Members of an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Messages to the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One start of a member on a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptReport {
    pub number: u32,
    pub server: Option<String>,
    /// The member that it ran on, where the server is a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    pub state: State,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    /// The system's error if it could not run, or why it is LOST.
    pub detail: Option<String>,
}

/// `show`, and shorter in `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    #[serde(flatten)]
    pub head: Submitted,
    pub name: Option<String>,
    pub command: String,
    pub exit_code: Option<u8>,
    pub signal: Option<u8>,
    pub submitted_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub user: String,
    pub client: String,
    /// Members by state; arrays only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<BTreeMap<State, u32>>,
    pub remote: Option<Remote>,
    /// The member that it runs or ran on, where its server is a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Why its outputs are incomplete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Of a member: its index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Index>,
    /// Of a member: its line (`--each-line`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Of an array: its members, where they are asked for; in `show` those that failed or run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Task>,
    /// Members that the list leaves out, because they are too many.
    #[serde(default, skip_serializing_if = "is_none_left")]
    pub members_left_out: u32,
    /// Everything else; `show` only.
    #[serde(flatten)]
    pub detail: Option<Detail>,
}

const fn is_none_left(left_out: &u32) -> bool {
    *left_out == 0
}

impl Submitted {
    /// ` in lab-x`.
    pub fn in_words(&self) -> String {
        in_words(self.waits_in.as_ref())
    }
}

fn in_words(distributor: Option<&String>) -> String {
    distributor.map_or_else(String::new, |distributor| format!(" in {distributor}"))
}

impl Task {
    /// Where it runs or ran last, as `-w` takes it: a server of another home is written after the name of its distributor.
    pub fn place(&self) -> Option<String> {
        self.head.server.as_ref().map(|server| self.at(server))
    }

    /// The same with the member of a group: `farm (n2)`.
    pub fn full_place(&self, server: Option<&String>, member: Option<&String>) -> Option<String> {
        let member = member.map_or_else(String::new, |member| format!(" ({member})"));
        server.map(|server| self.at(server) + &member)
    }

    /// A server of the home that owns it.
    pub fn at(&self, server: &str) -> String {
        self.remote.as_ref().map_or_else(|| server.to_owned(), |remote| format!("{}/{server}", remote.distributor))
    }
}

/// Details of a task for `show`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    pub attempts: Vec<AttemptReport>,
    pub cpus: u32,
    pub mem: Option<Bytes>,
    pub apps: Vec<AppNeed>,
    pub constraint: Option<String>,
    pub prefer: Option<String>,
    pub priority: i32,
    pub profile: Option<String>,
    pub cwd: String,
    /// Names only, of variables that travel to every server.
    pub env: Vec<String>,
    /// What it inherits from its submit on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherits: Option<InheritedReport>,
    /// The PATH that its programs are searched on, where it is not that of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What to do about a command that was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    pub time_limit_s: Option<f64>,
    pub max_output: Option<String>,
    pub retries: u32,
    pub cpu_ms: Option<u64>,
    pub max_rss: Option<Bytes>,
    /// How the memory limit is enforced, if there is one.
    pub mem_limit: Option<String>,
    pub cancel_asked_at: Option<Timestamp>,
    /// The files that travel with it.
    pub files: Option<Files>,
    /// Single steps: held, released, refused by a server.
    pub steps: Vec<(Timestamp, String)>,
}

/// What a task inherits from its submit on the home's own host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InheritedReport {
    /// Number of variables; None: those of a login.
    pub variables: Option<usize>,
    /// The values were erased (`keep_env`).
    pub erased: bool,
}

/// The files that travel with a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    pub sent: Option<Archive>,
    /// The patterns of `--fetch`.
    pub fetch: Vec<String>,
    /// True if new and changed files come back too (`--dir`).
    pub changed: bool,
    /// Results of each member that has brought something, or could not.
    pub fetched: Vec<ResultsReport>,
}

/// An archive that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Digest of its content (BLAKE3).
    pub digest: String,
    pub size: Bytes,
    /// Files, directories and links.
    pub files: u64,
}

/// Results of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultsReport {
    pub id: String,
    pub size: Bytes,
    pub files: u64,
    /// Why they could not be fetched; they are still on the server.
    pub error: Option<String>,
    /// When all of them were unpacked.
    pub unpacked_at: Option<Timestamp>,
    /// What could not be unpacked the last time, and why; it is kept in the home.
    #[serde(default)]
    pub not_unpacked: Option<String>,
    /// A pattern that matched nothing, a link that was left out.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// The task's id in the home that owns it, if that is another home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    pub distributor: String,
    pub id: String,
}

/// A server in `status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerLine {
    pub name: String,
    pub engine: &'static str,
    /// UP, DOWN, UNKNOWN or DRAINED.
    pub state: &'static str,
    pub running: u32,
    pub slots: u32,
    /// Why it is down or drained.
    pub reason: Option<String>,
}

/// `status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub tasks: Vec<Task>,
    pub servers: Vec<ServerLine>,
    /// Every task in the database, members one by one.
    pub counts: BTreeMap<State, u64>,
    /// Tasks that the limit left out.
    pub left_out: u64,
    /// Why no dispatcher stays.
    pub dispatcher: Option<String>,
    pub notice: Option<super::notice::Notice>,
    /// The home's disk is full: nothing is started, and ends are recorded when there is room.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disk_full: bool,
}

/// A row of an attribute database: `server list`, `user list`, `task list`, `client list`, `distributor list`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatabaseRow {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<&'static str>,
    pub state: &'static str,
    /// The distributor of a server, the tier of a distributor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distributor: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Tasks that a server or distributor runs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    pub attributes: Attributes,
}

impl DatabaseRow {
    /// A row without engine, tier and distributor.
    pub const fn plain(name: String, state: &'static str, attributes: Attributes) -> Self {
        Self { name, engine: None, state, distributor: None, tier: None, reason: None, running: None, attributes }
    }
}

/// What one command changed of a task: `cancel`, `hold`, `release`, `retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskChange {
    pub id: String,
    /// After the change.
    pub state: State,
    /// Members that were changed.
    pub changed: u32,
    /// A message to the person: already ended, not held, waits for its server.
    pub note: Option<String>,
}

/// `wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waited {
    pub tasks: Vec<EndReport>,
    /// The highest exit code, as a shell gives it.
    pub code: u8,
    /// Their files: those that were unpacked now, and those that could not be.
    pub files: Vec<FetchedFiles>,
}

/// One task that was waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndReport {
    pub id: String,
    pub state: State,
    pub exit_code: Option<u8>,
}

/// `config list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub name: &'static str,
    pub value: String,
    pub default: String,
    /// True if it differs from the default.
    pub set: bool,
    pub about: &'static str,
}

/// `refresh`, for one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refreshed {
    pub name: String,
    pub state: &'static str,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// `sql`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// The result of a check of `doctor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    Ok,
    Warn,
    Fail,
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub what: &'static str,
    pub result: Finding,
    pub found: String,
    pub remedy: Option<String>,
}

/// `dispatcher status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DispatcherStatus {
    /// None: it does not run.
    pub pid: Option<i32>,
    pub epoch: u64,
    pub links: u32,
    pub lanes: u32,
    pub running: u32,
    /// The ssh command and the key agent of its last login.
    pub ssh: Option<String>,
}

/// A host of `server import`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub name: String,
    /// The host as it is given to ssh.
    pub host: String,
    pub added: bool,
    /// Why it was not imported.
    pub fault: Option<NotImported>,
    /// Why it can't be probed, though it was imported.
    pub warning: Option<String>,
    /// A message to the person on an imported host.
    pub remark: Option<String>,
}

/// The step that failed on the way to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotImported {
    pub step: &'static str,
    pub error: String,
    pub remedy: Option<String>,
}
