//! What this home answers to each question.

use super::visitor::Visitor;
use super::{ServeSession, servers, tasks};
use crate::dispatch::client::relay::Relay;
use crate::distributor::fleets::Fleets;
use crate::distributor::front::Sought;
use crate::distributor::guest::{Access, Guest, Reach};
use crate::distributor::serve::{self, TierQuestion};
use crate::distributor::tier2::TierError;
use crate::model::name::Name;
use crate::model::user::Role;
use crate::ops::submit::refusal;
use crate::ops::{Grid, OpsError, dispatcher};
use crate::protocol::distributor::{Answer, Question, Ticket};
use crate::protocol::envelope::Envelope;
use crate::store::files::KeptFile;
use crate::store::{Log, StoreError};
use std::time::Duration;

/// A log of more pages than this is moved into the database after a user's question ..
const PAGES_MAX: u32 = 1_000;
/// .. and one of more bytes is cut.
const LOG_MAX: u64 = 4 << 20;
/// Homes that one task may pass.
const HOPS_MAX: u8 = 4;

/// May this home hold a task by its answer to this?
pub const fn takes(question: &Question) -> bool {
    matches!(question, Question::Place(_) | Question::Commit { .. })
}

/// Answers one question; words before the answer are said on the way. The fleets are those of an earlier one, or none.
pub fn answer(
    desk: &ServeSession,
    grid: &mut Grid,
    fleets: &mut Fleets,
    ticket: Ticket,
    question: Question,
) -> Result<Answer, OpsError> {
    match question {
        Question::Place(mut envelope) => {
            let (guest, visitor) = receive(desk, grid, &mut envelope)?;
            envelope.user = visitor.name().cloned();
            tiers(desk, (grid, fleets), ticket, &guest, TierQuestion::Place(envelope))
        }
        Question::Look(mut envelope) => {
            let (guest, visitor) = receive(desk, grid, &mut envelope)?;
            envelope.user = visitor.name().cloned();
            tiers(desk, (grid, fleets), ticket, &guest, TierQuestion::Look(envelope))
        }
        Question::Offer { at, mut envelope, called, why } => {
            let (guest, _) = receive(desk, grid, &mut envelope)?;
            let asked = TierQuestion::Offer { at: at.as_ref(), called: called.as_ref(), envelope: &envelope, why };
            tiers(desk, (grid, fleets), ticket, &guest, asked)
        }
        Question::Commit { at, mut envelope, how, way } => {
            let (guest, _) = receive(desk, grid, &mut envelope)?;
            let asked = TierQuestion::Commit { at: at.as_ref(), envelope: &envelope, how, way: &way };
            tiers(desk, (grid, fleets), ticket, &guest, asked)
        }
        Question::Find { uuid, round, onward, age_ms, among, user } => {
            let guest = finder(desk, grid, user.as_ref())?;
            let sought = Sought { uuid, round, onward, age: Duration::from_millis(age_ms), among };
            tiers(desk, (grid, fleets), ticket, &guest, TierQuestion::Find(sought))
        }
        Question::Task { owner, user, uuid, verb } => {
            let visitor = desk.badge.visitor(&grid.store.view(), user.as_ref())?;
            tasks::task(desk, grid, ticket, owner, &visitor, uuid, verb)
        }
        Question::States { owner, user, uuids } => {
            let visitor = desk.badge.visitor(&grid.store.view(), user.as_ref())?;
            tasks::states(desk, grid, ticket, owner, &visitor, uuids, false)
        }
        Question::Watch { owner, user, uuids } => {
            let visitor = desk.badge.visitor(&grid.store.view(), user.as_ref())?;
            tasks::states(desk, grid, ticket, owner, &visitor, uuids, true)
        }
        Question::Register { offers, report } => {
            crate::ops::registry::receive(desk.peer, &desk.badge, grid, &report, Some(&offers))
        }
        Question::Manage { user, at, server, order } => {
            let visitor = desk.badge.visitor(&grid.store.view(), user.as_ref())?;
            servers::manage(grid, &visitor, at, &server, &order)
        }
        Question::Transfer(report) => crate::ops::registry::receive(desk.peer, &desk.badge, grid, &report, None),
    }
}

