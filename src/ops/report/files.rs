//! Reports on files that tasks brought back, and on what `gc` took.

use crate::model::time::Timestamp;
use serde::Serialize;

/// `fetch`, for one task or member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedFiles {
    pub id: String,
    /// Below which everything landed.
    pub directory: String,
    pub files: Vec<Landed>,
    /// A pattern that matched nothing, a socket that was left out.
    pub remarks: Vec<String>,
    /// Why there is nothing.
    pub error: Option<String>,
}

impl FetchedFiles {
    /// Nothing of a task or member yet.
    pub const fn of(id: String) -> Self {
        Self { id, directory: String::new(), files: Vec::new(), remarks: Vec::new(), error: None }
    }

    /// What did not land, and why; None: all of it has come.
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

/// One file, and what became of it.
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
    /// The same was there already.
    Same,
    /// What is there was changed since the submit: it lies beside it.
    Beside {
        name: String,
    },
    /// A link that leads out of the directory: it is not made, and that is no fault.
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
    /// Long outputs and files that lay on servers, by server.
    pub there: Vec<CollectedThere>,
    pub dry_run: bool,
    /// The wall clock was set then, and nothing is removed by its age.
    pub clock_doubted_since: Option<Timestamp>,
}

/// Long outputs and files of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CollectedThere {
    pub server: String,
    pub attempts: u64,
    /// Bytes of the outputs.
    pub bytes: u64,
    /// The server did not answer: they go there when it does.
    pub waits: bool,
}
