//! The effects of a turn: collected while its transaction is open, carried out after the commit.
//!
//! Links and callers refuse to send while a transaction is open ([`sealed`](super::sealed)), so a send that is not an [`Effect`]
//! fails every test that reaches it.

use super::attempts::starts::PlacedStart;
use super::dispatcher::Dispatcher;
use super::links::route::Route;
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, Index, LaneId, MemberKey, ServerId, TaskId};
use crate::protocol::agent::{Event, FEATURES_SINCE, FromAgent, Refusal, Start, ToAgent};
use crate::protocol::dispatcher::FromDispatcher;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One thing to do after the commit.
#[derive(Debug)]
pub enum Effect {
    /// Answer the caller whose submit was handled.
    Answer { caller: u64, answer: FromDispatcher },
    /// Send a start to the server that it was placed on.
    Start(PlacedStart),
    /// Cancel an attempt on its server.
    Cancel { route: Route, attempt: AttemptId, grace: Duration },
    /// Recall the members that a lane has not started.
    Recall { route: Route, lane: LaneId },
    /// Send a message about one attempt: read its output, pack its results, follow it.
    Send { route: Route, message: ToAgent },
    /// Fetch a long output: create its files, request its first chunks.
    FetchOutput { route: Route, attempt: AttemptId },
    /// Drop an attempt's directory; its output stays on the server.
    DropFiles { route: Route, attempt: AttemptId },
    /// Tell the agent that the end of an attempt is on this home's disk.
    Confirm { route: Route, attempt: AttemptId },
    /// Tell the waiting callers that a task or a member has ended.
    Ended { task: TaskId, index: Option<Index>, code: Option<u8> },
    /// Tell the callers that requested a member's results again that the fetch is over, whether or not it succeeded.
    Brought(MemberKey),
    /// Tell the callers that requested a probe when it was started, or why there is none.
    Probed { server: ServerId, read: Result<Instant, String> },
}

impl Effect {
    /// The order in which effects are carried out: answers that a command waits for first, then starts.
    const fn rank(&self) -> u8 {
        match self {
            Self::Answer { .. } => 0,
            Self::Start(_) => 1,
            Self::Cancel { .. } => 2,
            Self::Recall { .. } => 3,
            Self::Send { .. } | Self::FetchOutput { .. } => 4,
            Self::DropFiles { .. } => 5,
            Self::Confirm { .. } => 6,
            Self::Ended { .. } => 7,
            Self::Brought { .. } => 8,
            Self::Probed { .. } => 9,
        }
    }
}

impl Dispatcher {
    /// Carries out the effects of a committed turn.
    pub(super) fn carry_out(&mut self, mut effects: Vec<Effect>) {
        effects.sort_by_key(Effect::rank);
        if effects.iter().any(|effect| matches!(effect, Effect::Start(_))) {
            failpoint("dispatcher-marked-sent");
        }
        let mut confirmed: BTreeMap<Route, Vec<AttemptId>> = BTreeMap::new();
        let mut started = false;
        for effect in effects {
            if !started && effect.rank() > 1 {
                started = true;
                failpoint("dispatcher-sent");
            }
            match effect {
                Effect::Answer { caller, answer } => self.callers.answer(caller, &answer),
                Effect::Start(placed) => self.send_start(placed),
                Effect::Cancel { route, attempt, grace } => self.send(route, &ToAgent::Cancel { attempt, grace }),
                Effect::Recall { route, lane } => self.send(route, &ToAgent::Recall { lane }),
                Effect::Send { route, message } => self.send(route, &message),
                Effect::FetchOutput { route, attempt } => self.fetch_output(route, attempt),
                Effect::DropFiles { route, attempt } => self.send(route, &ToAgent::DropFiles { attempt }),
                Effect::Confirm { route, attempt } => confirmed.entry(route).or_default().push(attempt),
                Effect::Ended { task, index, code } => self.callers.ended(task, index, code),
                Effect::Brought(member) => self.callers.brought(member),
                Effect::Probed { server, read } => self.callers.probed(server, read),
            }
        }
        if !started {
            failpoint("dispatcher-sent");
        }
        for (route, attempts) in confirmed {
            self.send(route, &ToAgent::Confirm { attempts });
        }
    }

    fn send_start(&mut self, PlacedStart { place, start }: PlacedStart) {
        let Some(route) = self.route_of(place) else { return };
        if self.is_too_old_for(route, &start) {
            return self.refuse_for(route, start);
        }
        self.send(route, &ToAgent::Start(start));
        self.probe_after_change(route, self.ambient.now().mono);
    }

    /// True if the agent is too old to look at the features of this start: it would leave out what the start needs.
    fn is_too_old_for(&self, route: Route, start: &Start) -> bool {
        !start.features.is_empty() && self.links.slots.get(&route).is_some_and(|slot| slot.version < FEATURES_SINCE)
    }

    /// Refuses a start on behalf of an agent that does not know features.
    fn refuse_for(&mut self, route: Route, start: Start) {
        let Start { features, members, .. } = start;
        let refused = |attempt| Event::Refused { attempt, why: Refusal::Features { unknown: features.clone() } };
        let events = members.iter().map(|member| refused(member.attempt)).collect();
        self.links.inbox.push((route, FromAgent::Events(events)));
    }
}
