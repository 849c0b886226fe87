//! Why a search placed nothing. The cause is an enum; its sentence is the form on the wire, and what people read.

use serde::{Deserialize, Serialize};

/// Why no member takes a task: in short, and one by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchRefusal {
    #[serde(rename = "summary")]
    pub cause: RefusalCause,
    pub reasons: Vec<String>,
    /// False: no member has looked at the task, so whoever searched has no answer.
    pub answered: bool,
    /// No member has looked at the task: they refuse it, and none was passed over that may give another answer in a minute.
    #[serde(default)]
    pub denied: bool,
    /// A drained member alone could run it, in these words: the task may wait for that.
    #[serde(default)]
    pub waits_for: Option<String>,
}

impl SearchRefusal {
    /// One sentence for a person.
    pub fn summary(&self) -> String {
        self.cause.clone().into()
    }

    /// No server of the members that looked at it could run it, but others gave no answer: another first tier may reach those.
    pub const fn is_partial(&self) -> bool {
        matches!(self.cause, RefusalCause::NoServer { partial: true })
    }

    /// The cause, within a sentence.
    pub fn what(&self) -> &str {
        self.cause.phrase()
    }
}

/// How a search ended without a member that takes the task. `partial`: some members gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RefusalCause {
    /// Second-tier members looked at the task, and no server of theirs could ever run it.
    NoServer { partial: bool },
    /// Second-tier members refuse this user or such a task.
    MembersRefuse { partial: bool },
    /// No second-tier member answered.
    NoMember,
    /// Distributors refuse this user or such a task.
    DistributorsRefuse { partial: bool },
    /// No distributor answered.
    NoDistributor,
    /// In the words of the one distributor that was asked, or of an older grid.
    Told(String),
}

/// How the sentence of a search that ended without a placement ends.
const NOTHING: &str = "; nothing was submitted";

impl RefusalCause {
    /// The causes that have a sentence of their own.
    const NAMED: [Self; 8] = [
        Self::NoServer { partial: false },
        Self::NoServer { partial: true },
        Self::MembersRefuse { partial: false },
        Self::MembersRefuse { partial: true },
        Self::NoMember,
        Self::DistributorsRefuse { partial: false },
        Self::DistributorsRefuse { partial: true },
        Self::NoDistributor,
    ];

    fn phrase(&self) -> &str {
        match self {
            Self::NoServer { partial: false } => "no server could ever run this",
            Self::NoServer { partial: true } => {
                "some second-tier distributors gave no answer, and no server of the others could ever run this"
            }
            Self::MembersRefuse { partial: false } => "every second-tier distributor that answered refuses this",
            Self::MembersRefuse { partial: true } => {
                "some second-tier distributors refuse this, the others gave no answer"
            }
            Self::NoMember => "no second-tier distributor answered",
            Self::DistributorsRefuse { partial: false } => "every distributor that answered refuses this",
            Self::DistributorsRefuse { partial: true } => "some distributors refuse this, the others gave no answer",
            Self::NoDistributor => "no distributor answered",
            Self::Told(words) => words,
        }
    }
}

impl From<RefusalCause> for String {
    fn from(cause: RefusalCause) -> Self {
        match cause {
            RefusalCause::Told(words) => words,
            named => format!("{}{NOTHING}", named.phrase()),
        }
    }
}

impl From<String> for RefusalCause {
    fn from(text: String) -> Self {
        let named =
            text.strip_suffix(NOTHING).and_then(|phrase| Self::NAMED.into_iter().find(|c| c.phrase() == phrase));
        named.unwrap_or(Self::Told(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_read_back_from_its_sentence() {
        for cause in RefusalCause::NAMED {
            assert_eq!(RefusalCause::from(String::from(cause.clone())), cause);
        }
        let told = "user bob is unknown here".to_owned();
        assert_eq!(RefusalCause::from(told.clone()), RefusalCause::Told(told));
    }
}
