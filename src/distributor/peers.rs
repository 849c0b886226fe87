//! Other homes, as those who search see them: a question, words on the way, an answer. How they are reached is no matter here.

use crate::model::endpoint::Endpoint;
use crate::protocol::distributor::{Answer, Question};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The question was certainly not heard: nobody was reached.
    #[error("{0}")]
    Unreached(String),
    /// It may have been heard; the answer did not come.
    #[error("{0}")]
    Cut(String),
}

/// Whoever carries questions to other homes.
pub trait Peers {
    /// Asks, gives every word before the answer to `each` (false: stop listening), and returns the last one.
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError>;
}

/// Words on the way are of no interest.
pub fn silently(_: Answer) -> bool {
    true
}
