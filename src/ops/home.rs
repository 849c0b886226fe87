//! Opens the home. The first command creates it with default tiers and this host as a server, without any question.

use super::OpsError;
use crate::dispatch::client::{probe, start};
use crate::model::name::Name;
use crate::model::settings::WATCH;
use crate::model::ssh::Login;
use crate::model::task::{ClientFacts, State};
use crate::model::time::Timestamp;
use crate::store::former::Former;
use crate::store::home::Seed;
use crate::store::{Store, StoreError};

pub use crate::store::Home;
pub use crate::store::home::{HomeVariables, Located};
pub use crate::store::waiting::tell_by as tell_waits_by;

/// An open home and who uses it.
#[derive(Debug)]
pub struct Grid {
    pub store: Store,
    /// The account that runs this command: the owner.
    pub me: Name,
    /// This host, as a client.
    pub client: ClientFacts,
    /// The ssh command and the key agent of this session.
    pub login: Login,
    /// A message to the person if the home is not at the usual place.
    pub remark: Option<String>,
}

impl Grid {
    /// Opens the home for the client's account, or creates it.
    pub fn open(places: &HomeVariables, client: ClientFacts, login: Login) -> Result<Self, OpsError> {
        let Located { home, mut remark } = Home::locate(places)?;
        if !home.exists() {
            if let (Some((task, host)), None) = (&places.in_task, &places.grid_home) {
                return Err(OpsError::Refused(format!(
                    "this runs in task {task} of a home that was submitted to on {host}, and there is no home here: set GRID_HOME to \
                     make one in that directory, or submit from {host}"
                )));
            }
            remark = create(&home, &owner(&client.user)?, &client)?.or(remark);
        }
        Self::open_at(&home, remark, client, login)
    }

    /// Opens the home if there is one; else gives where it would be.
    pub fn find(places: &HomeVariables, client: ClientFacts, login: Login) -> Result<Result<Self, Home>, OpsError> {
        let Located { home, remark } = Home::locate(places)?;
        if !home.exists() {
            return Ok(Err(home));
        }
        Self::open_at(&home, remark, client, login).map(Ok)
    }

    fn open_at(home: &Home, mut remark: Option<String>, client: ClientFacts, login: Login) -> Result<Self, OpsError> {
        let me = owner(&client.user)?;
        let mut replaced = false;
        let store = loop {
            match Store::open(home) {
                Err(StoreError::Older { found, .. }) => {
                    remark = upgrade(home, found)?.or(remark);
                    replaced = true;
                }
                Err(StoreError::Backup { .. }) => remark = restore(home, false)?.or(remark),
                Err(StoreError::Copy { lives, .. }) => remark = restore(home, lives)?.or(remark),
                store => break store?,
            }
        };
        let mut grid = Self { store, me, client, login, remark };
        // Not every command does it at its end, and tasks may wait.
        if replaced && let Err(error) = super::dispatcher::wake(&mut grid) {
            let said = grid.remark.take().map_or_else(String::new, |remark| format!("{remark}; "));
            grid.remark = Some(format!("{said}dispatcher: {error}"));
        }
        Ok(grid)
    }
}

fn create(home: &Home, me: &Name, client: &ClientFacts) -> Result<Option<String>, OpsError> {
    // One of many first commands creates the home; the others wait here.
    let _founding = home.found()?;
    if home.exists() {
        return Ok(None);
    }
    let former = home.keep_former(Timestamp::now())?;
    let facts = probe::this_host(home, WATCH.value(None), None, None)
        .map_err(|error| OpsError::Grid(format!("this host can't be read: {error}")))?;
    Store::create(home, &Seed { owner: me.clone(), client: client.clone(), facts })?;
    Ok(former.map(|former| former_home_note(home, &former)))
}

