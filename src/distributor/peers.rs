//! Other homes, as a search sees them: a question, interim answers, a final answer. The dispatcher's links are below this trait.

use crate::model::endpoint::Endpoint;
use crate::protocol::distributor::{Answer, Question};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The question was not heard: there is no link.
    #[error("{0}")]
    Unreached(String),
    /// The question may have been heard; no answer came.
    #[error("{0}")]
    Cut(String),
}

/// Carries questions to other homes.
pub trait Peers {
    /// Asks, gives every interim answer to `each` (false: stop listening), and returns the final one.
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError>;
}

/// Ignores interim answers.
pub fn silently(_: Answer) -> bool {
    true
}
