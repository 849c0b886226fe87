//! An agent's handle of a lane's supervisor: two pipes.

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
    /// None once it was asked to exit.
    pub requests: Option<File>,
    pub outbox: Outbox,
    pub reports: File,
    pub inbox: Inbox,
    /// Members that it has and that have not ended yet.
    pub outstanding: usize,
    pub idle_since: Instant,
}

impl SupervisorHandle {
    /// Takes the pipes of a supervisor that was just started.
    pub fn new(run: RunId, mut child: Child, now: Instant) -> io::Result<Self> {
        let gone = || io::Error::other("no pipe");
        let requests = File::from(OwnedFd::from(child.stdin.take().ok_or_else(gone)?));
        let reports = File::from(OwnedFd::from(child.stdout.take().ok_or_else(gone)?));
        for pipe in [&requests, &reports] {
            rustix::fs::fcntl_setfl(pipe, rustix::fs::fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            run,
            child,
            requests: Some(requests),
            outbox: Outbox::default(),
            reports,
            inbox: Inbox::default(),
            outstanding: 0,
            idle_since: now,
        })
    }

    /// Have all of its members ended?
    pub const fn is_idle(&self) -> bool {
        self.outstanding == 0
    }

    /// Writes as much as the pipe takes. A supervisor that does not read any more closes its other pipe too.
    pub fn flush(&mut self) {
        if let Some(requests) = &mut self.requests
            && self.outbox.flush(requests).is_err()
        {
            self.requests = None;
        }
    }

    /// Sends a message at once.
    pub fn send(&mut self, message: &ToSupervisor) {
        let _ = self.outbox.push(message);
        self.flush();
    }
}