/// The message on what a former home left beside a new database, and how to get it back.
fn former_home_note(home: &Home, former: &Former) -> String {
    let mut left: Vec<String> =
        former.spools.iter().map(|dir| format!("runs of its tasks are in {}", dir.display())).collect();
    left.extend(former.aside.iter().map(|dir| format!("its outputs and files were moved to {}", dir.display())));
    let running = match former.supervisors {
        0 => String::new(),
        1 => "; 1 run is still running, and is not counted here".to_owned(),
        many => format!("; {many} runs are still running, and are not counted here"),
    };
    let back = former
        .aside
        .as_ref()
        .map_or_else(String::new, |dir| format!(", and what is in {} back into spool", dir.display()));
    format!(
        "{} is new, and the home before it left something: {}{running}. To get that home back, move (do not copy) the old grid.db \
         there{back}, or `grid restore` a backup; else remove what it left",
        home.database().display(),
        left.join(", "),
    )
}

/// Upgrades the database after the dispatcher of the older version has stopped; none starts meanwhile. That dispatcher keeps running
/// where the upgrade can be seen to fail.
fn upgrade(home: &Home, found: i64) -> Result<Option<String>, OpsError> {
    let failed = |error: StoreError, more: &str| {
        OpsError::Grid(format!("upgrade of the database from version {found} to {}: {error}{more}", Store::VERSION))
    };
    let mut needed = || matches!(Store::open(home), Err(StoreError::Older { .. }));
    // One of many commands tries the upgrade, and upgrades; the others wait here.
    let _founding = home.found().map_err(|error| failed(error, ""))?;
    if !needed() {
        return Ok(None);
    }
    Store::rehearse_upgrade(home).map_err(|error| failed(error, ""))?;
    // Commands that waited meanwhile must not stop the dispatcher that the first one has started since.
    let retired = start::retire(home, &mut needed);
    let alone = retired.map_err(|error| OpsError::Grid(format!("upgrade of the database: {error}")))?;
    if alone.is_none() {
        return Ok(None);
    }
    let kept = Store::upgrade(home, Timestamp::now()).map_err(|error| {
        failed(
            error,
            "; no dispatcher runs now: tasks that run keep running, and the next command that upgrades starts one",
        )
    })?;
    Ok(kept.map(|kept| {
        format!(
            "the database is upgraded from version {found} to {}, and older grids refuse it; a backup of before is kept in {}",
            Store::VERSION,
            kept.display()
        )
    }))
}

/// Makes a backup or a copy that was put here a home of its own, so that it can't be mistaken for the one it was made from.
/// `beside`: it is a copy, and the original home still exists.
fn restore(home: &Home, beside: bool) -> Result<Option<String>, OpsError> {
    let mut needed = || matches!(Store::open(home), Err(StoreError::Backup { .. } | StoreError::Copy { .. }));
    let retired = start::retire(home, &mut needed);
    let alone = retired.map_err(|error| OpsError::Grid(format!("restoring: {error}")))?;
    if alone.is_none() {
        return Ok(None);
    }
    let store = Store::restore(home, Timestamp::now())?;
    let counts = store.view().tally()?;
    let of = |state: State| counts.iter().find(|(known, _)| *known == state).map_or(0, |(_, count)| *count);
    let at_servers = of(State::Running) + of(State::Pending);
    let mut said = store.view().made_of()?.map_or_else(String::new, |(_, words)| words);
    let ran = if beside {
        "that ran continue only in that home, and are held here"
    } else {
        "that ran are looked up on their servers: those found there are followed, the others are held"
    };
    for (count, what) in
        [(of(State::Held), "held until `grid release`, because they may have run since"), (at_servers, ran)]
    {
        if count > 0 {
            said += &format!("; {count} {what}");
        }
    }
    Ok(Some(said))
}

/// The user of an account; characters that names do not allow are replaced.
pub(super) fn owner(login: &str) -> Result<Name, OpsError> {
    let plain: String =
        login.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    plain
        .parse()
        .or_else(|_| format!("u{plain}").parse())
        .map_err(|e| OpsError::Usage(format!("account {login:?}: {e}")))
}
