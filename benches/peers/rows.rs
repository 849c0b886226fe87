//! What is measured, row by row, the same way for every peer.

use crate::peer::{Outcome, Peer, pss};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How much is done for one sample.
pub struct Scale {
    pub submits: usize,
    pub array: usize,
    pub large_array: usize,
    pub one_by_one: usize,
    pub backlogs: &'static [usize],
    pub ended: usize,
    pub ssh: usize,
}

impl Scale {
    pub const FULL: Self = Self {
        submits: 25,
        array: 2_000,
        large_array: 20_000,
        one_by_one: 500,
        backlogs: &[10_000, 100_000],
        ended: 1_000_000,
        ssh: 2_000,
    };
    pub const QUICK: Self = Self {
        submits: 10,
        array: 500,
        large_array: 2_000,
        one_by_one: 100,
        backlogs: &[1_000],
        ended: 10_000,
        ssh: 600,
    };
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Fsync {
        apart: bool,
    },
    Submit,
    Start,
    /// With nothing up before.
    FirstStart,
    End,
    Array {
        large: bool,
    },
    OneByOne,
    IdleMemory,
    Proof,
    Waiting {
        size: usize,
        what: Waiting,
    },
    Ssh {
        hosts: usize,
    },
    SshEnd,
    SshProof,
    Import {
        hosts: usize,
    },
}

/// What is measured while many wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Waiting {
    Submit,
    List,
    Memory,
    /// With very many ended besides.
    AgedSubmit,
    AgedList,
}

/// One sample, and what is to be said with it.
#[derive(Clone)]
pub struct Sample {
    pub value: f64,
    pub note: Option<String>,
}

impl Row {
    /// Rows that are measured while nothing waits, in their order.
    pub fn idle() -> Vec<Self> {
        let (small, large) = (Self::Array { large: false }, Self::Array { large: true });
        let first = [
            Self::Fsync { apart: false },
            Self::Fsync { apart: true },
            Self::Submit,
            Self::Start,
            Self::FirstStart,
            Self::End,
            Self::IdleMemory,
        ];
        first.into_iter().chain([small, large, Self::OneByOne]).collect()
    }

    /// Its words, and whether more is better.
    pub fn title(&self, scale: &Scale) -> (String, bool) {
        let thousands = |n: usize| match n {
            0..1_000 => n.to_string(),
            1_000..1_000_000 => format!("{},{:03}", n / 1_000, n % 1_000),
            _ => format!("{} M", n / 1_000_000),
        };
        match self {
            Self::Fsync { apart: false } => ("one fsync of this disk, ms".into(), false),
            Self::Fsync { apart: true } => ("one fsync, 2 ms after the last, ms".into(), false),
            Self::Submit => ("one submit, idle, ms".into(), false),
            Self::Start => ("submit to start, ms".into(), false),
            Self::FirstStart => ("submit to start, nothing up before, ms".into(), false),
            Self::End => ("submit to known end, ms".into(), false),
            Self::Array { large } => {
                let size = if *large { scale.large_array } else { scale.array };
                (format!("{} no-ops as an array, tasks/s", thousands(size)), true)
            }
            Self::OneByOne => (format!("{} no-ops one by one, tasks/s", scale.one_by_one), true),
            Self::IdleMemory => ("memory, idle, MiB".into(), false),
            Self::Proof => ("outputs and exit codes kept".into(), true),
            Self::Ssh { hosts: 1 } => (format!("{} no-ops over ssh on one host, tasks/s", thousands(scale.ssh)), true),
            Self::Ssh { hosts } => {
                (format!("{} no-ops over ssh on {hosts} hosts, tasks/s", thousands(scale.ssh)), true)
            }
            Self::SshEnd => ("one over ssh to its known end, ms".into(), false),
            Self::SshProof => ("outputs and exit codes brought home".into(), true),
            Self::Import { hosts } => (format!("import of {hosts} fresh hosts and a first task there, ms"), false),
            Self::Waiting { size, what } => {
                let size = thousands(*size);
                let ended = thousands(scale.ended);
                match what {
                    Waiting::Submit => (format!("one submit, {size} waiting, ms"), false),
                    Waiting::List => (format!("list, {size} waiting, ms"), false),
                    Waiting::Memory => (format!("memory, {size} waiting, MiB"), false),
                    Waiting::AgedSubmit => (format!("one submit, {size} waiting, {ended} ended, ms"), false),
                    Waiting::AgedList => (format!("list, {size} waiting, {ended} ended, ms"), false),
                }
            }
        }
    }

