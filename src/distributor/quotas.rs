//! Quotas for tasks from other homes. An error names the quota that was passed.

use super::principal::{Access, Principal};
use super::tier2::TierError;
use crate::model::attribute::Value;
use crate::model::bounds;
use crate::model::command::Text;
use crate::model::id::{TaskUuid, UserId};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::settings::{KEEP_OUTPUTS, USER_SPOOL, USER_WAITING};
use crate::model::task::{Members, Request};
use crate::model::time::Timestamp;
use crate::model::user::Role;
use crate::store::files::{LINE, MEMBER, ROW};
use crate::store::{StoreError, Tx, View};

/// Attributes of a task, at most.
const ATTRIBUTES_MAX: usize = 256;
/// Bytes of an attribute's text, at most.
const TEXT_MAX: usize = 4 << 10;
/// Lines of one array of another home's user: other writers wait while they are written.
const LINES_MAX: usize = 1_000_000;

/// Tombstones kept here for one user from another home: 1 MiB of rows.
pub const TOMBSTONES_MAX: u32 = 16_384;

/// Refuses a uuid for good, up to a round. A tombstone is a row, and a user may not fill the disk with them: beyond the quota the
/// refusal is an error, and the caller may ask again later.
pub fn add_tombstone(
    tx: &Tx<'_>,
    uuid: TaskUuid,
    round: u32,
    principal: &Principal,
    now: Timestamp,
) -> Result<(), TierError> {
    let of = principal.refuses(tx)?;
    if principal.access == Access::User
        && principal.tombstoned(tx, uuid)?.is_none()
        && tx.has_tombstones(of, TOMBSTONES_MAX)?
    {
        let most = format!("{TOMBSTONES_MAX} until `grid gc` has removed old ones");
        return Err(over("refusals for good", TOMBSTONES_MAX, most));
    }
    Ok(tx.add_tombstone(uuid, round, of, now)?)
}

fn over(what: &str, found: impl std::fmt::Display, max: impl std::fmt::Display) -> TierError {
    TierError::Denied(format!("{what}: {found}, this home takes {max} at most"))
}

/// The room that is left in this home for a user from another home.
#[derive(Debug)]
pub struct SpoolRoom {
    user: Name,
    kept: u64,
    max: u64,
}

impl SpoolRoom {
    /// Is there room for so many bytes more?
    pub fn holds(&self, comes: u64) -> Result<(), TierError> {
        let Self { user, kept, max } = self;
        if kept < max && kept.saturating_add(comes) <= *max {
            return Ok(());
        }
        Err(TierError::Denied(format!(
            "kept for {user}: {} and {} more, this home takes {} at most (user_spool) of tasks, their files and outputs: cancel what waits with \
             files, or ask its owner for `grid config set user_spool`, `keep_outputs` or `keep_rows`",
            Bytes(*kept),
            Bytes(comes),
            Bytes(*max)
        )))
    }
}

/// Bytes that a task takes here without its files; of an array with the lines that have come by now.
pub fn size(request: &Request, search: &str) -> u64 {
    let Request { launch, demand, members, .. } = request;
    let text = |text: Option<&Text>| text.map_or(0, |text| text.as_bytes().len());
    let labels = demand
        .labels
        .iter()
        .chain(&demand.client)
        .map(|(name, value)| name.len() + bounds::value(value, usize::MAX).unwrap_or_default());
    let words = [&demand.constraint, &demand.prefer, &demand.name];
    // A class and a note stand in an index too, where each is found by its text.
    let found_by_text = words.iter().map(|words| words.as_ref().map_or(0, |words| words.len())).sum::<usize>()
        + labels.sum::<usize>()
        + search.len();
    let bytes = launch.command.arguments().iter().map(|argument| 2 * argument.as_bytes().len()).sum::<usize>()
        + launch.env.0.iter().map(|(name, value)| name.as_bytes().len() + value.as_bytes().len()).sum::<usize>()
        + launch.stdin.as_ref().map_or(0, Vec::len)
        + [Some(&launch.cwd), launch.home.as_ref(), launch.stdout.as_ref(), launch.stderr.as_ref()]
            .map(text)
            .iter()
            .sum::<usize>()
        + launch.fetch.iter().flat_map(|fetch| &fetch.patterns).map(|pattern| pattern.as_bytes().len()).sum::<usize>()
        + 2 * found_by_text;
    let lines = match members {
        Members::Lines { lines, .. } => lines.iter().map(|line| line.as_bytes().len() as u64 + LINE).sum(),
        Members::Single | Members::Range { .. } => 0,
    };
    bytes as u64 + lines
}

