//! `grid uninstall`: removes what grid made for a home: on its hosts, in the crontab, and the home itself. First tiers hear that its
//! distributors leave.
//!
//! ```text
//! no task is unended -> servers drained -> hosts cleared -> farewells -> crontab -> dispatcher stopped -> database -> the rest
//! ```
//!
//! What fails before the database goes leaves a home whose servers take tasks again; the error says what is gone by then. Where the
//! process is killed, the next command or dispatcher ends the drain ([`TemporaryDrain`]). From the database on there is no home; the same
//! command again removes what is left.

mod hosts;
mod left;
mod refusals;
#[cfg(test)]
mod tests;

use super::cron::table::{Crontab, FoundTable};
use super::cron::{CronEnvironment, job};
use super::home::{Grid, HomeVariables, Located, owner};
use super::{OpsError, registry, server_removal};
use crate::dispatch::client::start;
use crate::model::failpoint::failpoint;
use crate::model::id::TaskId;
use crate::model::resources::Bytes;
use crate::model::server::BEING_UNINSTALLED;
use crate::model::ssh::Login;
use crate::model::task::ClientFacts;
use crate::model::time::Timestamp;
use crate::store::draining::TemporaryDrain;
use crate::store::{Durability, Home, Store};
use refusals::{refuse_late, refuse_unended, with_words};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use hosts::HostRemoval;

/// A supervisor rests for three seconds after its last task.
const REST: Duration = Duration::from_secs(10);

/// What to do with hosts that can't be cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// Nothing else is removed.
    Refuse,
    /// The home goes; what is left on the host, and how to remove it there, is reported.
    Leave,
}

/// What is removed, or would be.
#[derive(Debug, Serialize)]
pub struct UninstallReport {
    pub dry_run: bool,
    /// The directory of the home.
    pub home: PathBuf,
    /// Is there a database, or at least a rest of a home?
    pub found: bool,
    pub tasks: u64,
    /// Tasks that have not ended: they keep the home.
    pub unended: u64,
    /// A task of which another home has yet to hear: it keeps this home too.
    pub unheard: Option<Unheard>,
    /// What the home takes on this disk.
    pub bytes: Bytes,
    pub hosts: Vec<HostRemoval>,
    /// The lines of this home in the crontab.
    pub cron_lines: Vec<String>,
    pub first_tiers: Vec<FirstTierFarewell>,
    /// What is nowhere else, in words.
    pub lost: Vec<String>,
    /// What grid did not make, or can't know of, in words.
    pub stays: Vec<String>,
}

/// A task that was cancelled here, or whose search ended here, and the home that has yet to hear of that.
#[derive(Debug, Serialize)]
pub struct Unheard {
    pub task: TaskId,
    pub home: String,
}

/// A first tier in another home that hears of the end.
#[derive(Debug, Serialize)]
pub struct FirstTierFarewell {
    /// The distributor by the name that the first tier knows.
    pub name: String,
    pub endpoint: String,
    /// Why the first tier was not told.
    pub error: Option<String>,
}

/// A home that is to be removed.
#[derive(Debug)]
pub struct Uninstall {
    home: Home,
    /// None: its database is gone already.
    grid: Option<Grid>,
    pointer: Option<PathBuf>,
    caller: CronEnvironment,
    data_home: Option<PathBuf>,
}

impl Uninstall {
    /// Finds the home; none is made.
    pub fn find(
        places: &HomeVariables,
        client: ClientFacts,
        login: Login,
        caller: CronEnvironment,
    ) -> Result<Self, OpsError> {
        let (home, grid) = match Grid::find(places, client, login)? {
            Ok(grid) => (grid.store.home().clone(), Some(grid)),
            Err(home) => (home, None),
        };
        let pointer = home.pointer(places);
        Ok(Self { home, grid, pointer, caller, data_home: places.data_home.clone() })
    }

