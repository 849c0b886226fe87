//! Servers, drained and resumed by an administrator in another home.

use super::identity::Identity;
use crate::dispatch::client::relay::Relay;
use crate::distributor::peers::{Peers, silently};
use crate::model::distributor::Tier;
use crate::model::name::Name;
use crate::model::user::Role;
use crate::ops::{Grid, OpsError, servers};
use crate::protocol::distributor::{Answer, Question, ServerOrder};

/// Answers [`Question::Manage`]: here, or where the member lives.
pub fn manage(
    grid: &mut Grid,
    identity: &Identity,
    at: Option<Name>,
    server: &Name,
    order: &ServerOrder,
) -> Result<Answer, OpsError> {
    let known = grid.store.view().distributors(Tier::Second)?;
    let member = at.as_ref().map(|name| known.iter().find(|m| m.name == *name));
    let member = match member {
        Some(None) => {
            let name = at.map_or_else(String::new, |name| name.to_string());
            return Err(OpsError::unknown("distributor", &name, known.iter().map(|d| d.name.as_str())));
        }
        Some(Some(member)) => Some(member),
        None => None,
    };
    if let Some(member) = member.filter(|m| m.endpoint.is_elsewhere()) {
        // Whether this caller may is that home's matter.
        let (user, at) = (identity.name().cloned(), member.there.clone());
        let question = Question::Manage { user, at, server: server.clone(), order: order.clone() };
        return Relay::new(grid.store.home(), &grid.login)
            .ask(&member.endpoint, &question, &mut silently)
            .map_err(|error| OpsError::Refused(format!("{}: {error}", member.endpoint)));
    }
    if !identity.may(Role::Administer) {
        let name = identity.name().map_or_else(String::new, Name::to_string);
        return Err(OpsError::Refused(format!(
            "{name} may not administer this home; its owner allows it by `grid user allow {name} --role administer`"
        )));
    }
    let found = servers::find(&grid.store.view(), server.as_str())?;
    if member.is_some_and(|member| member.id != found.distributor) {
        return Err(OpsError::unknown("server", server.as_str(), []));
    }
    let names = [server.to_string()];
    match order {
        ServerOrder::Drain { reason } => servers::drain(grid, &names, Some(reason))?,
        ServerOrder::Resume => servers::resume(grid, &names)?,
    }
    Ok(Answer::Done)
}
