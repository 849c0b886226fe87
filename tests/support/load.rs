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
        let count = 16 + tends_to().clamp(0.0, 64.0) as usize;
        Self { loops: (0..count).map(|_| process::busy_loop()).collect() }
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

/// The load that this host tends to: the higher of load1 and what can run now, without us.
pub fn tends_to() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut fields = text.split_whitespace();
    let load1: f64 = fields.next().and_then(|f| f.parse().ok()).unwrap_or(0.0);
    let running: f64 = fields.nth(2).and_then(|f| f.split('/').next()?.parse().ok()).unwrap_or(1.0);
    load1.max(running - 1.0)
}