    /// Finds the home, to tell what would be removed: one that has to be upgraded or restored first stays as it is.
    pub fn look(
        places: &HomeVariables,
        client: ClientFacts,
        login: Login,
        caller: CronEnvironment,
    ) -> Result<Self, OpsError> {
        let Located { home, remark } = Home::locate(places)?;
        let grid = match home.exists().then(|| Store::open(&home)).transpose() {
            Ok(None) => None,
            Ok(Some(store)) => Some(Grid { store, me: owner(&client.user)?, client, login, remark }),
            Err(error) => return Err(refusals::changed_first(error)),
        };
        let pointer = home.pointer(places);
        Ok(Self { home, grid, pointer, caller, data_home: places.data_home.clone() })
    }

    /// What the home's opening has to say.
    pub fn remark(&self) -> Option<&str> {
        self.grid.as_ref()?.remark.as_deref()
    }

    /// What would be removed. No host is asked.
    pub fn plan(&self) -> Result<UninstallReport, OpsError> {
        let contents = self.home.contents();
        let mut report = UninstallReport {
            dry_run: true,
            home: self.home.dir().to_owned(),
            found: !contents.ours.is_empty(),
            tasks: 0,
            unended: 0,
            unheard: None,
            bytes: Bytes(contents.bytes),
            hosts: Vec::new(),
            cron_lines: Vec::new(),
            first_tiers: Vec::new(),
            lost: Vec::new(),
            stays: left::stays(&self.caller, self.data_home.as_deref(), &contents.others),
        };
        match (Crontab::find()?, job::mark_of(&self.home)) {
            (FoundTable::Table(table), Some(mark)) => report.cron_lines = table.of(&mark).unwrap_or_default(),
            (FoundTable::Denied(why), _) => report.stays.push(left::denied_table(&why)),
            _ => {}
        }
        let Some(grid) = &self.grid else {
            if report.found {
                report.lost.push("outputs and files in spool, of a home whose database is gone".to_owned());
            }
            return Ok(report);
        };
        let view = grid.store.view();
        let remains = view.remains()?;
        (report.tasks, report.unended) = (remains.tasks, remains.unended);
        report.unheard = refusals::unheard(&view)?;
        report.lost = left::lost(&remains);
        report.hosts = hosts::all(&view)?;
        for known in view.registrations()?.iter().filter(|known| known.is_live()) {
            let (name, endpoint) = (known.name.to_string(), known.endpoint.to_string());
            report.first_tiers.push(FirstTierFarewell { name, endpoint, error: None });
        }
        Ok(report)
    }

    /// Removes it all.
    pub fn carry_out(mut self, unreachable: Unreachable) -> Result<UninstallReport, OpsError> {
        let mut report = self.plan()?;
        report.dry_run = false;
        let drain = self.grid.as_mut().map(drain).transpose()?;
        let mut gone = Vec::new();
        if let Err(error) = self.remove_all(unreachable, &mut report, &mut gone) {
            gone.extend(drain.and_then(|drain| self.go_on(drain)));
            return Err(with_words(error, &gone));
        }
        if let Some(pointer) = &self.pointer {
            // The note alone leads nowhere.
            let _ = std::fs::remove_file(pointer);
        }
        Ok(report)
    }

    /// Nothing starts meanwhile. `gone`: in words, what an error comes too late for.
    fn remove_all(
        &mut self,
        unreachable: Unreachable,
        report: &mut UninstallReport,
        gone: &mut Vec<String>,
    ) -> Result<(), OpsError> {
        if let Some(grid) = &mut self.grid {
            hosts::clear(grid, &mut report.hosts)?;
            if unreachable == Unreachable::Refuse
                && let Some(words) = hosts::refusal(&report.hosts)
            {
                return Err(OpsError::Refused(words));
            }
            let cleared = report.hosts.iter().filter(|host| host.cleared).map(|host| host.host.as_str());
            let cleared = cleared.collect::<Vec<_>>().join(", ");
            if !cleared.is_empty() {
                gone.push(format!("grid's files on {cleared} are gone, and are made anew by the next task there"));
            }
            report.first_tiers = farewells(grid, gone)?;
        }
        if self.remove_cron_lines()? {
            gone.push("the lines in the crontab are gone: `grid cron install` writes them anew".to_owned());
        }
        self.remove_home()
    }

