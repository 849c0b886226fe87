//! What this home answers to each question.

use super::visitor::Visitor;
use super::{Desk, tasks};
use crate::dispatch::relay::Relay;
use crate::distributor::desk::{self, Came, Guest, Taking};
use crate::distributor::front::{self, Sought};
use crate::distributor::search::{Trace, skipped};
use crate::distributor::snapshot;
use crate::model::failpoint::failpoint;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::ops::submit::refusal;
use crate::ops::{Grid, OpsError, dispatcher};
use crate::protocol::distributor::{Answer, ENVELOPE_MAX, How, Placed, Question, Ticket, Way};
use crate::protocol::envelope::Envelope;
use crate::store::Durability;
use std::time::Duration;

/// Homes that one task may pass.
const HOPS_MAX: u8 = 4;

/// Answers one question; words before the answer are said on the way.
pub fn answer(desk: &Desk, grid: &mut Grid, ticket: Ticket, question: Question) -> Result<Answer, OpsError> {
    match question {
        Question::Place(mut envelope) => {
            let (guest, visitor) = receive(desk, grid, &mut envelope)?;
            envelope.user = visitor.name().cloned();
            let mut peers = Relay::new(grid.store.home(), &grid.login);
            let mut each = |word| desk.say(ticket, word, false);
            let answer = front::place(&mut grid.store, &mut peers, envelope, &guest, &mut each).map_err(refusal)?;
            failpoint("front-before-answer");
            dispatcher::wake(grid)?;
            Ok(answer)
        }
        Question::Offer { at, mut envelope } => {
            let (guest, _) = receive(desk, grid, &mut envelope)?;
            let at = at.as_ref();
            failpoint("second-before-offer");
            let answer = grid.store.read(|view| {
                let Some(member) = desk::member_at(view, at)? else { return Ok(nobody(at)) };
                if let Some(why) = skipped(&member) {
                    return Ok(Answer::Denied(why));
                }
                let look = desk::look(view, &member, &envelope, &guest, Timestamp::now()).map_err(refusal)?;
                Ok::<_, OpsError>(Answer::Offered(look.offered()))
            });
            failpoint("second-after-offer");
            answer
        }
        Question::Commit { at, mut envelope, how, way } => {
            let (guest, _) = receive(desk, grid, &mut envelope)?;
            commit(grid, at.as_ref(), &envelope, how, &way, &guest)
        }
        Question::Find { uuid, round, onward, age_ms, among } => {
            // Whoever may come in may ask where its own task is; the uuid is known to nobody else.
            desk.badge.visitor(&grid.store.view(), None)?;
            let sought = Sought { uuid, round, onward, age: Duration::from_millis(age_ms), among };
            let mut peers = Relay::new(grid.store.home(), &grid.login);
            let mut each = |word| desk.say(ticket, word, false);
            front::find(&mut grid.store, &mut peers, &sought, &mut each).map_err(refusal)
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
        Question::Transfer(report) => crate::ops::registry::receive(desk.peer, &desk.badge, grid, &report, None),
    }
}

/// An envelope at the door: its size, its way, and who sends it.
fn receive(desk: &Desk, grid: &Grid, envelope: &mut Envelope) -> Result<(Guest, Visitor), OpsError> {
    if envelope.sealed.as_bytes().len() > ENVELOPE_MAX {
        return Err(OpsError::Refused(format!(
            "a task of {} bytes: {ENVELOPE_MAX} at most may travel between homes",
            envelope.sealed.as_bytes().len()
        )));
    }
    if envelope.hops >= HOPS_MAX {
        return Err(OpsError::Refused(format!(
            "this task has passed {} homes: do they redirect in a circle?",
            envelope.hops
        )));
    }
    envelope.hops += 1;
    let visitor = desk.badge.visitor(&grid.store.view(), envelope.user.as_ref())?;
    let user = visitor.name().cloned().unwrap_or_else(|| grid.me.clone());
    Ok((Guest { user, resident: false }, visitor))
}

fn nobody(at: Option<&Name>) -> Answer {
    Answer::Denied(at.map_or_else(
        || "this home has no second-tier distributor".to_owned(),
        |name| format!("this home has no second-tier distributor {name}"),
    ))
}

fn commit(
    grid: &mut Grid,
    at: Option<&Name>,
    envelope: &Envelope,
    how: How,
    way: &Way,
    guest: &Guest,
) -> Result<Answer, OpsError> {
    let now = Timestamp::now();
    let trace: Trace = serde_json::from_str(&way.search).unwrap_or_default();
    failpoint("second-before-commit");
    let (taking, member) = grid.store.write(Durability::Full, |tx| {
        let Some(member) = desk::member_at(tx, at)? else {
            tx.bury(envelope.uuid, envelope.round, now)?;
            return Ok((Taking::No("this home has no such second-tier distributor".to_owned()), String::new()));
        };
        let came = Came { front: &way.front, member: &way.member, trace: &trace };
        let taking = desk::take(tx, &member, envelope, how, guest, came, now).map_err(refusal)?;
        Ok::<_, OpsError>((taking, member.name.to_string()))
    })?;
    failpoint("second-after-commit");
    match taking {
        Taking::No(why) => Ok(Answer::No { why }),
        Taking::Holds(id) => {
            let view = grid.store.view();
            let task = snapshot::of(&view, id)?;
            let home = view.home_row()?.id;
            dispatcher::wake(grid)?;
            failpoint("second-before-answer");
            Ok(Answer::Placed(Placed { home, member, task, search: String::new() }))
        }
    }
}

/// An error, as the caller is told it.
pub fn of_error(error: &OpsError) -> Answer {
    match error {
        OpsError::Unknown { .. } => Answer::Unknown(error.to_string()),
        OpsError::NoMatch { summary, reasons } => Answer::Denied([&[summary.clone()][..], reasons].concat().join("; ")),
        other => Answer::Denied(other.to_string()),
    }
}
