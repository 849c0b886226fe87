//! Callers that wait for an end or follow an output: ends that have already happened, and the attempts that follows attach to.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::id::{Index, MemberKey, TaskId};
use crate::protocol::agent::ToAgent;
use crate::store::members::Live;
use crate::store::{StoreError, View};

/// True if a task, or a member of it, has ended. A removed task has ended.
pub(in crate::dispatch) fn has_ended(view: &View<'_>, task: TaskId, index: Option<Index>) -> Result<bool, StoreError> {
    let member = match index {
        Some(index) => view.member(task, index)?,
        None => None,
    };
    match member {
        Some(member) => Ok(member.has_ended()),
        None => Ok(view.task(task)?.is_none_or(|row| row.state().ended())),
    }
}

impl Dispatcher {
    /// Sends the ends that happened before they were watched, and attaches follows.
    pub(in crate::dispatch) fn answer_watches(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
        for (task, index) in self.callers.watched() {
            if has_ended(turn.tx, task, index)? {
                let code = turn.tx.task(task)?.map(|row| row.shell_code.unwrap_or(0));
                turn.then(Effect::Ended { task, index, code });
            }
        }
        for MemberKey { task, index } in self.callers.follows_unattached() {
            if let Some(live) = turn.tx.live_of(task)?.into_iter().find(|l| l.index == index && l.running) {
                self.attach_follow(turn, &live);
            }
        }
        Ok(())
    }

    fn attach_follow(&mut self, turn: &mut Turn<'_, '_>, live: &Live) {
        let place = Place { server: live.server, host: live.host };
        // A link that is down would lose it; the next hello leads here again.
        let up = |route: &Route| {
            self.links.slots.get(route).is_some_and(|slot| slot.boot().is_some()) && self.is_there(*route, live.machine)
        };
        if let Some(route) = self.route_of(place).filter(up)
            && let Some((out, err)) = self.callers.attach(live.task, live.attempt())
        {
            turn.then(Effect::Send { route, message: ToAgent::Follow { attempt: live.attempt(), out, err } });
        }
    }
}
