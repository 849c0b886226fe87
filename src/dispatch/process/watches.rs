//! Callers that wait for an end or follow an output: what has happened already, and what their follows attach to.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::matching::Place;
use crate::model::id::{Index, TaskId};
use crate::protocol::agent::ToAgent;
use crate::store::members::Live;
use crate::store::{StoreError, View};

/// Has a task, or a member of it, ended? What is not there any more has.
pub(in crate::dispatch) fn has_ended(view: &View<'_>, task: TaskId, index: Option<Index>) -> Result<bool, StoreError> {
    let member = match index {
        Some(index) => view.member(task, index)?,
        None => None,
    };
    match member {
        Some(member) => Ok(member.phase.state().ended()),
        None => Ok(view.task(task)?.is_none_or(|row| row.state().ended())),
    }
}

impl Dispatcher {
    /// Ends that happened before somebody watched.
    pub(in crate::dispatch) fn look_at_watches(&mut self, turn: &mut Turn<'_, '_>) -> Result<(), DispatchError> {
        for (task, index) in self.callers.watched() {
            if has_ended(turn.tx, task, index)? {
                let code = turn.tx.task(task)?.map(|row| row.shell_code.unwrap_or(0));
                turn.then(Effect::Ended { task, index, code });
            }
        }
        for (task, index) in self.callers.follows_unattached() {
            if let Some(live) = turn.tx.live_of(task)?.into_iter().find(|l| l.index == index && l.running) {
                self.attach_follow(turn, &live);
            }
        }
        Ok(())
    }

    fn attach_follow(&mut self, turn: &mut Turn<'_, '_>, live: &Live) {
        let place = Place { server: live.server, host: live.host };
        // Said into a link that is down it would be lost; the next hello brings us here again.
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
