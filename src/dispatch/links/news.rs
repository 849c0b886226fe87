//! What a link says besides the messages of its agent.

use crate::model::time::Timestamp;
use crate::protocol::agent::FromAgent;

/// What came of waiting for a link.
#[derive(Debug)]
pub enum News {
    /// A message of an agent.
    Said(FromAgent),
    /// A link that was up is cut; when it stood last.
    Cut { error: String, last: Timestamp },
    /// The same, for what its agent said on it: the server is down until somebody mends that.
    Broken { error: String, last: Timestamp },
    /// A login failed, and another way is tried at once.
    Lost(String),
    /// There is no way to the server at the moment, for this reason.
    NoWay(String),
}
