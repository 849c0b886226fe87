//! Servers named with `-w` and `-x` that this grid does not know: most likely a typing error.

use super::draft::Draft;
use super::{Grid, OpsError};
use crate::model::demand::Target;
use crate::model::distributor::{Endpoint, Record, Tier};

/// A warning for each unknown server or distributor. Nothing is refused: such a server may be added later, and `-x` of an unknown
/// one excludes nothing.
pub fn unknown(grid: &Grid, draft: &Draft) -> Result<Vec<String>, OpsError> {
    let view = grid.store.view();
    if draft.on.is_none() && draft.exclude.is_empty() {
        return Ok(Vec::new());
    }
    let (first, second) = (view.distributors(Tier::First)?, view.distributors(Tier::Second)?);
    if first.iter().any(|member| member.endpoint != Endpoint::Local) {
        // Its second tier is not known here.
        return Ok(Vec::new());
    }
    let servers = view.server_names()?;
    let mut lines = Vec::new();
    let named = draft.on.iter().map(|on| ("-w", on)).chain(draft.exclude.iter().map(|not| ("-x", not)));
    for (option, target) in named {
        if let Some(distributor) = &target.distributor
            && !second.iter().any(|member| member.name == *distributor)
        {
            let known = second.iter().map(|member| member.name.as_str());
            lines.push(format!("{option} {target}: {}", OpsError::unknown("distributor", distributor.as_str(), known)));
            continue;
        }
        let of_target = |member: &&Record| target.distributor.as_ref().is_none_or(|name| member.name == *name);
        if second.iter().filter(of_target).any(|member| member.endpoint != Endpoint::Local) {
            // Nor are the servers of another home.
            continue;
        }
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
