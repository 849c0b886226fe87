//! The second tier: offer and commit. It finds the server for a task, or the reasons why there is none.

use super::avoided::Avoiding;
use super::fleets::{Booking, Fleets};
use crate::matching::{Avoidance, Choice, ExpressionError, Fleet, Place, Query, Verdict, Waiting};
use crate::model::demand::Demand;
use crate::model::distributor::Record;
use crate::model::id::{BootId, ClientId, DistributorId, EnvironmentId, Index, ServerId, TaskId, TaskUuid, UserId};
use crate::model::task::{HELD_BY_USER, Members, Phase, Request};
use crate::model::time::Timestamp;
use crate::protocol::distributor::Offer;
use crate::store::classes::WaitingClass;
use crate::store::intake::{Begins, NewTask, TierRoute};
use crate::store::ledger::Ledger;
use crate::store::placing::Placing;
use crate::store::tasks::TaskRow;
use crate::store::trace::NoteId;
use crate::store::{StoreError, Tx, View};
use std::time::Duration;

/// Why a distributor could not evaluate a task.
#[derive(Debug, thiserror::Error)]
pub enum TierError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// It refuses this caller, or such a task.
    #[error("{0}")]
    Denied(String),
}

/// The servers of a distributor, and the query for them.
pub struct Candidates<'f> {
    query: Query,
    fleets: &'f mut Fleets,
    distributor: DistributorId,
    now: Timestamp,
    /// Servers that the task is kept from though they may fit.
    avoided: Vec<(ServerId, Avoidance)>,
}

impl<'f> Candidates<'f> {
    /// The servers of a distributor as they are now, asked for a demand of a user and a client.
    pub fn new(
        view: &View<'_>,
        fleets: &'f mut Fleets,
        distributor: DistributorId,
        query: Query,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        fleets.of(view, distributor, now)?;
        if query.wants_apps() {
            fleets.watch(distributor, view)?;
        }
        Ok(Self { query, fleets, distributor, now, avoided: Vec::new() })
    }

    /// Keeps them from servers from which a waiting task is kept, or a waiting member of it.
    pub fn avoid_for(&mut self, view: &View<'_>, row: &TaskRow, index: Option<Index>) -> Result<(), StoreError> {
        if let Some(fleet) = self.fleet() {
            let avoiding = Avoiding::new(view, fleet, &self.query, row.class, self.now)?;
            self.avoided = avoiding.of(row.id, row.counts.waiting, index)?;
        }
        Ok(())
    }

    fn fleet(&self) -> Option<&Fleet> {
        self.fleets.get(self.distributor)
    }

    fn best(&self, for_task: Option<TaskId>) -> Option<Choice> {
        self.fleet()?.best_without(&self.query, for_task, &servers(&self.avoided))
    }

    fn could_ever(&self) -> bool {
        self.fleet().is_some_and(|fleet| fleet.could_ever(&self.query))
    }

    /// What this distributor can do for a new task. `Now` only if no waiting task of equal or higher priority could take that place.
    pub fn offer(&self, view: &View<'_>, demand: &Demand) -> Result<Offer, TierError> {
        let Some(choice) = self.best(None) else {
            return Ok(if self.could_ever() { Offer::Later } else { Offer::Never });
        };
        let waiting = view.classes_before(self.distributor, demand.priority, WAITING_LOOKED_AT + 1)?;
        if waiting.len() > WAITING_LOOKED_AT as usize {
            return Ok(Offer::Later);
        }
        for class in waiting {
            if self.claims(view, &class, choice.place)? {
                return Ok(Offer::Later);
            }
        }
        Ok(Offer::Now)
    }

