//! Readings of the host, made by a thread of their own: some tools take seconds, and the loop must not wait.

use super::facts::Host;
use crate::model::facts::Facts;
use crate::model::id::BootId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What is asked of a host.
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
    answers: Receiver<(Host, Facts)>,
    answering: Sender<(Host, Facts)>,
}

impl Prober {
    /// `spool` is where its caches lie, and whose disk is looked at.
    pub fn new(spool: &Path, boot: BootId) -> std::io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (answering, answers) = channel();
        Ok(Self { host: Some(Host::new(spool, boot)), waiting: None, ready, answers, answering })
    }

    /// Readable when an answer is there.
    pub fn fd(&self) -> &OwnedFd {
        &self.ready
    }

    /// Begins a reading; while one is under way, the newest question waits for it.
    pub fn ask(&mut self, question: ProbeRequest) {
        self.waiting = Some(question);
        self.begin();
    }

    fn begin(&mut self) {
        // Taking either without the other would lose it.
        if self.host.is_none() || self.waiting.is_none() {
            return;
        }
        let (Some(mut host), Some(question)) = (self.host.take(), self.waiting.take()) else { return };
        let answering = self.answering.clone();
        let Ok(ready) = self.ready.try_clone() else { return };
        std::thread::spawn(move || {
            let facts = host.read(&question);
            if answering.send((host, facts)).is_ok() {
                let _ = rustix::io::write(ready, &1u64.to_ne_bytes());
            }
        });
    }

    /// A finished reading.
    pub fn answer(&mut self) -> Option<Facts> {
        let (host, facts) = self.answers.try_recv().ok()?;
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
    fn every_question_gets_its_answer() {
        let spool = tempfile::tempdir().unwrap();
        let mut prober = Prober::new(spool.path(), BootId("b".to_owned())).unwrap();
        for round in 0..3 {
            prober.ask(ProbeRequest::default());
            let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(prober.fd(), PollFlags::IN)], Some(&limit)).unwrap();
            assert_eq!(ready, 1, "question {round} is not answered");
            assert!(prober.answer().is_some());
        }
    }
}
