//! A task that waits in one home moves to another one. Its owner gives it up durably first, under a tombstone; then its client's home
//! searches for it anew, in the next series of rounds. The row of the client's home says so before the owner is asked, and the owner
//! decides once for each series, so what was cut in between is asked again and gets the same answer.

use super::context::TierContext;
use super::front::series_end;
use super::members::words_of;
use super::owner::{OwnerHome, confirm, unknown_there, ways};
use super::peers::{PeerError, silently};
use super::principal::{Access, Principal, Reach};
use super::quotas;
use super::reconcile::{Reconciled, again, tell_cancel};
use super::search_lock::SearchLock;
use super::snapshot;
use super::tier2::TierError;
use crate::model::bounds;
use crate::model::distributor::{Endpoint, Tier};
use crate::model::failpoint::failpoint;
use crate::model::id::{HomeId, TaskId, TaskUuid};
use crate::model::task::{Request, State};
use crate::protocol::distributor::{Answer, Question, Snapshot};
use crate::protocol::envelope::Sealed;
use crate::protocol::seal;
use crate::store::away::{AskedAway, Away, AwayState};
use crate::store::tombstones::Refuses;
use crate::store::{Durability, StoreError};

/// What came of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MoveOutcome {
    /// Its owner gave it up; what the search gave.
    GivenUp(Reconciled),
    /// It stays where it was, for this reason.
    Stays(String),
    /// Its owner has not said whether it gave it up, for this reason: it is asked again.
    Unsure(String),
}

/// What the owner of a task answers to the question to give it up.
enum OwnerReply {
    GaveUp,
    Keeps {
        why: String,
        task: Box<Snapshot>,
    },
    /// It does not have it, and did not give it up.
    Unknown,
    /// It has not heard the question.
    Unheard(String),
    /// It may have heard the question.
    Unsure(String),
}

/// Up to this round an owner that gives a task up refuses it: through the search that follows, so that it takes the task back only
/// where no other member takes it.
const fn refused_until(round: u32) -> u32 {
    series_end(series_end(round) + 1)
}

const BUSY: &str = "another command searches for it, or moves it";

/// Takes the lock under which a task is searched for or moved. None: another process has it.
fn lock(context: &TierContext<'_>, uuid: TaskUuid) -> Result<Option<SearchLock>, StoreError> {
    let home = context.store.home();
    SearchLock::try_begin(home, uuid).map_err(|error| StoreError::Unwritable { path: home.run_dir(), error })
}

/// Moves a task that another home holds. No other process searches for it meanwhile.
pub fn move_away(context: &mut TierContext<'_>, task: TaskId, principal: &Principal) -> Result<MoveOutcome, TierError> {
    let stays = |why: &str| Ok(MoveOutcome::Stays(why.to_owned()));
    let Some(away) = context.store.view().away(task)? else { return stays("it is in this home") };
    let Some(_lock) = lock(context, away.uuid)? else { return stays(BUSY) };
    // As it is now that no other process changes it.
    let away = context.store.view().away(task)?;
    let Some(away @ Away { held: AwayState::By { home: owner, .. }, .. }) = away else {
        return stays("no home has confirmed yet that it holds it");
    };
    if away.asked_at < context.store.view().begins_at()? {
        return stays("this home was made of another one since, which may have moved it elsewhere");
    }
    if resealed(context, task)?.is_none() {
        return stays("what was sealed can't be read");
    }
    if !context.store.write(Durability::Full, |tx| tx.begin_move(&away, owner))? {
        return stays("a cancel is asked for it");
    }
    failpoint("move-begun");
    let Some(away) = context.store.view().away(task)? else { return stays("it is gone") };
    match ask_and_record(context, &away, owner, principal)? {
        Ok(outcome) => Ok(outcome),
        Err(unheard) => {
            // The owner has not heard of it: nothing has changed.
            context.store.write(Durability::Full, |tx| tx.end_move(&away, away.round))?;
            Ok(MoveOutcome::Stays(unheard))
        }
    }
}