    /// The home stays: its servers take tasks again. Gives, in words, what could not be undone.
    fn go_on(&mut self, drain: TemporaryDrain) -> Option<String> {
        let grid = self.grid.as_mut().filter(|grid| grid.store.home().exists())?;
        match drain.end(&mut grid.store) {
            Err(error) => Some(format!("servers stay drained ({error}) until a dispatcher starts or a command writes")),
            Ok(()) => super::dispatcher::wake(grid).err().map(|error| format!("dispatcher: {error}")),
        }
    }

    /// Before the home: cron would make it anew. Gives whether there were any.
    fn remove_cron_lines(&self) -> Result<bool, OpsError> {
        let (FoundTable::Table(mut table), Some(mark)) = (Crontab::find()?, job::mark_of(&self.home)) else {
            return Ok(false);
        };
        let changed = table.put(&mark, &[]);
        if changed {
            table.write()?;
        }
        Ok(changed)
    }

    fn remove_home(&mut self) -> Result<(), OpsError> {
        if self.home.contents().ours.is_empty() {
            return Ok(());
        }
        // A first command waits here, and no dispatcher starts.
        let _founding = self.home.found()?;
        let stopped = start::retire(&self.home, &mut || true);
        let _alone = stopped.map_err(|error| OpsError::Grid(format!("the dispatcher can't be stopped: {error}")))?;
        wait_for_supervisors(&self.home)?;
        match &mut self.grid {
            Some(grid) => grid.store.remove(refuse_late)?,
            // Somebody has made one since.
            None if self.home.exists() => return Err(OpsError::Refused("there is a home again: try again".to_owned())),
            None => {}
        }
        // Closed before its directory goes.
        self.grid = None;
        Ok(self.home.remove_contents()?)
    }
}

/// Drains all servers, so that nothing starts from here on.
fn drain(grid: &mut Grid) -> Result<TemporaryDrain, OpsError> {
    let drain = TemporaryDrain::begin(&mut grid.store, BEING_UNINSTALLED, |tx| {
        refuse_unended(tx)?;
        // Also those that are drained: what drains one for a while may end before this does.
        Ok::<_, OpsError>(tx.servers()?)
    })?;
    failpoint("uninstall-drained");
    Ok(drain)
}

/// Tells first tiers in other homes that the distributors of this one leave. Those that do not answer are reported.
fn farewells(grid: &mut Grid, gone: &mut Vec<String>) -> Result<Vec<FirstTierFarewell>, OpsError> {
    let now = Timestamp::now();
    let live = grid.store.write::<_, OpsError>(Durability::Full, |tx| {
        let live: Vec<_> = tx.registrations()?.into_iter().filter(|known| known.is_live()).collect();
        for known in &live {
            tx.unregister(known.distributor, &known.endpoint, now)?;
        }
        Ok(live)
    })?;
    for known in &live {
        let (name, endpoint) = (&known.name, &known.endpoint);
        gone.push(format!("{name} has left {endpoint}: `grid distributor register` registers it again"));
    }
    let failed = if live.is_empty() { Vec::new() } else { registry::send(grid, "uninstall", false)? };
    let mut told = Vec::new();
    for known in live {
        let (name, endpoint) = (known.name.to_string(), known.endpoint.to_string());
        let report = failed.iter().find(|sent| sent.name == name && sent.endpoint == endpoint);
        let error = report.and_then(|sent| sent.error.clone());
        told.push(FirstTierFarewell { name, endpoint, error });
    }
    Ok(told)
}

/// Supervisors write to the spool; after their last task they rest for a moment.
fn wait_for_supervisors(home: &Home) -> Result<(), OpsError> {
    let until = Instant::now() + REST;
    loop {
        match home.supervisors() {
            0 => return Ok(()),
            _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            running => {
                let who = if running == 1 { "1 task".to_owned() } else { format!("{running} tasks") };
                return Err(OpsError::Refused(format!(
                    "supervisors of {who} still run in {}: the home stays until they have ended",
                    home.dir().join("spool").display()
                )));
            }
        }
    }
}
