//! The supervisor of a lane as its agent holds it: by two pipes.

use super::spool::RunId;
use crate::protocol::frame::{Inbox, Outbox};
use crate::protocol::supervisor::ToSupervisor;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Instant;

/// The supervisor process of a lane, and our ends of its pipes.
#[derive(Debug)]
pub struct SupervisorHandle {
    pub run: RunId,
    pub child: Child,
    /// None once it was told to leave.
    pub orders: Option<File>,
    pub outbox: Outbox,
    pub reports: File,
    pub inbox: Inbox,
    /// Members that it has and that have not ended.
    pub outstanding: usize,
    pub idle_since: Instant,
}

impl SupervisorHandle {
    /// Holds the pipes of one that was just started.
    pub fn new(run: RunId, mut child: Child) -> io::Result<Self> {
        let gone = || io::Error::other("no pipe");
        let orders = File::from(OwnedFd::from(child.stdin.take().ok_or_else(gone)?));
        let reports = File::from(OwnedFd::from(child.stdout.take().ok_or_else(gone)?));
        for pipe in [&orders, &reports] {
            rustix::fs::fcntl_setfl(pipe, rustix::fs::fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            run,
            child,
            orders: Some(orders),
            outbox: Outbox::default(),
            reports,
            inbox: Inbox::default(),
            outstanding: 0,
            idle_since: Instant::now(),
        })
    }

    /// Has all that it was given ended?
    pub const fn rests(&self) -> bool {
        self.outstanding == 0
    }

    /// Writes what goes; a supervisor that does not read any more shows it at its other pipe.
    pub fn flush(&mut self) {
        if let Some(orders) = &mut self.orders
            && self.outbox.flush(orders).is_err()
        {
            self.orders = None;
        }
    }

    /// Sends an order out of turn.
    pub fn tell(&mut self, order: &ToSupervisor) {
        let _ = self.outbox.push(order);
        self.flush();
    }
}