/// Moves a task of this home, which gives it up in one transaction. `request`: as it is offered to others.
pub fn move_own(
    context: &mut TierContext<'_>,
    task: TaskId,
    request: &Request,
    principal: &Principal,
) -> Result<MoveOutcome, TierError> {
    let stays = |why: String| Ok(MoveOutcome::Stays(why));
    let (sealed, list) = seal::seal(request).map_err(|error| TierError::Denied(error.to_string()))?;
    let Some(row) = context.store.view().task(task)? else { return stays("it is gone".to_owned()) };
    let Some(_lock) = lock(context, row.uuid)? else { return stays(BUSY.to_owned()) };
    let now = context.now();
    let given_up = context.store.write(Durability::Full, |tx| {
        // As it is now that no other process changes it.
        let (Some(row), None) = (tx.task(task)?, tx.away(task)?) else {
            return Ok(Err("it has moved meanwhile".to_owned()));
        };
        if let Some(why) = tx.why_stays(task)? {
            return Ok(Err(why.to_string()));
        }
        let (Some(front), Some(class)) = (tx.distributors(Tier::First)?.into_iter().next(), tx.class(row.class)?)
        else {
            return Ok(Err("this home has no first-tier distributor".to_owned()));
        };
        let class = tx.class_of(front.id, class.user, class.client, &request.demand)?;
        // A home that was asked to take it before, and is late, takes it no more.
        tx.add_tombstone(row.uuid, refused_until(row.round), Refuses::Everybody, now)?;
        tx.give_up_own(task, class, front.name.as_str())?;
        let (sealed, list) = (sealed.as_bytes(), list.as_ref().map(Sealed::as_bytes));
        let (round, asked) = (row.round, &Endpoint::Local);
        tx.ask_away(task, AskedAway { sealed, list, round, asked, onward: false }, now)?;
        tx.trace(task, now, &format!("{} gave it up: it moves", row.tier2))?;
        Ok::<_, TierError>(Ok(row.tier2))
    })?;
    let from = match given_up {
        Ok(from) => from,
        Err(why) => return stays(why),
    };
    failpoint("move-recorded");
    searched(context, task, &from, principal).map(MoveOutcome::GivenUp)
}

/// Searches for a task that was given up.
fn searched(
    context: &mut TierContext<'_>,
    task: TaskId,
    from: &str,
    principal: &Principal,
) -> Result<Reconciled, TierError> {
    let mut reconciled = Reconciled::Nobody;
    // The home that gave it up refuses it in the first search, and may take it back in the second.
    for _ in 0..2 {
        let Some(away) = context.store.view().away(task)? else { return Ok(Reconciled::Placed) };
        reconciled = again(context, &away, principal)?;
        if reconciled != Reconciled::Nobody {
            break;
        }
    }
    failpoint("move-placed");
    let row = context.store.view().task(task)?.filter(|row| row.state() != State::Cancelled);
    if reconciled == Reconciled::Placed
        && let Some(row) = row
    {
        let now = context.now();
        let moved = match row.tier2.as_str() {
            to if to == from => format!("taken back by {from}"),
            to => format!("moved from {from} to {to}"),
        };
        context.store.write::<_, StoreError>(Durability::Normal, |tx| tx.trace(task, now, &moved))?;
    }
    Ok(reconciled)
}

/// Asks the owner of a moving task again. After its answer the search is resumed.
pub(super) fn reconcile(
    context: &mut TierContext<'_>,
    away: &Away,
    principal: &Principal,
) -> Result<Reconciled, TierError> {
    let Some(_lock) = lock(context, away.uuid)? else { return Ok(Reconciled::GoingOn) };
    // As it is now that no other process changes it.
    let Some(away) = &context.store.view().away(away.task)? else { return Ok(Reconciled::Placed) };
    let AwayState::Moving { home, .. } = away.held else { return Ok(Reconciled::Placed) };
    match ask_and_record(context, away, home, principal)? {
        Ok(MoveOutcome::GivenUp(reconciled)) => Ok(reconciled),
        Ok(MoveOutcome::Stays(_)) => Ok(Reconciled::Placed),
        Ok(MoveOutcome::Unsure(_)) => Ok(Reconciled::Open),
        // An earlier question may have been heard.
        Err(unheard) => still_asked(context, away, unheard).map(|_| Reconciled::Open),
    }
}

