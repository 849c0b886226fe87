//! The servers of one distributor, kept so that a task is placed among ten thousand in well under a millisecond.

use super::capacity::{self, FreeCapacity, Measured};
use super::columns::{ColumnId, Columns};
use super::error::{ExpressionError, ExpressionRole};
use super::expression::Expression;
use super::row_order::RowOrder;
use super::tree::{AttributePath, AttributeRoot};
use crate::model::attribute::Value;
use crate::model::id::{HostId, ServerId, TaskId};
use crate::model::resources::Needs;
use crate::model::server::{Engine, Server};
use crate::model::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// What decides between servers that all preferences rank alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// The most idle computing power.
    #[default]
    Spread,
    /// The least idle that fits.
    Pack,
}

impl Placement {
    /// How well so much idle computing power is placed; the higher the better.
    pub(super) fn placed(self, idle_power: f64) -> f64 {
        match self {
            Self::Spread => idle_power,
            Self::Pack => -idle_power,
        }
    }
}

/// Where a task is booked and where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The server that was chosen: a group or a server.
    pub server: ServerId,
    /// Where it really runs: a group's chosen member, else the same.
    pub host: ServerId,
}

/// The values that a search reads first, side by side in memory.
#[derive(Debug, Clone)]
pub(super) struct Hot {
    pub open: bool,
    /// The load is under `max_load`.
    pub load_allows: bool,
    pub group: bool,
    pub room: FreeCapacity,
    pub idle_power: f64,
    pub accepts: Option<u32>,
    /// From when and until when its probe is fresh; None: always.
    pub believed: Option<(Timestamp, Timestamp)>,
}

/// A server's `accepts`, shared by all that have the same text.
#[derive(Debug)]
pub(super) struct Accepts {
    pub expression: Result<Expression, ExpressionError>,
    pub columns: Vec<ColumnId>,
    /// How many servers have it now.
    pub servers: u32,
}

/// A path that no server has, or that is not a server's.
pub(super) const NO_COLUMN: ColumnId = ColumnId::MAX;

/// The servers of one second-tier distributor, indexed.
#[derive(Debug)]
pub struct Fleet {
    pub(super) placement: Placement,
    pub(super) stale_after: Duration,
    pub(super) now: Timestamp,
    pub(super) servers: Vec<Server>,
    pub(super) hot: Vec<Hot>,
    measured: Vec<Measured>,
    pub(super) columns: Columns,
    pub(super) accepts: Vec<Accepts>,
    accepts_by_text: HashMap<Box<str>, u32>,
    /// The columns of load1, idle_cpus and mem_available, which hold corrected values.
    live: [ColumnId; 3],
    rows: HashMap<ServerId, usize>,
    hosts: HashMap<HostId, Vec<ServerId>>,
    groups: BTreeSet<ServerId>,
    /// Servers that are kept for a task, each with the host that is kept with it. Hardly ever more than one.
    pub(super) kept: BTreeMap<ServerId, (TaskId, Option<HostId>)>,
    /// The applications that probes look for; None: not set.
    pub(super) watch: Option<Vec<String>>,
    row_order: RowOrder,
}

impl Fleet {
    /// Indexes servers. One whose stored `accepts` can't be read never qualifies, and `explain` says why.
    pub fn new(mut servers: Vec<Server>, placement: Placement) -> Self {
        servers.sort_by_key(|server| server.id);
        let mut columns = Columns::default();
        let mut fleet = Self {
            placement,
            stale_after: Duration::MAX,
            now: Timestamp(0),
            servers: Vec::with_capacity(servers.len()),
            hot: Vec::with_capacity(servers.len()),
            measured: Vec::with_capacity(servers.len()),
            live: ["load1", "idle_cpus", "mem_available"].map(|name| columns.intern(name)),
            columns,
            accepts: Vec::new(),
            accepts_by_text: HashMap::new(),
            rows: HashMap::new(),
            hosts: HashMap::new(),
            groups: BTreeSet::new(),
            kept: BTreeMap::new(),
            watch: None,
            row_order: RowOrder::default(),
        };
        let ids: Vec<ServerId> = servers.iter().map(|server| server.id).collect();
        for server in servers {
            fleet.insert(server);
        }
        for id in ids {
            fleet.share_pool(id);
        }
        fleet
    }

    /// Adds a server or replaces the one with its id. Its pool becomes that of every server on the same host.
    pub fn set(&mut self, server: Server) {
        let id = server.id;
        self.insert(server);
        self.share_pool(id);
    }