/// Bytes that a task takes here with its files and its rows.
pub fn size_in_all(request: &Request, search: &str) -> u64 {
    let files = request.launch.workplace.sent().map_or(0, |sent| sent.size);
    let rows = ROW + u64::from(request.members.count()) * MEMBER;
    size(request, search).saturating_add(rows).saturating_add(files)
}

/// Checks a task that another home sealed, perhaps by a program that is not grid. Returns the room of its user; None: no quota.
pub fn check(view: &View<'_>, request: &Request, principal: &Principal) -> Result<Option<SpoolRoom>, TierError> {
    if principal.access == Access::Resident {
        return Ok(None);
    }
    if let Some(count) = request.launch.fetch.as_ref().map(|f| f.patterns.len()).filter(|n| *n > ATTRIBUTES_MAX) {
        return Err(over("--fetch", count, ATTRIBUTES_MAX));
    }
    let demand = &request.demand;
    for (what, values) in [("task attribute", &demand.labels), ("client attribute", &demand.client)] {
        if values.len() > ATTRIBUTES_MAX {
            return Err(over(&format!("{what}s"), values.len(), ATTRIBUTES_MAX));
        }
        for (name, value) in values {
            check_text(&format!("{what} {name}"), value)?;
        }
    }
    for (what, text) in [("constraint", &demand.constraint), ("prefer", &demand.prefer), ("name", &demand.name)] {
        if let Some(len) = text.as_ref().map(|t| t.len()).filter(|len| *len > TEXT_MAX) {
            return Err(over(what, len, format!("{TEXT_MAX} bytes")));
        }
    }
    if demand.apps.len() > ATTRIBUTES_MAX || demand.exclude.len() > ATTRIBUTES_MAX {
        return Err(over("--app and --exclude", demand.apps.len().max(demand.exclude.len()), ATTRIBUTES_MAX));
    }
    if !request.launch.cwd.as_bytes().starts_with(b"/") {
        return Err(TierError::Denied("working directory: it must be absolute".to_owned()));
    }
    if principal.access != Access::User {
        return Ok(None);
    }
    if demand.priority > 0 {
        let priority = demand.priority;
        return Err(TierError::Denied(format!("priority {priority}: users from other homes may only lower it")));
    }
    let max = u64::from(view.value_of(&USER_WAITING)?);
    let user = view.user(principal.user.as_str())?;
    let waiting = user.as_ref().map_or(Ok(0), |user| view.count_unended_of(Some(user.id)))?;
    if waiting >= max {
        let what = format!("tasks of {} that have not ended", principal.user);
        return Err(over(&what, waiting, format!("{max} (user_waiting)")));
    }
    // What came after the count is added, in the transaction that takes the task: others of theirs may come in side by side.
    let since = user.map_or(Ok(Bytes(0)), |user| view.sent_since(user.id, principal.kept.up_to))?;
    let kept = principal.kept.bytes.0.saturating_add(since.0);
    let room = SpoolRoom { user: principal.user.clone(), kept, max: spool_max(view)? };
    room.holds(size_in_all(request, ""))?;
    Ok(Some(room))
}

/// Why no more tasks of a user from another home start here; None: there is room.
pub fn no_room(view: &View<'_>, user: UserId, now: Timestamp) -> Result<Option<String>, StoreError> {
    if view.role(user)? >= Role::Administer {
        return Ok(None);
    }
    let keep = view.value_of(&KEEP_OUTPUTS)?;
    let (kept, max) = (view.kept_for(user, now.minus(keep))?.bytes, Bytes(spool_max(view)?));
    Ok((kept >= max)
        .then(|| format!("{kept} are kept for its user, and {max} may be (user_spool): it starts when there is room")))
}

/// Bytes kept here for one user from another home, at most.
pub fn spool_max(view: &View<'_>) -> Result<u64, StoreError> {
    Ok(view.value_of(&USER_SPOOL)?.0)
}

/// Checks the list of an array, which comes with the commit only.
pub fn check_list(members: &Members, principal: &Principal) -> Result<(), TierError> {
    match members {
        Members::Lines { lines, .. } if lines.is_empty() => Err(TierError::Denied("array: it has no lines".to_owned())),
        Members::Lines { lines, .. } if principal.access == Access::User && lines.len() > LINES_MAX => {
            Err(over("lines of one array", lines.len(), LINES_MAX))
        }
        _ => Ok(()),
    }
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
