//! The answers of this home, question by question.

use super::go::CallerOf;
use super::identity::Identity;
use super::tasks::OpenQuestion;
use super::{ServeSession, servers, tasks};
use crate::dispatch::client::relay::Relay;
use crate::distributor::context::TierContext;
use crate::distributor::fleets::Fleets;
use crate::distributor::front::{PlaceQuestion, Sought};
use crate::distributor::principal::{Access, Principal, Reach};
use crate::distributor::serve::{self, CommitQuestion, OfferQuestion, TierQuestion};
use crate::distributor::tier2::TierError;
use crate::model::ambient::System;
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
    matches!(question, Question::Place(_) | Question::PlaceOnGo(_) | Question::Commit { .. })
}

/// Answers one question; interim answers are sent on the way. The fleets are those of an earlier question, or none.
pub fn answer(
    session: &ServeSession,
    grid: &mut Grid,
    fleets: &mut Fleets,
    ticket: Ticket,
    question: Question,
) -> Result<Answer, OpsError> {
    let on_go = question.waits_for_go();
    match question {
        Question::Place(mut envelope) | Question::PlaceOnGo(mut envelope) => {
            let (principal, identity) = receive(session, grid, &mut envelope)?;
            envelope.user = identity.name().cloned();
            tiers(session, grid, fleets, ticket, &principal, TierQuestion::Place(PlaceQuestion { envelope, on_go }))
        }
        Question::Look(mut envelope) => {
            let (principal, identity) = receive(session, grid, &mut envelope)?;
            envelope.user = identity.name().cloned();
            tiers(session, grid, fleets, ticket, &principal, TierQuestion::Look(envelope))
        }
        Question::Offer { at, mut envelope, called, why, even_drained } => {
            let (principal, _) = receive(session, grid, &mut envelope)?;
            let asked = TierQuestion::Offer(OfferQuestion {
                at: at.as_ref(),
                called: called.as_ref(),
                envelope: &envelope,
                why,
                even_drained,
            });
            tiers(session, grid, fleets, ticket, &principal, asked)
        }
        Question::Commit { at, mut envelope, how, way } => {
            let (principal, _) = receive(session, grid, &mut envelope)?;
            let asked = TierQuestion::Commit(CommitQuestion { at: at.as_ref(), envelope: &envelope, how, way: &way });
            tiers(session, grid, fleets, ticket, &principal, asked)
        }
        Question::Find { uuid, round, onward, age_ms, among, user } => {
            let principal = finder(session, grid, user.as_ref())?;
            let sought = Sought { uuid, round, onward, age: Duration::from_millis(age_ms), among };
            tiers(session, grid, fleets, ticket, &principal, TierQuestion::Find(sought))
        }
        Question::Task { owner, user, uuid, verb } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            tasks::task(&OpenQuestion { session, ticket, identity }, grid, owner, uuid, verb)
        }
        Question::GiveUp { owner, user, uuid, round } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            if owner != grid.store.view().home_row()?.id {
                let asked = OpenQuestion { session, ticket, identity };
                let user = asked.user();
                return tasks::pass_on(&asked, grid, owner, &Question::GiveUp { owner, user, uuid, round });
            }
            let principal = principal_of(session, grid, &identity, user.as_ref())?;
            tiers(session, grid, fleets, ticket, &principal, TierQuestion::GiveUp { uuid, round })
        }
        Question::States { owner, user, uuids } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            tasks::states(&OpenQuestion { session, ticket, identity }, grid, owner, uuids)
        }
        Question::Watch { owner, user, uuids } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            tasks::watch(&OpenQuestion { session, ticket, identity }, grid, owner, uuids)
        }
        Question::Heard { owner, user, ends } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            tasks::confirmed(&OpenQuestion { session, ticket, identity }, grid, owner, ends)
        }
        Question::Register { offers, report } => {
            crate::ops::registry::receive(session.peer, &session.credentials, grid, &report, Some(&offers))
        }
        Question::Manage { user, at, server, order } => {
            let identity = session.credentials.identity(&grid.store.view(), user.as_ref())?;
            servers::manage(grid, &identity, at, &server, &order)
        }
        Question::Transfer(report) => {
            crate::ops::registry::receive(session.peer, &session.credentials, grid, &report, None)
        }
    }
}

