//! Slow work on files, on threads of its own: the loop must not wait for a disk.

use super::workdirs::{self, SpoolDirs};
use super::{bundles, results};
use crate::model::command::Text;
use crate::model::files::{Digest, Sent};
use crate::model::id::AttemptId;
use crate::model::task::Launch;
use crate::protocol::agent::Packing;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Jobs at the same time: a disk is not made faster by more.
const AT_ONCE: usize = 4;
/// At most so many of them pack: that may take long, and a task that is about to start must not wait for it.
const PACKING_AT_ONCE: usize = 3;

/// A piece of work.
#[derive(Debug)]
pub enum Job {
    /// Verify the digest of an archive, and give it its name.
    Verify { bundle: Digest },
    /// Make the directory of an attempt.
    Make { attempt: AttemptId, sent: Sent },
    /// Pack the results of an attempt, until it is stopped.
    Pack { attempt: AttemptId, launch: Box<Launch>, stop: Arc<AtomicBool> },
    /// Remove the directory of an attempt.
    Clear { attempt: AttemptId },
}

impl Job {
    const fn packs(&self) -> bool {
        matches!(self, Self::Pack { .. })
    }
}

/// The result of a job.
#[derive(Debug)]
pub enum Done {
    Verified {
        bundle: Digest,
        result: Result<(), String>,
    },
    /// The directory in which the attempt is to run.
    Made {
        attempt: AttemptId,
        result: Result<Text, String>,
    },
    Packed {
        attempt: AttemptId,
        result: Result<Packing, String>,
    },
    Cleared {
        attempt: AttemptId,
    },
}

/// The threads, and the jobs that wait for one.
#[derive(Debug)]
pub struct Worker {
    dirs: SpoolDirs,
    waiting: VecDeque<Job>,
    busy: usize,
    packing: usize,
    ready: OwnedFd,
    done: Receiver<Done>,
    doing: Sender<Done>,
}

impl Worker {
    /// Without jobs.
    pub fn new(dirs: SpoolDirs) -> std::io::Result<Self> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (doing, done) = channel();
        Ok(Self { dirs, waiting: VecDeque::new(), busy: 0, packing: 0, ready, done, doing })
    }

    /// Readable when a job is done.
    pub const fn fd(&self) -> &OwnedFd {
        &self.ready
    }

    /// Adds a job.
    pub fn enqueue(&mut self, job: Job) {
        self.waiting.push_back(job);
        self.begin();
    }

    fn begin(&mut self) {
        while self.busy < AT_ONCE {
            let may_pack = self.packing < PACKING_AT_ONCE;
            let next = self.waiting.iter().position(|job| may_pack || !job.packs());
            let Some(job) = next.and_then(|at| self.waiting.remove(at)) else { return };
            let Ok(ready) = self.ready.try_clone() else { return self.waiting.push_front(job) };
            self.busy += 1;
            self.packing += usize::from(job.packs());
            let (dirs, doing) = (self.dirs.clone(), self.doing.clone());
            std::thread::spawn(move || {
                let done = carry_out(&dirs, job);
                if doing.send(done).is_ok() {
                    let _ = rustix::io::write(ready, &1u64.to_ne_bytes());
                }
            });
        }
    }

    /// Takes the results of all jobs that are done.
    pub fn take_done(&mut self) -> Vec<Done> {
        // Before the results: one that comes after this wakes again.
        let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        let done: Vec<Done> = self.done.try_iter().collect();
        self.busy -= done.len();
        self.packing -= done.iter().filter(|done| matches!(done, Done::Packed { .. })).count();
        self.begin();
        done
    }
}

fn carry_out(dirs: &SpoolDirs, job: Job) -> Done {
    match job {
        Job::Verify { bundle } => Done::Verified { bundle, result: bundles::verify(&dirs.bundles, bundle) },
        Job::Make { attempt, sent } => Done::Made { attempt, result: workdirs::make(dirs, attempt, &sent) },
        Job::Pack { attempt, launch, stop } => {
            let result = results::pack(dirs, attempt, &launch, &|| !stop.load(Ordering::Relaxed));
            Done::Packed { attempt, result }
        }
        Job::Clear { attempt } => {
            workdirs::clear(dirs, attempt);
            Done::Cleared { attempt }
        }
    }
}