    /// Sets what decides between equals.
    pub fn place_by(&mut self, placement: Placement) {
        if self.placement != placement {
            self.placement = placement;
            (0..self.servers.len()).for_each(|row| self.refresh(row));
        }
    }

    /// The rows that have a free slot, the best placed first, without groups.
    pub(super) fn row_order(&self) -> impl Iterator<Item = usize> {
        self.row_order.rows()
    }

    /// The rows of groups: how well one is placed depends on the member that fits.
    pub(super) fn groups(&self) -> impl Iterator<Item = usize> {
        self.groups.iter().filter_map(|id| self.row(*id))
    }

    fn insert(&mut self, server: Server) {
        let row = match self.rows.get(&server.id).copied() {
            Some(row) => {
                self.detach(row);
                self.servers[row] = server;
                row
            }
            None => {
                self.rows.insert(server.id, self.servers.len());
                self.servers.push(server);
                self.servers.len() - 1
            }
        };
        self.attach(row);
    }

    /// Gives a server's pool to all others on its host that have another.
    fn share_pool(&mut self, id: ServerId) {
        let Some(pool) = self.get(id).and_then(|server| server.pool.clone()) else { return };
        for other in self.hosts.get(&pool.host).cloned().unwrap_or_default() {
            if let Some(row) = self.rows.get(&other).copied()
                && self.servers[row].pool.as_ref() != Some(&pool)
            {
                self.servers[row].pool = Some(pool.clone());
                self.refresh(row);
            }
        }
    }

    /// Removes a server; unknown ids are ignored.
    pub fn remove(&mut self, id: ServerId) {
        let Some(row) = self.rows.get(&id).copied() else { return };
        self.detach(row);
        self.rows.remove(&id);
        let last = self.servers.len() - 1;
        if row != last {
            self.detach(last);
        }
        self.servers.swap_remove(row);
        self.hot.swap_remove(row);
        self.measured.swap_remove(row);
        if row != last {
            self.rows.insert(self.servers[row].id, row);
            self.attach(row);
        }
    }

    /// A server by its id.
    pub fn get(&self, id: ServerId) -> Option<&Server> {
        self.rows.get(&id).map(|row| &self.servers[*row])
    }