/// A question to the tiers. What was taken in here is started, also if the caller is gone by now.
fn tiers(
    desk: &ServeSession,
    (grid, fleets): (&mut Grid, &mut Fleets),
    ticket: Ticket,
    guest: &Guest,
    asked: TierQuestion<'_>,
) -> Result<Answer, OpsError> {
    let commits = matches!(asked, TierQuestion::Commit { .. });
    let takes = commits || matches!(asked, TierQuestion::Place(_));
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut each = |word| desk.say(ticket, word, false);
    let answer = match serve::answer(&mut grid.store, fleets, &mut peers, guest, asked, &mut each) {
        // One transaction, which was refused before its commit.
        Err(TierError::Store(error @ StoreError::Gone { .. })) if commits => return Err(error.into()),
        // Where the database fails, it is not known whether the task was taken before that.
        Err(TierError::Store(error)) if takes => Answer::Unsure { member: "it".to_owned(), why: error.to_string() },
        other => other.map_err(refusal)?,
    };
    if takes && let Err(error) = dispatcher::wake(grid) {
        tracing::warn!("the dispatcher was not woken: {error}");
    }
    if guest.standing == Access::User {
        move_log(grid);
    }
    Ok(answer)
}

/// Keeps the log short behind a user's question. No dispatcher may be there to do it, for what is refused wakes none; and the log of
/// large tasks takes as much of the disk as they do.
fn move_log(grid: &Grid) {
    let store = &grid.store;
    let log = if store.log_len() > LOG_MAX { Log::Goes } else { Log::Stays };
    if log == Log::Goes || store.log_pages().is_ok_and(|pages| pages > PAGES_MAX) {
        let moved = store.checkpoint(log);
        moved.unwrap_or_else(|error| tracing::warn!("the log was not moved into the database: {error}"));
    }
}

/// Who asks where a task is. One that may not speak for that user has never had a task of it taken here: of those that are here it
/// is told nothing.
fn finder(desk: &ServeSession, grid: &Grid, claimed: Option<&Name>) -> Result<Guest, OpsError> {
    let view = grid.store.view();
    match desk.badge.visitor(&view, claimed) {
        Ok(visitor) => guest_of(desk, grid, &visitor, claimed),
        Err(OpsError::Refused(_)) if claimed.is_some() => {
            let guest = guest_of(desk, grid, &desk.badge.visitor(&view, None)?, None)?;
            Ok(Guest { reach: Reach::Nothing, ..guest })
        }
        Err(error) => Err(error),
    }
}

fn guest_of(desk: &ServeSession, grid: &Grid, visitor: &Visitor, claimed: Option<&Name>) -> Result<Guest, OpsError> {
    let (home, vouches) = (desk.badge.home.clone(), desk.badge.vouch.is_some() && claimed.is_none());
    let Visitor::User { name, .. } = visitor else {
        return Ok(Guest { standing: Access::Owner, home, ..Guest::resident(grid.me.clone()) });
    };
    let reach = match () {
        () if vouches || visitor.may(Role::Operate) => Reach::All,
        () if visitor.may(Role::SeeAll) => Reach::Sees,
        () => Reach::Own,
    };
    let (standing, kept) = match visitor.may(Role::Administer) {
        true => (Access::Administrator, KeptFile::NOTHING),
        false => (Access::User, desk.kept(grid, name)?),
    };
    Ok(Guest { user: name.clone(), standing, reach, home, kept })
}

/// An envelope at the door: its size, its way, and who sends it.
fn receive(desk: &ServeSession, grid: &Grid, envelope: &mut Envelope) -> Result<(Guest, Visitor), OpsError> {
    envelope.may_travel().map_err(OpsError::Refused)?;
    if envelope.hops >= HOPS_MAX {
        let hops = envelope.hops;
        return Err(OpsError::Refused(format!("this task has passed {hops} homes: do they redirect in a circle?")));
    }
    envelope.hops += 1;
    let visitor = desk.badge.visitor(&grid.store.view(), envelope.user.as_ref())?;
    Ok((guest_of(desk, grid, &visitor, envelope.user.as_ref())?, visitor))
}

/// An error, as the caller is told it. `unable`: how, where it is this home's own trouble.
pub fn of_error(error: &OpsError, unable: fn(String) -> Answer) -> Answer {
    match error {
        OpsError::Store(_) | OpsError::Grid(_) => unable(error.to_string()),
        OpsError::Unknown { .. } => Answer::Unknown(error.to_string()),
        OpsError::NoMatch { summary, reasons } | OpsError::Denied { summary, reasons } => {
            Answer::Denied([&[summary.clone()][..], reasons].concat().join("; "))
        }
        other => Answer::Denied(other.to_string()),
    }
}
