//! Servers named with `-w` and `-x` that this grid does not know: most likely a typing error.

use super::draft::Draft;
use super::{Grid, OpsError};
use crate::model::demand::Target;
use crate::model::distributor::{Endpoint, Tier};
use crate::store::View;

/// A warning for each unknown server. Nothing is refused: such a server may be added later, and `-x` of an unknown one excludes nothing.
pub fn unknown(grid: &Grid, draft: &Draft) -> Result<Vec<String>, OpsError> {
    let view = grid.store.view();
    if draft.on.is_none() && draft.exclude.is_empty() || elsewhere(&view)? {
        return Ok(Vec::new());
    }
    let servers = view.server_names()?;
    let mut lines = Vec::new();
    let named = draft.on.iter().map(|on| ("-w", on)).chain(draft.exclude.iter().map(|not| ("-x", not)));
    for (option, target) in named {
        if !servers.iter().any(|(distributor, server)| is(target, distributor, server)) {
            let known = servers.iter().map(|(_, server)| server.as_str());
            lines.push(format!("{option} {target}: {}", OpsError::unknown("server", target.server.as_str(), known)));
        }
    }
    Ok(lines)
}

fn is(target: &Target, distributor: &str, server: &str) -> bool {
    target.server.as_str() == server && target.distributor.as_ref().is_none_or(|name| name.as_str() == distributor)
}

/// True if a member is in another home, whose servers this one can't know.
fn elsewhere(view: &View<'_>) -> Result<bool, OpsError> {
    let mut all = view.distributors(Tier::First)?;
    all.extend(view.distributors(Tier::Second)?);
    Ok(all.iter().any(|member| member.endpoint != Endpoint::Local))
}
