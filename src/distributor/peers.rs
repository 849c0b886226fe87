//! Other homes, as a search sees them: a question, interim answers, a final answer. The dispatcher's links are below this trait.

use crate::model::endpoint::Endpoint;
use crate::protocol::distributor::{Answer, Question};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The question was not heard: there is no link.
    #[error("{0}")]
    Unreached(String),
    /// The question was to be asked soon, and was not: the home gave no sign of life. It may do so in a moment.
    #[error("{0}")]
    Late(String),
    /// The question may have been heard; no answer came.
    #[error("{0}")]
    Cut(String),
}

/// Carries questions to other homes.
pub trait Peers {
    /// Asks, gives every interim answer to `each` (false: stop listening), and returns the final one. A redirect that `each` accepts is
    /// the go that [`Question::PlaceOnGo`] waits for.
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError>;

    /// The same, unless the home gives no sign of life at once: then another one can be asked instead.
    fn ask_soon(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        self.ask(endpoint, question, each)
    }
}

/// Ignores interim answers.
pub fn silently(_: Answer) -> bool {
    true
}
