//! Events of a link.

use crate::model::time::Timestamp;
use crate::protocol::agent::FromAgent;

/// An event of a link.
#[derive(Debug)]
pub enum News {
    /// The agent sent a message.
    Said(FromAgent),
    /// A link that was up is cut; `last` is when it was last up.
    Cut { error: String, last: Timestamp },
    /// A link that was up is closed because of a message on it: the server is down until a person fixes that.
    Broken { error: String, last: Timestamp },
    /// A login failed, and the next way is tried at once.
    Lost(String),
    /// The server can't be reached at the moment, for this reason.
    NoWay(String),
}
