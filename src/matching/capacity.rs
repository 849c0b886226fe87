//! The free capacity of a server, and its measured numbers, corrected by what we started since the probe.

use crate::model::attribute::Value;
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Health, Pool, Server};
use crate::model::time::Timestamp;
use std::time::Duration;

/// The part of a server that no task of ours holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FreeCapacity {
    pub slots: u32,
    /// Of the server's part and of its host's pool, the smaller.
    pub cpus: u32,
    pub mem: u64,
}

impl FreeCapacity {
    /// What is free. A group has no pool: its members' are looked at one by one.
    pub(super) fn of(server: &Server) -> Self {
        let own = Self {
            slots: server.slots.saturating_sub(server.taken.slots),
            cpus: server.cpus.saturating_sub(server.taken.cpus),
            mem: server.mem.0.saturating_sub(server.taken.mem.0),
        };
        match &server.pool {
            Some(pool) => Self {
                slots: own.slots,
                cpus: own.cpus.min(pool.cpus.saturating_sub(pool.taken.cpus)),
                mem: own.mem.min(pool_mem(pool)),
            },
            None => own,
        }
    }

    /// Would one more task fit?
    pub(super) fn fits(&self, needs: Needs) -> bool {
        self.slots > 0 && self.cpus >= needs.cpus && needs.mem.is_none_or(|mem| self.mem >= mem.0)
    }
}

/// Memory of a host that neither we nor others use: the smaller of what we have not reserved and what is measured
/// free, less what was reserved since the measurement.
pub(super) fn pool_mem(pool: &Pool) -> u64 {
    let unreserved = pool.mem_total.0.saturating_sub(pool.taken.mem.0);
    unreserved.min(measured_mem(pool.mem_available.0, pool.mem_since))
}

/// Memory measured as free, corrected.
pub(super) fn measured_mem(measured: u64, since: i64) -> u64 {
    if since >= 0 {
        measured.saturating_sub(since.unsigned_abs())
    } else {
        measured.saturating_add(since.unsigned_abs())
    }
}

/// Could it ever fit, with nothing taken? None: the server was never probed.
pub(super) fn could_fit(server: &Server, needs: Needs) -> Option<bool> {
    let is_group = matches!(server.engine, Engine::Group { .. });
    let pool = server.pool.as_ref();
    if pool.is_none() && !is_group {
        return None;
    }
    let cpus = pool.map_or(server.cpus, |pool| pool.cpus.min(server.cpus));
    let mem = pool.map_or(server.mem, |pool| pool.mem_total.min(server.mem));
    let load = server.max_load.is_none_or(|max| max > 0.0);
    Some(load && server.slots > 0 && cpus >= needs.cpus && needs.mem.is_none_or(|wanted| mem >= wanted))
}

/// Does the server have it at all, free or not?
pub(super) fn is_open(server: &Server) -> bool {
    let known = server.pool.is_some() || matches!(server.engine, Engine::Group { .. });
    server.health == Health::Up && server.drained.is_none() && known
}

/// A probe that is ahead of this clock by no more than this counts as current.
const AHEAD: Duration = Duration::from_secs(10);

/// From when and until when the probe of a remote host is fresh; None: always. A probe of the future is of before the clock was set
/// back. This host is probed at every event.
pub(super) fn believed(server: &Server, stale_after: Duration) -> Option<(Timestamp, Timestamp)> {
    let pool =
        server.pool.as_ref().filter(|_| matches!(server.engine, Engine::Ssh(_)) && stale_after < Duration::MAX)?;
    Some((pool.read_at.minus(AHEAD), pool.read_at.plus(stale_after)))
}

/// A number among the attributes.
fn number(server: &Server, name: &str) -> Option<f64> {
    match server.attributes.get(name)?.value {
        Value::Int(v) => Some(v as f64),
        Value::Double(v) => Some(v),
        _ => None,
    }
}

/// The measured numbers of a server, taken out of its attributes once; the methods correct them by what was started
/// since they were read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    pub load: Option<f64>,
    idle: Option<f64>,
    mem: Option<i64>,
    /// Computing power of one processor.
    each: f64,
}

