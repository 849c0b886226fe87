//! Real load on this host, and the wish to be alone.

use super::process;
use std::process::Child;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tests of one binary run side by side; those that measure the host do not like that.
static HOST: RwLock<()> = RwLock::new(());

/// Nobody else of this binary runs while this lives.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    HOST.write().unwrap_or_else(PoisonError::into_inner)
}

/// Among others.
pub fn together() -> RwLockReadGuard<'static, ()> {
    HOST.read().unwrap_or_else(PoisonError::into_inner)
}

/// Processes that compute; they end with this.
pub struct Busy {
    loops: Vec<Child>,
}

impl Busy {
    /// So many more than this host has to do anyway that load1, which is slow, moves within seconds.
    pub fn put() -> Self {
        Self::put_above(0.0)
    }

    /// As many as bring load1 above this, whatever others do, or stop doing, meanwhile.
    pub fn put_above(load: f64) -> Self {
        Self { loops: (0..loops_above(load)).map(|_| process::busy_loop()).collect() }
    }

    pub fn end(self) {}
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.loops {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A limit that the load of this host, as it is measured, is under now.
pub fn limit_above(mut measured: impl FnMut() -> f64) -> f64 {
    let mut limit = 0.0;
    process::until("the load is under the limit at first", || {
        limit = tends_to() + 2.0;
        measured() < limit
    });
    limit
}

/// How many busy loops that takes.
pub fn loops_above(load: f64) -> usize {
    16 + tends_to().max(load).clamp(0.0, 96.0) as usize
}

/// The load that this host tends to: the higher of load1 and what can run now, without us.
pub fn tends_to() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut fields = text.split_whitespace();
    let load1: f64 = fields.next().and_then(|f| f.parse().ok()).unwrap_or(0.0);
    let running: f64 = fields.nth(2).and_then(|f| f.split('/').next()?.parse().ok()).unwrap_or(1.0);
    load1.max(running - 1.0)
}
