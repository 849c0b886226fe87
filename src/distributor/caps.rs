//! What a receiver takes from another home, whoever sends it: every bound is told by its name when it is passed.

use super::desk::{Guest, Standing};
use super::tier2::TierError;
use crate::model::attribute::Value;
use crate::model::command::Command;
use crate::model::id::TaskUuid;
use crate::model::resources::Bytes;
use crate::model::task::{Members, Request};
use crate::model::time::Timestamp;
use crate::store::{Tx, View};

/// Attributes of a task.
const ATTRIBUTES_MAX: usize = 256;
/// The text of an attribute.
const TEXT_MAX: usize = 4 << 10;
/// What a client says of itself.
const CLIENT_MAX: usize = 253;
/// Members of one array.
const MEMBERS_MAX: u32 = 10_000_000;
/// What lies here for one user from elsewhere, where `user_spool` says nothing else.
const SPOOL_MAX: Bytes = Bytes(10 << 30);
/// Tasks of one user from elsewhere that wait, where `user_waiting` says nothing else.
const WAITING_MAX: u64 = 10_000;

/// Refusals for good that are kept here, as far as users from elsewhere have a share in them.
const TOMBSTONES_MAX: u32 = 100_000;

/// Refuses a uuid for good, up to a round. That is a row: strangers may not fill the disk with them. Who is told that may ask
/// again later.
pub fn bury(tx: &Tx<'_>, uuid: TaskUuid, round: u32, guest: &Guest, now: Timestamp) -> Result<(), TierError> {
    if guest.standing == Standing::User && tx.buried(uuid)?.is_none() && tx.has_tombstones(TOMBSTONES_MAX)? {
        let most = format!("{TOMBSTONES_MAX} until `grid gc` has removed old ones");
        return Err(over("refusals for good", TOMBSTONES_MAX, most));
    }
    Ok(tx.bury(uuid, round, now)?)
}

fn over(what: &str, found: impl std::fmt::Display, max: impl std::fmt::Display) -> TierError {
    TierError::Denied(format!("{what}: {found}, this home takes {max} at most"))
}

/// Checks a task that was sealed elsewhere: a program that is not ours may have done it.
pub fn check(view: &View<'_>, request: &Request, guest: &Guest) -> Result<(), TierError> {
    if guest.standing == Standing::Resident {
        return Ok(());
    }
    if let Some(count) = request.launch.fetch.as_ref().map(|f| f.patterns.len()).filter(|n| *n > ATTRIBUTES_MAX) {
        return Err(over("--fetch", count, ATTRIBUTES_MAX));
    }
    let demand = &request.demand;
    if demand.labels.len() > ATTRIBUTES_MAX {
        return Err(over("task attributes", demand.labels.len(), ATTRIBUTES_MAX));
    }
    for (name, value) in &demand.labels {
        check_text(&format!("task attribute {name}"), value)?;
    }
    for (what, text) in [("constraint", &demand.constraint), ("prefer", &demand.prefer), ("name", &demand.name)] {
        if let Some(len) = text.as_ref().map(|t| t.len()).filter(|len| *len > TEXT_MAX) {
            return Err(over(what, len, format!("{TEXT_MAX} bytes")));
        }
    }
    if demand.apps.len() > ATTRIBUTES_MAX || demand.exclude.len() > ATTRIBUTES_MAX {
        return Err(over("--app and --exclude", demand.apps.len().max(demand.exclude.len()), ATTRIBUTES_MAX));
    }
    let client = &request.client;
    for (what, text) in [("host", &client.host), ("user", &client.user), ("os", &client.os), ("arch", &client.arch)] {
        if text.len() > CLIENT_MAX || text.chars().any(char::is_control) {
            return Err(over(
                &format!("client.{what}"),
                format!("{} bytes", text.len()),
                format!("{CLIENT_MAX} plain characters"),
            ));
        }
    }
    if let Err(error) = Command::new(request.launch.command.arguments().to_vec()) {
        return Err(TierError::Denied(format!("command: {error}")));
    }
    if !request.launch.cwd.as_bytes().starts_with(b"/") {
        return Err(TierError::Denied("working directory: it must be absolute".to_owned()));
    }
    // The lines of an array come with the commit only.
    if !matches!(request.members, Members::Lines { .. }) {
        check_members(&request.members)?;
    }
    if let Standing::User = guest.standing {
        if demand.priority > 0 {
            return Err(TierError::Denied(format!(
                "priority {}: users from other homes may only lower it",
                demand.priority
            )));
        }
        let max = view.setting("user_waiting")?.and_then(|text| text.parse().ok()).unwrap_or(WAITING_MAX);
        let user = view.user(guest.user.as_str())?;
        let waiting = user.as_ref().map_or(Ok(0), |user| view.count_unended_of(Some(user.id)))?;
        if waiting >= max {
            return Err(over(
                &format!("tasks of {} that have not ended", guest.user),
                waiting,
                format!("{max} (user_waiting)"),
            ));
        }
        // What came after the count is added, in the transaction that takes the task: others of theirs may come in side by side.
        let since = user.map_or(Ok(Bytes(0)), |user| view.sent_since(user.id, guest.kept.up_to))?;
        check_spool(view, request, guest, Bytes(guest.kept.bytes.0.saturating_add(since.0)))?;
    }
    Ok(())
}

/// What a user's tasks were sent with and what they left here, and what this one brings.
fn check_spool(view: &View<'_>, request: &Request, guest: &Guest, kept: Bytes) -> Result<(), TierError> {
    let set = view.setting("user_spool")?;
    let max = set.and_then(|text| Bytes::parse(&text).ok()).unwrap_or(SPOOL_MAX);
    let comes = request.launch.workplace.sent().map_or(0, |sent| sent.size);
    if kept < max && kept.0.saturating_add(comes) <= max.0 {
        return Ok(());
    }
    let user = &guest.user;
    Err(TierError::Denied(format!(
        "files and outputs kept for {user}: {kept} and {} more, this home takes {max} at most (user_spool): cancel what waits with files, or \
         ask its owner for `grid config set user_spool` or `keep_outputs`",
        Bytes(comes)
    )))
}

/// The members of a task, with the list of an array in its place.
pub fn check_members(members: &Members) -> Result<(), TierError> {
    match members {
        Members::Range { first, step, count, at_once } => {
            let last = u64::from(*first) + u64::from(*step) * u64::from(count.saturating_sub(1));
            if *count == 0 || *step == 0 || *at_once == Some(0) || *count > MEMBERS_MAX || last >= u64::from(u32::MAX) {
                return Err(over("array", format!("{count} members, step {step}"), format!("{MEMBERS_MAX} members")));
            }
        }
        Members::Lines { lines, at_once } if lines.is_empty() || *at_once == Some(0) => {
            return Err(TierError::Denied("array: it has no lines, or none may run".to_owned()));
        }
        _ => {}
    }
    Ok(())
}

fn check_text(what: &str, value: &Value) -> Result<(), TierError> {
    match value {
        Value::Text(text) if text.len() > TEXT_MAX => Err(over(what, format!("{} bytes", text.len()), TEXT_MAX)),
        Value::List(items) if items.len() > ATTRIBUTES_MAX => Err(over(what, items.len(), ATTRIBUTES_MAX)),
        Value::List(items) => items.iter().try_for_each(|item| check_text(what, item)),
        Value::Map(entries) if entries.len() > ATTRIBUTES_MAX => Err(over(what, entries.len(), ATTRIBUTES_MAX)),
        Value::Map(entries) => entries.values().try_for_each(|item| check_text(what, item)),
        _ => Ok(()),
    }
}
