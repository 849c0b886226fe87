//! What is to be said of servers that are UP: another machine answers, or attempts fail there that run elsewhere.

use super::OpsError;
use crate::model::id::ServerId;
use crate::model::server::{Engine, Server};
use crate::model::time::Timestamp;
use crate::store::View;
use crate::store::failing::{Failing, KEPT};
use std::collections::HashMap;

/// Messages on servers that are UP and need a look all the same.
pub(super) fn remarks(view: &View<'_>, now: Timestamp) -> Result<HashMap<ServerId, String>, OpsError> {
    let mut remarks = misled(view)?;
    for (server, words) in failing(view, now)? {
        remarks.entry(server).or_insert(words);
    }
    Ok(remarks)
}

/// The message for a server over ssh whose machine is another server too.
pub(super) fn same_machine(view: &View<'_>, id: ServerId) -> Result<Option<String>, OpsError> {
    let servers = view.servers_in_short()?;
    let host = |server: &Server| server.pool.as_ref().map(|pool| pool.host);
    let Some(server) = servers.iter().find(|server| server.id == id && matches!(server.engine, Engine::Ssh(_))) else {
        return Ok(None);
    };
    let others = servers.iter().filter(|other| other.id != id && host(other).is_some() && host(other) == host(server));
    let names: Vec<&str> = others.map(|other| other.name.as_str()).collect();
    Ok((!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("its machine is {names} already: they share its processors and memory, and a task may run as either")
    }))
}

/// Messages on servers on which attempts fail that run elsewhere.
pub(super) fn failing(view: &View<'_>, now: Timestamp) -> Result<Vec<(ServerId, String)>, OpsError> {
    let fresh = view.failing_servers()?.into_iter().filter(|(_, failing)| failing.at.age_at(now) <= KEPT);
    let words = |failing: Failing| {
        let (failures, at) = (failing.failures, failing.at.local());
        format!(
            "{failures} tasks in a row failed there at once, the last at {at}, and run elsewhere: it gets one at a time until one runs"
        )
    };
    Ok(fresh.map(|(server, failing)| (server, words(failing))).collect())
}

/// Messages on servers under whose names another machine answers than the one that runs their tasks.
pub(super) fn misled(view: &View<'_>) -> Result<HashMap<ServerId, String>, OpsError> {
    let mut told: HashMap<ServerId, String> = HashMap::new();
    for one in view.misled()? {
        let (attempts, was) = (one.attempts, &one.was);
        let since = one.since.local();
        let lies = format!("{attempts} {} on {was}", if attempts == 1 { "task is" } else { "tasks are" });
        match told.get_mut(&one.server) {
            Some(text) => *text += &format!(", {lies}"),
            None => {
                let text = format!("another machine ({}) answers since {since}; {lies}", one.answers);
                told.insert(one.server, text);
            }
        }
    }
    Ok(told)
}
