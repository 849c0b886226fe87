//! Reports on files that tasks brought back, and on what `gc` took.

use crate::model::time::Timestamp;
use serde::Serialize;

/// `fetch`, for one task or member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedFiles {
    pub id: String,
    /// The directory below which everything landed.
    pub directory: String,
    pub files: Vec<Landed>,
    /// A pattern that matched nothing, a socket that was left out.
    pub remarks: Vec<String>,
    /// Why there are no files.
    pub error: Option<String>,
}

impl FetchedFiles {
    /// An empty report of a task or member.
    pub const fn of(id: String) -> Self {
        Self { id, directory: String::new(), files: Vec::new(), remarks: Vec::new(), error: None }
    }

    /// The files that did not land, and why; None if all have.
    pub fn not_whole(&self) -> Option<String> {
        const NAMED: usize = 3;
        if self.error.is_some() {
            return self.error.clone();
        }
        let refused = self.files.iter().filter_map(|file| match &file.landing {
            Landing::Refused { why } => Some(format!("{}: {why}", file.path)),
            _ => None,
        });
        let mut refused: Vec<String> = refused.collect();
        let more = refused.len().saturating_sub(NAMED);
        refused.truncate(NAMED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        (!refused.is_empty())
            .then(|| format!("{}{more}; `grid fetch {id}` unpacks them again", refused.join(", "), id = self.id))
    }
}

/// One file, and how it landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Landed {
    pub path: String,
    #[serde(flatten)]
    pub landing: Landing,
}

/// How a file landed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "landing", rename_all = "lowercase")]
pub enum Landing {
    Written,
    /// The same file was there already.
    Same,
    /// The file there was changed since the submit: the fetched one lies beside it.
    Beside {
        name: String,
    },
    /// A link that leads out of the directory: it is not made, which is not an error.
    #[serde(rename = "left_out")]
    LeftOut {
        why: String,
    },
    Refused {
        why: String,
    },
}

/// `gc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Small outputs in the database.
    pub outputs: u64,
    /// Output files.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    pub tasks: u64,
    pub notes: u64,
    pub classes: u64,
    /// Environments whose values were erased.
    #[serde(default)]
    pub environments: u64,
    /// Long outputs and files on servers, by server.
    pub there: Vec<CollectedThere>,
    pub dry_run: bool,
    /// When the wall clock was set, if that keeps everything from removal by age.
    pub clock_doubted_since: Option<Timestamp>,
}

/// Long outputs and files of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectedThere {
    pub server: String,
    pub attempts: u64,
    /// Bytes of the outputs.
    pub bytes: u64,
    /// The server did not answer: they are removed there when it does.
    pub waits: bool,
}
