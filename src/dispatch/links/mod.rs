//! Links to agents: when they are opened, and how.

pub(in crate::dispatch) mod backoff;
pub(in crate::dispatch) mod connector;
pub(in crate::dispatch) mod link_state;
pub(in crate::dispatch) mod news;
pub(in crate::dispatch) mod open;
pub(in crate::dispatch) mod probes;
pub(in crate::dispatch) mod route;

use crate::model::ambient::Ambient;
use crate::model::id::{MachineId, ServerId};
use crate::model::time::Timestamp;
use crate::protocol::agent::FromAgent;
use crate::store::Home;
use crate::store::settings::HomeRow;
use connector::Connector;
use link_state::LinkState;
use route::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// All links to agents, and what was received over them.
#[derive(Debug)]
pub(in crate::dispatch) struct Links {
    pub(in crate::dispatch) slots: BTreeMap<Route, LinkState>,
    pub(in crate::dispatch) connector: Connector,
    /// Messages that no turn has recorded yet.
    pub(in crate::dispatch) inbox: Vec<(Route, FromAgent)>,
    /// Links that were lost during a transfer to this home.
    pub(in crate::dispatch) cut: BTreeSet<Route>,
    /// Attempts on machines other than the ones that answer under their servers' names now.
    pub(in crate::dispatch) bound: BTreeMap<Route, super::attempts::machines::Elsewhere>,
    /// Servers with ends whose outputs or files are still to be fetched, and whose hello is not there yet.
    pub(in crate::dispatch) awaited: BTreeSet<ServerId>,
    /// Links that lead to a restarted host.
    pub(in crate::dispatch) restarted: Vec<Route>,
    /// Links that were cut, and when they were last up.
    pub(in crate::dispatch) silent: Vec<(Route, Timestamp, Option<MachineId>)>,
}

impl Links {
    /// Links that are all down.
    pub(in crate::dispatch) fn new(home: &Home, row: &HomeRow, ambient: Rc<dyn Ambient>) -> Self {
        Self {
            slots: BTreeMap::new(),
            connector: Connector::new(home, row, ambient),
            inbox: Vec::new(),
            cut: BTreeSet::new(),
            bound: BTreeMap::new(),
            awaited: BTreeSet::new(),
            restarted: Vec::new(),
            silent: Vec::new(),
        }
    }
}
