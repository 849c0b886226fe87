//! Reads the host on a thread of its own: some tools take seconds, and the loop must not wait.

use super::facts::Host;
use crate::model::ambient::System;
use crate::model::facts::Facts;
use crate::model::id::BootId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What to read of a host.
#[derive(Debug, Default)]
pub struct ProbeRequest {
    pub watch: Vec<String>,
    pub script: Option<String>,
    pub prologues: Vec<String>,
}

/// Reads the host on request, one reading at a time.
#[derive(Debug)]
pub struct Prober {
    /// None while the thread has it.
    host: Option<Host>,
    waiting: Option<ProbeRequest>,
    ready: OwnedFd,
    results: Receiver<(Host, Facts)>,
    sender: Sender<(Host, Facts)>,
}

impl Prober {
    /// `spool` is where its caches are, and whose disk is measured.
    pub fn new(spool: &Path, boot: BootId) -> std::io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (sender, results) = channel();
        Ok(Self { host: Some(Host::new(spool, boot)), waiting: None, ready, results, sender })
    }

    /// Readable when a reading is finished.
    pub fn fd(&self) -> &OwnedFd {
        &self.ready
    }

    /// Requests a reading; while one is under way, the newest request waits for it.
    pub fn request(&mut self, question: ProbeRequest) {
        self.waiting = Some(question);
        self.begin();
    }

    fn begin(&mut self) {
        // Taking either without the other would lose it.
        if self.host.is_none() || self.waiting.is_none() {
            return;
        }
        let (Some(mut host), Some(question)) = (self.host.take(), self.waiting.take()) else { return };
        let sender = self.sender.clone();
        let Ok(ready) = self.ready.try_clone() else { return };
        std::thread::spawn(move || {
            let facts = host.read(&question, &System);
            if sender.send((host, facts)).is_ok() {
                let _ = rustix::io::write(ready, &1u64.to_ne_bytes());
            }
        });
    }

    /// Takes a finished reading.
    pub fn take_result(&mut self) -> Option<Facts> {
        let (host, facts) = self.results.try_recv().ok()?;
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        self.host = Some(host);
        self.begin();
        Some(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn each_probe_request_gets_a_result() {
        let spool = tempfile::tempdir().unwrap();
        let mut prober = Prober::new(spool.path(), BootId("b".to_owned())).unwrap();
        for round in 0..3 {
            prober.request(ProbeRequest::default());
            let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(prober.fd(), PollFlags::IN)], Some(&limit)).unwrap();
            assert_eq!(ready, 1, "question {round} is not answered");
            assert!(prober.take_result().is_some());
        }
    }
}