/// A question to the tiers. A task that was committed here is started, also if the caller is gone by now.
fn tiers(
    session: &ServeSession,
    grid: &mut Grid,
    fleets: &mut Fleets,
    ticket: Ticket,
    principal: &Principal,
    asked: TierQuestion<'_>,
) -> Result<Answer, OpsError> {
    let commits = matches!(asked, TierQuestion::Commit(_));
    let takes = commits || matches!(asked, TierQuestion::Place(_));
    // What was kept for a task that is given up is free.
    let wakes = takes || matches!(asked, TierQuestion::GiveUp { .. });
    let mut peers = Relay::new(grid.store.home(), &grid.login);
    let mut context = TierContext { store: &mut grid.store, peers: &mut peers, ambient: &System };
    let mut asker = CallerOf { session, ticket, redirects: 0 };
    let answer = match serve::answer(&mut context, fleets, principal, asked, &mut asker) {
        // One transaction, which was refused before its commit.
        Err(TierError::Store(error @ StoreError::Gone { .. })) if commits => return Err(error.into()),
        // Where the database fails, it is not known whether the task was taken before that.
        Err(TierError::Store(error)) if takes => Answer::Unsure { member: "it".to_owned(), why: error.to_string() },
        other => other.map_err(refusal)?,
    };
    if wakes && let Err(error) = dispatcher::wake(grid) {
        tracing::warn!("the dispatcher was not woken: {error}");
    }
    if principal.access == Access::User {
        move_log(grid);
    }
    Ok(answer)
}

/// Keeps the log short after a user's question. A refused question wakes no dispatcher that would do it, and the log of large tasks
/// takes as much of the disk as they do.
fn move_log(grid: &Grid) {
    let store = &grid.store;
    let log = if store.log_len() > LOG_MAX { Log::Goes } else { Log::Stays };
    if log == Log::Goes || store.log_pages().is_ok_and(|pages| pages > PAGES_MAX) {
        let moved = store.checkpoint(log);
        moved.unwrap_or_else(|error| tracing::warn!("the log was not moved into the database: {error}"));
    }
}

/// The principal of a `Find`. A caller that may not speak for the user has never had a task of that user taken here, and is told
/// nothing of those that are here.
fn finder(session: &ServeSession, grid: &Grid, claimed: Option<&Name>) -> Result<Principal, OpsError> {
    let view = grid.store.view();
    match session.credentials.identity(&view, claimed) {
        Ok(identity) => principal_of(session, grid, &identity, claimed),
        Err(OpsError::Refused(_)) if claimed.is_some() => {
            let principal = principal_of(session, grid, &session.credentials.identity(&view, None)?, None)?;
            Ok(Principal { reach: Reach::Nothing, ..principal })
        }
        Err(error) => Err(error),
    }
}

fn principal_of(
    session: &ServeSession,
    grid: &Grid,
    identity: &Identity,
    claimed: Option<&Name>,
) -> Result<Principal, OpsError> {
    let (home, vouches) = (session.credentials.home.clone(), session.credentials.vouch.is_some() && claimed.is_none());
    let Identity::User { name, .. } = identity else {
        return Ok(Principal { access: Access::Owner, home, ..Principal::resident(grid.me.clone()) });
    };
    let reach = match () {
        () if vouches || identity.may(Role::Operate) => Reach::All,
        () if identity.may(Role::SeeAll) => Reach::Sees,
        () => Reach::Own,
    };
    let (access, kept) = match identity.may(Role::Administer) {
        true => (Access::Administrator, KeptFile::NOTHING),
        false => (Access::User, session.kept(grid, name)?),
    };
    Ok(Principal { user: name.clone(), access, reach, home, kept, environment: None })
}

/// Checks an envelope from another home: its size, its hops, and who sends it.
fn receive(session: &ServeSession, grid: &Grid, envelope: &mut Envelope) -> Result<(Principal, Identity), OpsError> {
    envelope.may_travel().map_err(OpsError::Refused)?;
    if envelope.hops >= HOPS_MAX {
        let hops = envelope.hops;
        return Err(OpsError::Refused(format!("this task has passed {hops} homes: do they redirect in a circle?")));
    }
    envelope.hops += 1;
    let identity = session.credentials.identity(&grid.store.view(), envelope.user.as_ref())?;
    Ok((principal_of(session, grid, &identity, envelope.user.as_ref())?, identity))
}

/// The answer for an error. `unable`: the answer if this home itself has failed, on this host: processes and files that it names are there.
pub fn of_error(error: &OpsError, unable: fn(String) -> Answer, host: &str) -> Answer {
    match error {
        OpsError::Store(_) | OpsError::Dispatcher(_) | OpsError::Grid(_) => unable(format!("on {host}: {error}")),
        OpsError::Unknown { .. } => Answer::Unknown(error.to_string()),
        OpsError::NoMatch { summary, reasons } | OpsError::Denied { summary, reasons } => {
            Answer::Denied([&[summary.clone()][..], reasons].concat().join("; "))
        }
        other => Answer::Denied(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_that_an_error_names_is_told_with_its_host() {
        let stopped = OpsError::Grid("the dispatcher (process 7) is stopped: `kill -CONT 7`".to_owned());
        let told = of_error(&stopped, Answer::Denied, "h7");
        assert_eq!(told, Answer::Denied(format!("on h7: {stopped}")));
        let refused = OpsError::Refused("no".to_owned());
        assert_eq!(of_error(&refused, Answer::Denied, "h7"), Answer::Denied("no".to_owned()));
    }
}
