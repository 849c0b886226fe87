//! Fleets that other processes book too: what is taken of their servers is set to what the database counts.

use super::index::Fleet;
use crate::model::server::Booked;

impl Fleet {
    /// Sets what is taken of a server. Unknown servers are ignored.
    pub fn rebook(&mut self, booked: &Booked) {
        let Some(row) = self.row(booked.server) else { return };
        let server = &mut self.servers[row];
        let mut pool = server.pool.clone();
        if let (Some(pool), Some((taken, started_since, mem_since))) = (&mut pool, booked.pool) {
            (pool.taken, pool.started_since, pool.mem_since) = (taken, started_since, mem_since);
        }
        if (server.taken, server.kept_for, &server.pool) == (booked.taken, booked.kept_for, &pool) {
            return;
        }
        (server.taken, server.kept_for, server.pool) = (booked.taken, booked.kept_for, pool);
        self.refresh(row);
    }
}