    /// Would a waiting task of this class go to this place? The dispatcher decides like this (`src/dispatch/schedule/choose.rs`).
    fn claims(&self, view: &View<'_>, class: &WaitingClass, place: Place) -> Result<bool, StoreError> {
        let (Some(user), Some(client)) = (view.user_by_id(class.user)?, view.client_by_id(class.client)?) else {
            return Ok(false);
        };
        let (Ok(query), Some(fleet)) = (Query::new(&class.demand, &user, &client), self.fleet()) else {
            return Ok(false);
        };
        let goes_there = |avoided: &[(ServerId, Avoidance)]| {
            let choice = fleet.best_without(&query, None, &servers(avoided));
            choice.is_some_and(|taken| taken.place.host == place.host || taken.place.server == place.server)
        };
        if !goes_there(&[]) {
            return Ok(false);
        }
        let avoiding = Avoiding::new(view, fleet, &query, class.id, self.now)?;
        let mut behind = TaskId(0);
        for _ in 0..WAITING_LOOKED_AT {
            let Some(head) = view.head(class.id, behind)? else { return Ok(false) };
            behind = head.task;
            if let Some(most) = head.at_once
                && view.lanes_of(head.task)? >= most
            {
                continue;
            }
            let own = avoiding.own(head.task, head.waiting, None)?;
            if own.is_empty() || goes_there(&own) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// The verdicts on all servers.
    pub fn verdicts(&self, for_task: Option<TaskId>) -> Vec<Verdict> {
        let verdicts = |fleet: &Fleet| fleet.explain_waiting(&self.query, for_task, &self.avoided, self.now);
        self.fleet().map(verdicts).unwrap_or_default()
    }

    /// The verdicts as a note. Those of a large fleet are long: while tasks come fast none is kept, and `explain` matches again.
    fn verdict_to_keep(&self, view: &View<'_>) -> Result<Option<String>, StoreError> {
        let servers = self.fleet().map_or(0, |fleet| fleet.servers().len());
        let quiet = |at: Timestamp| at.is_past(VERDICT_PAUSE, self.now);
        if servers == 0 || (servers > VERDICTS_FREE && !view.last_submitted_at()?.is_none_or(quiet)) {
            return Ok(None);
        }
        Ok(serde_json::to_string(&self.verdicts(None)).ok())
    }

    /// The server that would be chosen now.
    pub fn chosen(&self, view: &View<'_>) -> Result<Option<String>, StoreError> {
        let Some(choice) = self.best(None) else { return Ok(None) };
        Ok(view.server_name(choice.place.server)?.map(|name| name.to_string()))
    }

    /// What a waiting task could do without, a line each.
    pub fn relaxations(&self, for_task: Option<TaskId>) -> Vec<String> {
        let without = servers(&self.avoided);
        let who = Waiting { task: for_task, without: &without };
        self.fleet().map(|fleet| fleet.relaxations(&self.query, who).lines()).unwrap_or_default()
    }

    /// The offer, for a person.
    pub fn words(&self, offer: Offer) -> String {
        let numbers = |fleet: &Fleet| (fleet.fitting(&self.query, &servers(&self.avoided)), fleet.servers().len());
        let (fit, all) = self.fleet().map_or((0, 0), numbers);
        match offer {
            Offer::Now => format!("can start it now: {fit} of {all} servers fit"),
            Offer::Later if fit > 0 => "could run it later: others wait for the same place".to_owned(),
            Offer::Later => format!("could run it later: none of {all} servers fits now"),
            Offer::Never | Offer::Keep if all == 0 => "has no servers".to_owned(),
            Offer::Never | Offer::Keep => format!("could never run it: none of {all} servers fits"),
        }
    }
}

fn servers(avoided: &[(ServerId, Avoidance)]) -> Vec<ServerId> {
    avoided.iter().map(|(server, _)| *server).collect()
}

/// Fleets up to so many servers may keep a verdict with each placement.
pub const VERDICTS_FREE: usize = 32;
/// In larger fleets a submit keeps a verdict if none was kept in this time before it.
const VERDICT_PAUSE: Duration = Duration::from_secs(10);

/// With more waiting classes than this, or more tasks of one that wait for another place, a new task waits too: the dispatcher keeps
/// the order.
const WAITING_LOOKED_AT: u32 = 64;

/// A task to be committed.
#[derive(Debug)]
pub struct Commit<'a> {
    pub uuid: TaskUuid,
    pub round: u32,
    pub request: &'a Request,
    pub user: UserId,
    pub client: ClientId,
    pub member: &'a Record,
    /// The names of the first-tier and the second-tier member in the homes that search.
    pub route: TierRoute<'a>,
    pub search: Option<NoteId>,
    /// Held, because nothing could ever run it.
    pub unmatched: bool,
    /// Start it at once, if it is a single task.
    pub at_once: bool,
    /// The row of this home as the task's client, if the way led back.
    pub adopts: Option<TaskId>,
    /// Bytes that it was submitted with; None: of this home's own account, which has no quota.
    pub kept: Option<u64>,
    /// What it inherits on this host.
    pub environment: Option<EnvironmentId>,
}

/// Commits a new task, and gives it a server in the same transaction if it can start now.
pub fn commit(
    tx: &Tx<'_>,
    commit: &Commit<'_>,
    asked: &mut Candidates<'_>,
    now: Timestamp,
) -> Result<TaskId, TierError> {
    let verdict = asked.verdict_to_keep(tx)?;
    let kept = commit.kept.map_or(0, |bytes| bytes + verdict.as_ref().map_or(0, |verdict| 2 * verdict.len() as u64));
    let verdict = verdict.map(|verdict| tx.keep_note(&verdict)).transpose()?;
    let class = tx.class_of(commit.member.id, commit.user, commit.client, &commit.request.demand)?;
    let comes = match commit.request.launch.workplace.sent() {
        Some(sent) => !tx.has_bundle(sent.bundle)?,
        None => false,
    };
    let held = match (commit.request.hold, commit.unmatched) {
        (true, _) => Some(HELD_BY_USER),
        (_, true) => Some("unmatched: no server could ever run it"),
        _ => comes.then_some("waits for its files from where it was submitted"),
    };
    let single = commit.request.members == Members::Single;
    let place = match held.is_none() && commit.at_once && single {
        true => allocate(tx, asked, commit.adopts)?,
        false => None,
    };
    let at = match place {
        Some((choice, boot)) => {
            let (server, host) = (choice.place.server, choice.place.host);
            Some(Placing { server, host, boot, machine: None, lane: tx.new_lane()?, sent: None, verdict })
        }
        None => None,
    };
    let new = NewTask {
        uuid: commit.uuid,
        class,
        user: commit.user,
        request: commit.request,
        begins: match (held, &at) {
            (Some(why), _) => Begins::Held(why),
            (None, Some(at)) => Begins::Starting(at),
            (None, None) => Begins::Waiting,
        },
        unmatched: commit.unmatched,
        round: commit.round,
        route: commit.route,
        search: commit.search,
        verdict,
        kept,
        environment: commit.environment,
    };
    let task = match commit.adopts {
        Some(task) => {
            tx.adopt_away(task, &new, now)?;
            task
        }
        None => tx.add_task(&new, now)?,
    };
    if held.is_none() && (!commit.at_once || !single) {
        // The class's last reason no longer holds.
        tx.set_class_reason(class, (!commit.at_once).then_some("no server fits now"))?;
    }
    Ok(task)
}

/// Reserves the server of a single task, and returns it with its boot. The choice was made in the same transaction, so it still
/// holds.
fn allocate(
    tx: &Tx<'_>,
    asked: &mut Candidates<'_>,
    adopts: Option<TaskId>,
) -> Result<Option<(Choice, BootId)>, StoreError> {
    let Some(choice) = asked.best(adopts) else { return Ok(None) };
    let Some(boot) = tx.server_boot(choice.place.host)? else { return Ok(None) };
    tx.take(choice.place.server, choice.place.host, asked.query.needs())?;
    asked.fleets.book(choice.place, asked.query.needs(), Booking::Take);
    if !asked.fleets.are_kept() {
        // A running dispatcher counts what is taken by itself.
        tx.touch_server(choice.place.host)?;
    }
    Ok(Some((choice, boot)))
}

/// Releases tasks that are held as unmatched, if a server could run them now. Returns their number.
pub fn reconsider_unmatched(tx: &Tx<'_>, fleets: &mut Fleets, now: Timestamp) -> Result<u32, TierError> {
    let mut freed = 0;
    for (task, class) in tx.unmatched(1_000)? {
        let Some(class) = tx.class(class)? else { continue };
        let (Some(user), Some(client)) = (tx.user_by_id(class.user)?, tx.client_by_id(class.client)?) else { continue };
        let asked = Candidates::new(tx, fleets, class.distributor, Query::new(&class.demand, &user, &client)?, now)?;
        if asked.could_ever() {
            if tx.task(task)?.is_some_and(|row| row.is_held_by_user()) {
                tx.clear_unmatched_of_held(task)?;
                tx.trace(task, now, "a server could run it now: stays held until it is released")?;
                continue;
            }
            let mut ledger = Ledger::open(tx, now);
            ledger.shift(task, None, Phase::Held, Phase::Waiting)?;
            ledger.close()?;
            tx.clear_unmatched(task)?;
            tx.trace(task, now, "a server could run it now: waits")?;
            freed += 1;
        }
    }
    Ok(freed)
}