impl Measured {
    pub(super) fn of(server: &Server) -> Self {
        let cpus = number(server, "cpus").filter(|cpus| *cpus > 0.0).unwrap_or(1.0);
        let mem = match server.attributes.get("mem_available").map(|attribute| &attribute.value) {
            Some(Value::Int(mem)) => Some(*mem),
            _ => None,
        };
        Self {
            load: number(server, "load1"),
            idle: number(server, "idle_cpus"),
            mem,
            each: number(server, "power").filter(|power| *power > 0.0).map_or(1.0, |power| power / cpus),
        }
    }

    /// The one-minute load: measured, plus what we started and less what ended since.
    pub(super) fn load(&self, server: &Server) -> Option<f64> {
        Some((self.load? + started_since(server)).max(0.0))
    }

    /// Idle processors: measured, less what we started since; never more than are unreserved.
    pub(super) fn idle(&self, server: &Server, room: FreeCapacity) -> Option<f64> {
        Some((self.idle? - started_since(server)).min(f64::from(room.cpus)).max(0.0))
    }

    /// Measured free memory, as expressions see it.
    pub(super) fn mem_available(&self, server: &Server) -> Option<i64> {
        let since = server.pool.as_ref().map_or(0, |pool| pool.mem_since);
        match (self.mem?, since) {
            (mem, 0) => Some(mem),
            (mem, since) => {
                let left = measured_mem(u64::try_from(mem).unwrap_or(0), since);
                Some(i64::try_from(left).unwrap_or(i64::MAX))
            }
        }
    }

    /// Is the load under the server's `max_load`? A load that is not known is.
    pub(super) fn load_allows(&self, server: &Server) -> bool {
        match (server.max_load, self.load(server)) {
            (Some(max), Some(load)) => load < max,
            (Some(max), None) => max > 0.0,
            (None, _) => true,
        }
    }

    /// Computing power that is idle: `spread` takes the most of it, `pack` the least.
    pub(super) fn idle_power(&self, server: &Server, room: FreeCapacity) -> f64 {
        let power = self.idle(server, room).unwrap_or(f64::from(room.cpus)) * self.each;
        if power.is_finite() { power } else { 0.0 }
    }
}

fn started_since(server: &Server) -> f64 {
    server.pool.as_ref().map_or(0.0, |pool| f64::from(pool.started_since))
}

/// Adds or takes away one task.
pub(super) fn book(server: &mut Server, needs: Needs, start: bool) {
    let mem = needs.mem.unwrap_or(Bytes(0)).0;
    let taken = &mut server.taken;
    if start {
        taken.slots = taken.slots.saturating_add(1);
        taken.cpus = taken.cpus.saturating_add(needs.cpus);
        taken.mem.0 = taken.mem.0.saturating_add(mem);
    } else {
        taken.slots = taken.slots.saturating_sub(1);
        taken.cpus = taken.cpus.saturating_sub(needs.cpus);
        taken.mem.0 = taken.mem.0.saturating_sub(mem);
    }
}

/// The same on a host's pool, which also remembers what its last reading has not seen.
pub(super) fn book_pool(pool: &mut Pool, needs: Needs, start: bool) {
    let mem = needs.mem.unwrap_or(Bytes(0)).0;
    let (cpus, bytes) = (i32::try_from(needs.cpus).unwrap_or(i32::MAX), i64::try_from(mem).unwrap_or(i64::MAX));
    let taken = &mut pool.taken;
    if start {
        taken.slots = taken.slots.saturating_add(1);
        taken.cpus = taken.cpus.saturating_add(needs.cpus);
        taken.mem.0 = taken.mem.0.saturating_add(mem);
        pool.started_since = pool.started_since.saturating_add(cpus);
        pool.mem_since = pool.mem_since.saturating_add(bytes);
    } else {
        taken.slots = taken.slots.saturating_sub(1);
        taken.cpus = taken.cpus.saturating_sub(needs.cpus);
        taken.mem.0 = taken.mem.0.saturating_sub(mem);
        pool.started_since = pool.started_since.saturating_sub(cpus);
        pool.mem_since = pool.mem_since.saturating_sub(bytes);
    }
}
