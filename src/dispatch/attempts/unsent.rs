//! Unsent members: placed by a submit, and not sent to their server yet.

use crate::dispatch::attempts::starts::{PlacedStart, StartTarget, Template};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::matching::Place;
use crate::model::id::{BootId, LaneId};
use crate::store::members::Live;
use crate::store::placing::Claimed;
use crate::store::tasks::Shape;
use crate::store::{Durability, Store, StoreError, View};

impl Dispatcher {
    /// Sends the members that a submit placed before anything else: a command waits for them.
    pub(in crate::dispatch) fn send_unsent(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        if !self.activity.dirty {
            return Ok(());
        }
        if store.view().unsent()?.is_empty() {
            return Ok(());
        }
        // Their server may be new.
        self.load_servers(&store.view())?;
        if self.adopt_unsent(&store.view())?.is_empty() {
            return Ok(());
        }
        // Durable: an attempt that is recorded as unsent moves to another server if this one is out of reach.
        let sent = sealed::write(store, Durability::Full, |tx| {
            // Other commands may have written while this transaction waited for the gate.
            self.load_servers(tx)?;
            let all = self.adopt_unsent(tx)?;
            for (live, boot) in &all {
                tx.mark_sent(live, self.instance.epoch, boot, self.machine_at(live.host))?;
            }
            Ok::<_, StoreError>(all)
        })?;
        let mut effects = Vec::new();
        for (live, boot) in sent {
            effects.extend(self.starts_of(&store.view(), &live, &boot)?.into_iter().map(Effect::Start));
        }
        self.carry_out(effects);
        self.flush_links();
        Ok(())
    }

    /// Unsent members whose hosts can take them, each with the boot id of its host. The other unsent members are taken over too:
    /// links are opened for lanes. Members to cancel that were never sent end here.
    pub(in crate::dispatch) fn adopt_unsent(&mut self, view: &View<'_>) -> Result<Vec<(Live, BootId)>, StoreError> {
        let mut all = Vec::new();
        for live in view.unsent()? {
            self.adopt(view, &live)?;
            let link = self.route_to(live.host).and_then(|route| self.links.slots.get(&route));
            if let Some(boot) = link.and_then(LinkState::takes_starts)
                && view.cancel_asked(live.task, Some(live.index))?.is_none()
            {
                all.push((live, boot.clone()));
            }
        }
        Ok(all)
    }

    /// The start of one member on a server whose host runs since this boot.
    pub(in crate::dispatch) fn starts_of(
        &self,
        view: &View<'_>,
        live: &Live,
        boot: &BootId,
    ) -> Result<Vec<PlacedStart>, DispatchError> {
        let (Some(lane), Some(template)) = (live.lane, Template::read(view, &self.attempts.settings, live.task)?)
        else {
            return Ok(Vec::new());
        };
        let entry = if template.row.shape == Shape::Lines { view.entry(live.task, live.index)? } else { None };
        let member = Claimed { index: live.index, number: live.number, entry };
        let place = Place { server: live.server, host: live.host };
        Ok(template.starts(view, &self.start_target(place, lane, boot), &[member])?)
    }

    /// Where a start for this place and lane goes.
    pub(in crate::dispatch) fn start_target<'a>(
        &'a self,
        place: Place,
        lane: LaneId,
        boot: &'a BootId,
    ) -> StartTarget<'a> {
        let here = matches!(self.route_to(place.host), Some(Route::Here));
        StartTarget { place, lane, boot, epoch: self.instance.epoch, home: here.then(|| self.home.dir()) }
    }
}
