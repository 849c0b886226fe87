//! Servers of distributors in other homes: drained and resumed there.

use crate::dispatch::client::relay::Relay;
use crate::distributor::members::words_of;
use crate::distributor::peers::{Peers, silently};
use crate::model::distributor::Tier;
use crate::model::endpoint::Endpoint;
use crate::model::name::Name;
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::{Answer, Question, ServerOrder};

/// Drains (with a reason) or resumes a server of a distributor in another home: asked there, or through any first tier that
/// knows the distributor.
pub fn manage(grid: &Grid, at: &Name, server: &Name, reason: Option<&str>) -> Result<(), OpsError> {
    let order = reason.map_or(ServerOrder::Resume, |reason| ServerOrder::Drain { reason: reason.to_owned() });
    let question = |at| Question::Manage { user: None, at, server: server.clone(), order: order.clone() };
    let (second, fronts) =
        (grid.store.view().distributors(Tier::Second)?, grid.store.view().distributors(Tier::First)?);
    let mut ways: Vec<(Endpoint, Question)> = Vec::new();
    ways.extend(second.into_iter().filter(|m| m.name == *at).map(|m| (m.endpoint, question(m.there))));
    ways.extend(fronts.into_iter().map(|m| (m.endpoint, question(Some(at.clone())))));
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut failures = Vec::new();
    for (endpoint, question) in ways.into_iter().filter(|(endpoint, _)| endpoint.is_elsewhere()) {
        match peers.ask(&endpoint, &question, &mut silently) {
            Ok(Answer::Done) => return Ok(()),
            Ok(other) => failures.push(format!("{endpoint}: {}", words_of(other))),
            Err(error) => failures.push(format!("{endpoint}: {error}")),
        }
    }
    if failures.is_empty() {
        return Err(OpsError::unknown("distributor", at.as_str(), []));
    }
    Err(OpsError::Refused(format!("{at}/{server}: {}", failures.join("; "))))
}
