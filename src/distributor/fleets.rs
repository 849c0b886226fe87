//! The servers of this home's second-tier distributors, indexed: read for one question, or kept by a dispatcher.

use crate::matching::{Fleet, Place, Placement};
use crate::model::id::{DistributorId, ServerId};
use crate::model::resources::Needs;
use crate::model::server::Server;
use crate::model::settings::{PLACEMENT, STALE_AFTER, TieBreak, WATCH};
use crate::model::time::Timestamp;
use crate::store::{StoreError, View};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What is done to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booking {
    Take,
    GiveBack,
}

/// Fleets, each by its distributor.
#[derive(Debug, Default)]
pub struct Fleets {
    fleets: HashMap<DistributorId, Fleet>,
    kept: bool,
    /// The home's count of changes at which they were read.
    as_of: i64,
}

impl Fleets {
    /// The fleets of a dispatcher, which reads changes and books places. Other fleets ([`Default`]) are read for one transaction, and
    /// catch up with the next one.
    pub fn kept() -> Self {
        Self { kept: true, ..Self::default() }
    }

    /// Are these the fleets of a dispatcher?
    pub const fn are_kept(&self) -> bool {
        self.kept
    }

    /// The fleet of a distributor, read if it is not here yet.
    pub fn of(&mut self, view: &View<'_>, distributor: DistributorId, now: Timestamp) -> Result<&Fleet, StoreError> {
        match self.fleets.entry(distributor) {
            std::collections::hash_map::Entry::Occupied(there) => Ok(there.into_mut()),
            std::collections::hash_map::Entry::Vacant(free) => {
                let mut fleet = Fleet::new(view.servers_of(distributor)?, placement(view)?);
                fleet.trust(stale_after(view)?, now);
                Ok(free.insert(fleet))
            }
        }
    }

    /// Reads what changed in these fleets since the transaction that they were read in.
    pub fn catch_up(&mut self, view: &View<'_>, now: Timestamp) -> Result<(), StoreError> {
        let changes = view.changes()?;
        if changes != self.as_of && !self.fleets.is_empty() {
            let there: HashSet<ServerId> = view.server_ids()?.into_iter().collect();
            self.retain(&|id| there.contains(&id));
            for server in view.servers_changed(self.as_of)? {
                if let Some(fleet) = self.fleets.get_mut(&server.distributor) {
                    fleet.set(server);
                }
            }
        }
        self.as_of = changes;
        for (distributor, fleet) in &mut self.fleets {
            view.booked(*distributor)?.iter().for_each(|booked| fleet.rebook(booked));
        }
        self.look_up(view, now)
    }

    /// The fleet of a distributor, if it was read.
    pub fn get(&self, distributor: DistributorId) -> Option<&Fleet> {
        self.fleets.get(&distributor)
    }

    /// All fleets that were read.
    pub fn iter(&self) -> impl Iterator<Item = (DistributorId, &Fleet)> {
        self.fleets.iter().map(|(id, fleet)| (*id, fleet))
    }

    /// The servers of all fleets.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.fleets.values().flat_map(Fleet::servers)
    }

    /// The distributor that has this server, and its fleet.
    pub fn with(&self, server: ServerId) -> Option<(DistributorId, &Fleet)> {
        self.iter().find(|(_, fleet)| fleet.get(server).is_some())
    }

    /// A server of any fleet.
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.fleets.values().find_map(|fleet| fleet.get(id))
    }

    /// Adds a server, or replaces it.
    pub fn set(&mut self, server: Server, placement: Placement) {
        self.fleets.entry(server.distributor).or_insert_with(|| Fleet::new(Vec::new(), placement)).set(server);
    }

    /// Removes servers that no longer exist.
    pub fn retain(&mut self, there: &dyn Fn(ServerId) -> bool) {
        for fleet in self.fleets.values_mut() {
            let gone: Vec<_> = fleet.servers().map(|s| s.id).filter(|id| !there(*id)).collect();
            gone.into_iter().for_each(|id| fleet.remove(id));
        }
    }

    /// Sets the time to `now`, and reads the home's settings.
    pub fn look_up(&mut self, view: &View<'_>, now: Timestamp) -> Result<(), StoreError> {
        let (placement, stale_after) = (placement(view)?, stale_after(view)?);
        for fleet in self.fleets.values_mut() {
            fleet.place_by(placement);
            fleet.trust(stale_after, now);
        }
        Ok(())
    }

    /// Reads which applications the probes of a distributor's servers look for.
    pub fn watch(&mut self, distributor: DistributorId, view: &View<'_>) -> Result<(), StoreError> {
        if let Some(fleet) = self.fleets.get_mut(&distributor) {
            fleet.watch(view.value_of(&WATCH)?);
        }
        Ok(())
    }

    /// Books a place, or gives it back. Servers of several distributors may share a host and its pool.
    pub fn book(&mut self, place: Place, needs: Needs, booking: Booking) {
        let Some(own) = self.with(place.host).map(|(id, _)| id) else { return };
        let Some(fleet) = self.fleets.get_mut(&own) else { return };
        match booking {
            Booking::Take => fleet.take(place, needs),
            Booking::GiveBack => fleet.give_back(place, needs),
        }
        let Some(pool) = fleet.get(place.host).and_then(|s| s.pool.clone()) else { return };
        for (_, fleet) in self.fleets.iter_mut().filter(|(id, _)| **id != own) {
            let sharing = fleet.servers().find(|s| s.pool.as_ref().is_some_and(|p| p.host == pool.host)).cloned();
            if let Some(mut server) = sharing {
                server.pool = Some(pool.clone());
                fleet.set(server);
            }
        }
    }
}

/// How equals are ranked in this home.
pub fn placement(view: &View<'_>) -> Result<Placement, StoreError> {
    Ok(match view.value_of(&PLACEMENT)? {
        TieBreak::Pack => Placement::Pack,
        TieBreak::Spread => Placement::Spread,
    })
}

/// The setting `stale_after`: how long a probe of a host over ssh is fresh.
pub fn stale_after(view: &View<'_>) -> Result<Duration, StoreError> {
    view.value_of(&STALE_AFTER)
}