    /// One sample; None: the peer has no such thing.
    pub fn measure(&self, peer: &mut dyn Peer, scale: &Scale) -> Outcome<Option<Sample>> {
        match self {
            Self::Fsync { apart } => {
                if peer.name() == "xargs" {
                    fsync(if *apart { SUBMIT } else { Duration::ZERO }).map(Some)
                } else {
                    Ok(None)
                }
            }
            Self::Submit => {
                let found = submits(peer, scale.submits)?;
                peer.settle()?;
                Ok(found)
            }
            Self::Start => median_of(scale.submits, || to_start(peer)),
            Self::FirstStart => median_of(scale.submits, || match peer.rest()? {
                Some(()) => to_start(peer),
                None => Ok(None),
            }),
            Self::End => median_of(scale.submits, || {
                let began = Instant::now();
                Ok(peer.submit_and_wait()?.map(|()| began.elapsed()))
            }),
            Self::Array { large } => {
                let full = if *large { scale.large_array } else { scale.array };
                if *large && peer.patience() < full {
                    return Ok(None);
                }
                let size = full.min(peer.patience());
                let began = Instant::now();
                let Some(ran) = peer.array(size)? else { return Ok(None) };
                rate(ran, size, full, began.elapsed()).map(Some)
            }
            Self::OneByOne => {
                let size = scale.one_by_one.min(peer.patience());
                peer.settle()?;
                let began = Instant::now();
                for _ in 0..size {
                    if peer.submit(&["true"])?.is_none() {
                        return Ok(None);
                    }
                }
                let Some(ran) = peer.settle()? else { return Ok(None) };
                rate(ran, size, scale.one_by_one, began.elapsed()).map(Some)
            }
            Self::IdleMemory => {
                let processes = peer.processes();
                Ok((!processes.is_empty()).then(|| Sample { value: pss(&processes), note: None }))
            }
            Self::Proof => Ok(peer.proof(20)?.map(|()| Sample { value: 20.0, note: Some("both".into()) })),
            // By `ssh.rs`.
            Self::Ssh { .. } | Self::SshEnd | Self::SshProof | Self::Import { .. } => Ok(None),
            Self::Waiting { what: Waiting::Submit | Waiting::AgedSubmit, .. } => submits(peer, scale.submits),
            Self::Waiting { what: Waiting::List | Waiting::AgedList, .. } => median_of(5, || {
                let began = Instant::now();
                Ok(peer.list()?.map(|()| began.elapsed()))
            }),
            Self::Waiting { what: Waiting::Memory, .. } => {
                let value = pss(&peer.processes());
                Ok((value > 0.0).then_some(Sample { value, note: None }))
            }
        }
    }
}

fn submits(peer: &mut dyn Peer, times: usize) -> Outcome<Option<Sample>> {
    median_of(times, || {
        let began = Instant::now();
        Ok(peer.submit(&["true"])?.map(|()| began.elapsed()))
    })
}

/// All must have run: a queue that drops tasks is quick.
pub fn rate(ran: usize, size: usize, full: usize, took: Duration) -> Outcome<Sample> {
    if ran != size {
        return Err(format!("{ran} of {size} tasks ran").into());
    }
    let note = (size < full).then(|| format!("of {size}"));
    Ok(Sample { value: size as f64 / took.as_secs_f64(), note })
}

/// So many times, or as often as goes into two seconds.
pub fn median_of(times: usize, mut once: impl FnMut() -> Outcome<Option<Duration>>) -> Outcome<Option<Sample>> {
    let mut all = Vec::new();
    let began = Instant::now();
    while all.len() < times && (all.is_empty() || began.elapsed() < Duration::from_secs(2)) {
        match once()? {
            Some(took) => all.push(took.as_secs_f64() * 1e3),
            None => return Ok(None),
        }
    }
    all.sort_by(f64::total_cmp);
    Ok(Some(Sample { value: all[all.len() / 2], note: None }))
}

/// About as long as a submit takes: a disk that was let alone for a moment answers later than one that is kept busy.
const SUBMIT: Duration = Duration::from_millis(2);

/// A page at the end of a file, and its way to the disk; so long after the one before.
fn fsync(apart: Duration) -> Outcome<Sample> {
    let path = std::env::temp_dir().join(format!("grid-fsync-{}", std::process::id()));
    let mut file = File::create(&path)?;
    let found = median_of(50, || {
        std::thread::sleep(apart);
        std::io::Write::write_all(&mut file, &[1; 4096])?;
        let began = Instant::now();
        file.sync_all()?;
        Ok(Some(began.elapsed()))
    });
    std::fs::remove_file(&path)?;
    found?.ok_or_else(|| "nothing was measured".into())
}

/// The task opens a FIFO: that is its start, whoever started it and however.
fn to_start(peer: &mut dyn Peer) -> Outcome<Option<Duration>> {
    let path: PathBuf = std::env::temp_dir().join(format!("grid-start-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)?;
    // Held for writing too, so that the reader does not see an end of its own.
    let mut fifo = OpenOptions::new().read(true).write(true).mode(0o600).open(&path)?;
    let script = format!("echo > {}", path.display());
    let began = Instant::now();
    let seen = std::thread::spawn(move || {
        let mut byte = [0];
        fifo.read_exact(&mut byte).map(|()| Instant::now())
    });
    let submitted = peer.submit(&["sh", "-c", &script]);
    if !matches!(submitted, Ok(Some(()))) {
        // The reader waits for a word: it is ours.
        std::fs::write(&path, "\n")?;
    }
    let at = seen.join().map_err(|_| "the reader is gone")??;
    std::fs::remove_file(&path)?;
    Ok(submitted?.map(|()| at - began))
}