/// Asks the owner, and does what its answer says. An error: the owner has not heard the question.
fn ask_and_record(
    context: &mut TierContext<'_>,
    away: &Away,
    owner: HomeId,
    principal: &Principal,
) -> Result<Result<MoveOutcome, String>, TierError> {
    let (task, round) = (away.task, refused_until(away.round));
    let mut reply = ask_owner(context, away, owner, round)?;
    if matches!(reply, OwnerReply::Unknown) {
        // A build that asked for fewer rounds may have been heard, and replaced since.
        reply = ask_owner(context, away, owner, series_end(away.round))?;
    }
    failpoint("move-answered");
    let now = context.now();
    let from = context.store.view().task(task)?.map(|row| row.tier2).unwrap_or_default();
    match reply {
        OwnerReply::GaveUp => {
            let sealed = resealed(context, task)?
                .ok_or_else(|| TierError::Denied("what was sealed can't be read".to_owned()))?;
            let given_up = context.store.write::<_, StoreError>(Durability::Full, |tx| {
                let given_up = tx.given_up_away(away, sealed.as_bytes())?;
                if given_up {
                    tx.trace(task, now, &format!("{from} gave it up: it moves"))?;
                }
                Ok(given_up)
            })?;
            failpoint("move-recorded");
            let reconciled = match given_up {
                true => searched(context, task, &from, principal)?,
                false => Reconciled::Placed,
            };
            Ok(Ok(MoveOutcome::GivenUp(reconciled)))
        }
        OwnerReply::Keeps { why, task: said } => {
            let mut cut = format!("{from} keeps it: {why}");
            bounds::cut(&mut cut);
            let end = context.store.write::<_, StoreError>(Durability::Full, |tx| {
                if !tx.end_move(away, round + 1)? {
                    return Ok(None);
                }
                tx.trace(task, now, &cut)?;
                snapshot::hear(tx, task, &said, now)
            })?;
            confirm(context.store, context.peers, OwnerHome { home: owner, asked: &away.asked }, end)?;
            stayed(context, task)?;
            Ok(Ok(MoveOutcome::Stays(why)))
        }
        OwnerReply::Unknown => {
            let why = unknown_there(task, false);
            context.store.write::<_, StoreError>(Durability::Full, |tx| {
                if tx.end_move(away, round + 1)? {
                    tx.set_away_reason(task, &why)?;
                }
                Ok(())
            })?;
            stayed(context, task)?;
            Ok(Ok(MoveOutcome::Stays(why)))
        }
        OwnerReply::Unheard(why) => Ok(Err(why)),
        OwnerReply::Unsure(why) => Ok(Ok(MoveOutcome::Unsure(still_asked(context, away, why)?))),
    }
}

/// A cancel that was recorded meanwhile has somebody to hear it now.
fn stayed(context: &mut TierContext<'_>, task: TaskId) -> Result<(), TierError> {
    match context.store.view().away(task)? {
        Some(away) => tell_cancel(context, &away).map(drop),
        None => Ok(()),
    }
}

/// The owner did not answer: it is asked again later. Gives the reason that the task has now.
fn still_asked(context: &mut TierContext<'_>, away: &Away, mut why: String) -> Result<String, TierError> {
    let now = context.now();
    bounds::cut(&mut why);
    let why = format!(
        "it is asked again whether it gave the task up: {why}; if it is lost for good, `grid cancel --forget {}` gives the task up",
        away.task
    );
    context.store.write(Durability::Normal, |tx| {
        tx.unheard_away(away.task, now)?;
        tx.set_reason(away.task, Some(&why))
    })?;
    Ok(why)
}