    /// All servers, in no particular order.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &Server> {
        self.servers.iter()
    }

    /// Could any task have room on a server now, as far as slots go?
    pub fn has_slot(&self, id: ServerId) -> bool {
        self.row(id).is_some_and(|row| self.hot[row].open && self.hot[row].room.slots > 0)
    }

    /// Where a booking on a host may be felt: the servers on it, and the groups.
    pub fn felt_by(&self, host: Option<HostId>) -> impl Iterator<Item = ServerId> {
        let sharing = host.and_then(|host| self.hosts.get(&host)).into_iter().flatten();
        sharing.chain(&self.groups).copied()
    }

    /// Books one task: on the server, on the member that runs it, and on the host's pool.
    pub fn take(&mut self, place: Place, needs: Needs) {
        self.book(place, needs, true);
    }

    /// Gives back what `take` took.
    pub fn give_back(&mut self, place: Place, needs: Needs) {
        self.book(place, needs, false);
    }

    fn book(&mut self, place: Place, needs: Needs, start: bool) {
        let mut host = None;
        for id in [place.server, place.host] {
            if id == place.host && host.is_some() {
                continue;
            }
            let Some(row) = self.rows.get(&id).copied() else { continue };
            let server = &mut self.servers[row];
            capacity::book(server, needs, start);
            if id == place.host {
                host = Some(server.pool.as_ref().map(|pool| pool.host));
            }
            self.refresh(row);
        }
        let Some(Some(host)) = host else { return };
        for id in self.hosts.get(&host).cloned().unwrap_or_default() {
            let Some(row) = self.rows.get(&id).copied() else { continue };
            if let Some(pool) = &mut self.servers[row].pool {
                capacity::book_pool(pool, needs, start);
            }
            self.refresh(row);
        }
    }

    /// The row of a server.
    pub(super) fn row(&self, id: ServerId) -> Option<usize> {
        self.rows.get(&id).copied()
    }

    /// The columns of an expression's paths, in their order.
    pub(super) fn bind(&self, paths: &[AttributePath]) -> Vec<ColumnId> {
        let column = |path: &AttributePath| match path.root {
            AttributeRoot::Server => self.columns.find(&path.name).unwrap_or(NO_COLUMN),
            _ => NO_COLUMN,
        };
        paths.iter().map(column).collect()
    }

    /// Enters a row's server into everything that is derived.
    fn attach(&mut self, row: usize) {
        let rows = self.servers.len();
        let server = &self.servers[row];
        for (name, attribute) in &server.attributes {
            let column = self.columns.intern(name);
            self.columns.set(column, row, Some(attribute.value.clone()), rows);
        }
        // Every server has a name, whether or not its attributes repeat it.
        for (name, text) in [("name", &server.name), ("distributor", &server.distributor_name)] {
            let column = self.columns.intern(name);
            if self.columns.get(column, row).is_none() {
                self.columns.set(column, row, Some(Value::Text(text.as_str().into())), rows);
            }
        }
        if let Some(pool) = &server.pool {
            self.hosts.entry(pool.host).or_default().push(server.id);
        }
        if matches!(server.engine, Engine::Group { .. }) {
            self.groups.insert(server.id);
        }
        let accepts = server.accepts.clone().map(|text| self.intern_accepts(&text));
        if let Some(entry) = accepts.and_then(|at| self.accepts.get_mut(at as usize)) {
            entry.servers += 1;
        }
        let hot = Hot {
            open: false,
            load_allows: false,
            group: matches!(self.servers[row].engine, Engine::Group { .. }),
            room: FreeCapacity { slots: 0, cpus: 0, mem: 0 },
            idle_power: 0.0,
            accepts,
            believed: None,
        };
        let measured = Measured::of(&self.servers[row]);
        if row < self.hot.len() {
            self.hot[row] = hot;
            self.measured[row] = measured;
        } else {
            self.hot.push(hot);
            self.measured.push(measured);
        }
        self.refresh(row);
    }

    /// Takes a row's server out of everything that is derived.
    fn detach(&mut self, row: usize) {
        self.columns.clear(row);
        self.row_order.clear(row);
        let server = &self.servers[row];
        self.groups.remove(&server.id);
        self.kept.remove(&server.id);
        if let Some(pool) = &server.pool
            && let Some(sharing) = self.hosts.get_mut(&pool.host)
        {
            sharing.retain(|id| *id != server.id);
            if sharing.is_empty() {
                self.hosts.remove(&pool.host);
            }
        }
        if let Some(entry) = self.hot[row].accepts.and_then(|at| self.accepts.get_mut(at as usize)) {
            entry.servers = entry.servers.saturating_sub(1);
        }
    }

    /// Derives again what bookings change.
    pub(super) fn refresh(&mut self, row: usize) {
        let server = &self.servers[row];
        let hot = &mut self.hot[row];
        let measured = self.measured[row];
        hot.believed = capacity::believed(server, self.stale_after);
        hot.open = capacity::is_open(server);
        hot.load_allows = measured.load_allows(server);
        hot.room = FreeCapacity::of(server);
        match server.kept_for {
            Some(task) => {
                self.kept.insert(server.id, (task, server.pool.as_ref().map(|pool| pool.host)));
            }
            None => {
                self.kept.remove(&server.id);
            }
        }
        hot.idle_power = measured.idle_power(server, hot.room);
        if hot.open && hot.room.slots > 0 && !hot.group {
            self.row_order.set(row, server, self.placement.placed(hot.idle_power));
        } else {
            self.row_order.clear(row);
        }
        if server.pool.is_none() {
            return;
        }
        let corrected = [
            measured.load(server).map(Value::Double),
            measured.idle(server, hot.room).map(Value::Double),
            measured.mem_available(server).map(Value::Int),
        ];
        let rows = self.servers.len();
        for (column, value) in self.live.into_iter().zip(corrected) {
            // An attribute that is no number stays as it is.
            if value.is_some() {
                self.columns.set(column, row, value, rows);
            }
        }
    }

    fn intern_accepts(&mut self, text: &str) -> u32 {
        if let Some(at) = self.accepts_by_text.get(text) {
            return *at;
        }
        let expression = Expression::compile(text, ExpressionRole::Accepts);
        let mut columns = Vec::new();
        if let Ok(expression) = &expression {
            for path in &expression.paths {
                let server = path.root == AttributeRoot::Server;
                columns.push(if server { self.columns.intern(&path.name) } else { NO_COLUMN });
            }
        }
        let at = u32::try_from(self.accepts.len()).unwrap_or(u32::MAX);
        self.accepts.push(Accepts { expression, columns, servers: 0 });
        self.accepts_by_text.insert(text.into(), at);
        at
    }
}
