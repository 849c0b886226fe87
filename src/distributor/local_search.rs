//! A client's search that stays in this home, within one transaction that its caller has open.

use super::fleets::Fleets;
use super::front::{redirect, redirects_to};
use super::members::ask_own_member;
use super::offer::{IncomingTask, Via};
use super::principal::Principal;
use super::search::{Trace, order as in_order, skipped};
use super::tier2::TierError;
use super::two_pass::{Holder, MemberReply, MemberRequest, SecondTier, TierOutcome, two_pass};
use crate::model::distributor::{Record, Tier};
use crate::model::id::TaskId;
use crate::model::time::Timestamp;
use crate::protocol::envelope::Envelope;
use crate::store::Tx;

/// Searches as [`super::place::place`] does. None: a member lives in another home, or no member takes the task; then the caller
/// keeps nothing of the transaction.
pub fn place(
    tx: &Tx<'_>,
    fleets: &mut Fleets,
    mut envelope: Envelope,
    principal: &Principal,
    now: Timestamp,
) -> Result<Option<TaskId>, TierError> {
    if tx.reaches_elsewhere()? {
        return Ok(None);
    }
    let (set, policy, cursor) = tx.search_set(Tier::First)?;
    let mut trace = Trace::default();
    for member in &set {
        if let Some(why) = skipped(member) {
            trace.first(member.name.as_str(), why);
        }
    }
    for front in in_order(&set, policy, cursor) {
        let to = redirect(tx, &envelope, &mut trace)?;
        // Who waits for a drained member is left to the command.
        if to.list.is_empty() {
            continue;
        }
        trace.first(front.name.as_str(), redirects_to(&to.list));
        for tier in [Tier::First, Tier::Second] {
            tx.advance_cursor(tier)?;
        }
        let mut round = envelope.round;
        let front = front.name.as_str();
        let mut members = LocalMembers { tx, fleets: &mut *fleets, envelope: &mut envelope, principal, front, now };
        let outcome = two_pass(&to, &mut round, &mut trace, &mut members)?;
        let TierOutcome::Took { taken: Holder::Here(task), .. } = outcome else { return Ok(None) };
        return Ok(Some(task));
    }
    Ok(None)
}

/// The second tier of a search within a transaction.
struct LocalMembers<'a> {
    tx: &'a Tx<'a>,
    fleets: &'a mut Fleets,
    envelope: &'a mut Envelope,
    principal: &'a Principal,
    front: &'a str,
    now: Timestamp,
}

impl SecondTier for LocalMembers<'_> {
    type Taken = Holder;

    fn ask(
        &mut self,
        member: &Record,
        request: MemberRequest,
        round: u32,
        trace: &Trace,
    ) -> Result<MemberReply<Holder>, TierError> {
        self.envelope.round = round;
        let incoming = IncomingTask { member, envelope: self.envelope, principal: self.principal, now: self.now };
        let via = Via { front: self.front, member: member.name.as_str(), trace };
        ask_own_member(self.tx, self.fleets, &incoming, request, via)
    }
}