/// Asks the owner by each way until one leads to it.
fn ask_owner(context: &mut TierContext<'_>, away: &Away, owner: HomeId, round: u32) -> Result<OwnerReply, TierError> {
    let question = Question::GiveUp { owner, user: None, uuid: away.uuid, round };
    let (mut failures, mut heard) = (Vec::new(), false);
    for endpoint in ways(&context.store.view(), OwnerHome { home: owner, asked: &away.asked }, true)? {
        let why = match context.peers.ask(&endpoint, &question, &mut silently) {
            Ok(Answer::Nowhere) => return Ok(OwnerReply::GaveUp),
            Ok(Answer::Kept { why, task }) => return Ok(OwnerReply::Keeps { why, task: Box::new(task) }),
            Ok(Answer::Unknown(_)) => return Ok(OwnerReply::Unknown),
            // An older grid on the way: it was not asked.
            Ok(Answer::No { why }) => why,
            // A first tier that lost its own link to the owner says this too.
            Ok(other) => {
                heard = true;
                words_of(other)
            }
            Err(PeerError::Unreached(why) | PeerError::Late(why)) => why,
            Err(PeerError::Cut(why)) => {
                heard = true;
                why
            }
        };
        failures.push(format!("{endpoint}: {why}"));
    }
    if failures.is_empty() {
        failures.push("no distributor that answers leads there".to_owned());
    }
    let why = failures.join("; ");
    Ok(if heard { OwnerReply::Unsure(why) } else { OwnerReply::Unheard(why) })
}

/// A task as it is offered from now on: its owner gives up none that is held, so a hold of its submit is over.
fn resealed(context: &TierContext<'_>, task: TaskId) -> Result<Option<Sealed>, StoreError> {
    let Some(kept) = context.store.view().sealed(task)? else { return Ok(None) };
    let sealed = Sealed::from_bytes(kept.sealed);
    let Ok(mut request) = seal::open(&sealed) else { return Ok(None) };
    if !request.hold {
        return Ok(Some(sealed));
    }
    request.hold = false;
    Ok(seal::seal(&request).ok().map(|(sealed, _)| sealed))
}

/// Answers [`Question::GiveUp`], for good up to its round: what was decided once is said again.
pub fn give_up(
    context: &mut TierContext<'_>,
    uuid: TaskUuid,
    round: u32,
    principal: &Principal,
) -> Result<Answer, TierError> {
    let now = context.now();
    failpoint("move-asked");
    let answer = context.store.write(Durability::Full, |tx| {
        let unknown = || Answer::Unknown(format!("no task {uuid}"));
        let Some(task) = tx.held_by_uuid(uuid)?.0 else {
            // A task that was removed here has ended: it leaves a tombstone of another kind, or none.
            let upto = principal.tombstoned(tx, uuid)?;
            let given_up = upto.is_some_and(|upto| upto >= round && upto < u32::MAX);
            return Ok(if given_up { Answer::Nowhere } else { unknown() });
        };
        let Some(row) = tx.task(task)? else { return Ok(unknown()) };
        let theirs = !principal.access.is_other() || (row.user == principal.user && principal.reach != Reach::Nothing);
        if !theirs {
            return Ok(unknown());
        }
        let why = match row.round > round {
            true => Some("it was kept when it was asked for before".to_owned()),
            false if principal.access == Access::Resident || !tx.is_foreign(task)? => {
                Some("it was submitted in that home".to_owned())
            }
            false => tx.why_stays(task)?.map(|why| why.to_string()),
        };
        let why = match why {
            None => match quotas::add_tombstone(tx, uuid, round, principal, now) {
                Ok(()) => None,
                Err(TierError::Denied(why)) => Some(why),
                Err(error) => return Err(error),
            },
            why => why,
        };
        let Some(why) = why else {
            tx.give_up(task)?;
            return Ok(Answer::Nowhere);
        };
        if row.round <= round {
            tx.keep_in_round(task, round + 1)?;
        }
        Ok(Answer::Kept { why, task: snapshot::of(tx, task)? })
    })?;
    failpoint("move-given-up");
    Ok(answer)
}
