//! Suspects: servers on which attempts fail within moments while others of their class live elsewhere. Such a server would take all
//! that waits, for it is always free again: it gets single starts in growing pauses until one lives.

use crate::model::id::{ClassId, ServerId};
use crate::store::failing::{Failing, KEPT, SuspectClasses};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// An attempt that fails within this time failed at once. One that runs for longer has lived, however it ends.
pub const MOMENTS: Duration = Duration::from_secs(10);
/// Fewer failures in a row say nothing.
const MANY: u32 = 5;
/// A row of failures is suspicious if, were the server like the others, it would come about less often than this.
const CHANCE: f64 = 1e-3;
/// The pause before the next start on a suspect; it doubles with each start.
const PAUSE: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(30 * 60);
/// How many outcomes of a class, of the same age or younger than a row, are compared with it.
const LATEST: usize = 64;
/// How many classes are remembered.
const CLASSES: usize = 10_000;

/// What is remembered of servers and classes.
#[derive(Debug, Default)]
pub(in crate::dispatch) struct Suspects {
    classes: HashMap<ClassId, ClassRecord>,
    /// When the last attempt began, of any class, that lived on a server.
    lived: BTreeMap<ServerId, Instant>,
    /// Failures on a server in a row, of classes that have lived elsewhere since, with the time of the first.
    strikes: BTreeMap<ServerId, (Instant, u32)>,
    suspects: BTreeMap<ServerId, Suspicion>,
}

/// The outcomes of a class.
#[derive(Debug, Default)]
struct ClassRecord {
    /// Failures in a row on each server.
    rows: BTreeMap<ServerId, FailureRow>,
    latest: VecDeque<Outcome>,
}

/// Failures in a row.
#[derive(Debug, Clone, Copy)]
struct FailureRow {
    since: Instant,
    failures: u32,
    /// The class has lived elsewhere since: they are among the strikes of the server.
    struck: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    at: Instant,
    server: ServerId,
    lived: bool,
}

/// A suspect.
#[derive(Debug)]
struct Suspicion {
    /// The classes that are known to fail there. None: any class that lives there clears it.
    classes: BTreeSet<ClassId>,
    /// Nothing has lived there since: no class gets more than single starts.
    general: bool,
    failures: u32,
    since: Instant,
    failed_at: Instant,
    pause: Duration,
    next_start: Instant,
    /// When it is looked after next.
    due: Instant,
}

impl Suspicion {
    /// The first start is due at once.
    fn new(failures: u32, general: bool, now: Instant) -> Self {
        let (since, failed_at, next_start, due) = (now, now, now, now);
        Self { classes: BTreeSet::new(), general, failures, since, failed_at, pause: PAUSE, next_start, due }
    }
}

/// What an outcome changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatch) enum Change {
    /// A server is a suspect, by so many failures in a row.
    Suspected(ServerId, u32),
    /// It is one for fewer classes.
    Opened(ServerId),
    /// It is none any more.
    Cleared(ServerId),
}

/// Would so many failures in a row be unlikely on a server on which attempts fail as often as elsewhere?
pub(super) fn is_unlikely(failures: u32, lived: u32, failed: u32) -> bool {
    // How often attempts fail, where few were seen (rule of succession).
    let share = f64::from(failed + 1) / f64::from(lived + failed + 2);
    lived > 0 && failures >= MANY && share.powi(i32::try_from(failures).unwrap_or(i32::MAX)) <= CHANCE
}

impl ClassRecord {
    fn note(&mut self, outcome: Outcome) {
        if self.latest.len() >= LATEST {
            self.latest.pop_front();
        }
        self.latest.push_back(outcome);
    }

    /// How many attempts lived and failed elsewhere since a row began.
    fn elsewhere(&self, server: ServerId, row: FailureRow) -> (u32, u32) {
        let since = self.latest.iter().filter(|outcome| outcome.server != server && outcome.at >= row.since);
        since.fold((0, 0), |(lived, failed), one| if one.lived { (lived + 1, failed) } else { (lived, failed + 1) })
    }

    /// Failures on a server that are suspicious; None: they are not.
    fn suspicious(&self, server: ServerId) -> Option<u32> {
        let row = *self.rows.get(&server).filter(|row| row.failures >= MANY)?;
        let (lived, failed) = self.elsewhere(server, row);
        is_unlikely(row.failures, lived, failed).then_some(row.failures)
    }
}

impl Suspects {
    /// An attempt failed within moments.
    pub(in crate::dispatch) fn failed(&mut self, class: ClassId, server: ServerId, now: Instant) -> Option<Change> {
        let record = self.record(class);
        record.note(Outcome { at: now, server, lived: false });
        let first = FailureRow { since: now, failures: 0, struck: false };
        let row = record.rows.entry(server).or_insert(first);
        if now.saturating_duration_since(row.since) > KEPT {
            *row = first;
        }
        row.failures += 1;
        if row.struck {
            self.strikes.entry(server).or_insert((now, 0)).1 += 1;
        }
        if let Some(suspicion) = self.suspects.get_mut(&server) {
            suspicion.failures += 1;
            suspicion.failed_at = now;
        }
        self.suspect(class, server, now)
    }

    /// An attempt that began then has lived.
    pub(in crate::dispatch) fn lived(
        &mut self,
        class: ClassId,
        server: ServerId,
        began: Instant,
        now: Instant,
    ) -> Vec<Change> {
        let mut changes: Vec<Change> = self.lived_there(class, server, began).into_iter().collect();
        self.lived.insert(server, began);
        // What began before the failures does not say that they are over.
        self.strikes.retain(|struck, (since, _)| *struck != server || began < *since);
        let record = self.record(class);
        record.rows.retain(|failing, row| *failing != server || began < row.since);
        record.note(Outcome { at: now, server, lived: true });
        let elsewhere: Vec<(ServerId, FailureRow)> =
            record.rows.iter().filter(|(other, _)| **other != server).map(|(other, row)| (*other, *row)).collect();
        for (other, row) in elsewhere {
            if !row.struck {
                self.strikes.entry(other).or_insert((row.since, 0)).1 += row.failures;
                self.record(class).rows.entry(other).and_modify(|row| row.struck = true);
            }
            if !self.suspects.contains_key(&other) {
                changes.extend(self.suspect(class, other, now));
            }
        }
        changes
    }

    fn record(&mut self, class: ClassId) -> &mut ClassRecord {
        if self.classes.len() > CLASSES {
            self.classes.clear();
        }
        self.classes.entry(class).or_default()
    }

    /// Opens a suspect to a class that lives there, and to all that are not known to fail there.
    fn lived_there(&mut self, class: ClassId, server: ServerId, began: Instant) -> Option<Change> {
        let suspicion = self.suspects.get_mut(&server).filter(|suspicion| began >= suspicion.since)?;
        let opens = std::mem::take(&mut suspicion.general) | suspicion.classes.remove(&class);
        if !suspicion.classes.is_empty() {
            return opens.then_some(Change::Opened(server));
        }
        self.suspects.remove(&server);
        Some(Change::Cleared(server))
    }

    /// Makes a server a suspect if a row of this class, or its strikes, say so. Gives the failures of a suspect.
    fn suspect(&mut self, class: ClassId, server: ServerId, now: Instant) -> Option<Change> {
        let record = self.classes.get(&class)?;
        let row = record.suspicious(server);
        let strikes = self.strikes.get(&server).map(|(_, strikes)| *strikes).filter(|strikes| *strikes >= 2 * MANY);
        if let (None, Some(failures)) = (self.suspects.get(&server), row.or(strikes)) {
            let since = record.rows.get(&server).map_or(now, |row| row.since);
            let general = self.lived.get(&server).is_none_or(|lived| *lived < since);
            self.suspects.insert(server, Suspicion::new(failures, general, now));
            self.started(server, now);
        }
        let suspicion = self.suspects.get_mut(&server)?;
        if row.is_some() {
            suspicion.classes.insert(class);
        }
        Some(Change::Suspected(server, suspicion.failures))
    }

    /// A suspect as the database has it.
    pub(in crate::dispatch) fn restore(&mut self, server: ServerId, failing: Failing, now: Instant) {
        let suspicion = match failing.about {
            SuspectClasses::Any => Suspicion::new(failing.failures, true, now),
            SuspectClasses::These(classes) => Suspicion { classes, ..Suspicion::new(failing.failures, false, now) },
        };
        self.suspects.insert(server, suspicion);
    }

    /// The classes that get no more than single starts on a suspect.
    pub(in crate::dispatch) fn about(&self, server: ServerId) -> SuspectClasses {
        let particular = self.suspects.get(&server).filter(|suspicion| !suspicion.general);
        particular.map_or(SuspectClasses::Any, |suspicion| SuspectClasses::These(suspicion.classes.clone()))
    }

    /// True if single starts in pauses are all that a server gets.
    pub(in crate::dispatch) fn is_suspect(&self, server: ServerId) -> bool {
        self.suspects.contains_key(&server)
    }

    /// All suspects.
    pub(in crate::dispatch) fn servers(&self) -> Vec<ServerId> {
        self.suspects.keys().copied().collect()
    }

    /// Suspects that get no start of a class now.
    pub(in crate::dispatch) fn closed_to(&self, class: ClassId, now: Instant) -> Vec<ServerId> {
        let closed = |suspicion: &Suspicion| suspicion.general || suspicion.classes.contains(&class);
        let paused = self.suspects.iter().filter(|(_, suspicion)| closed(suspicion) && now < suspicion.next_start);
        paused.map(|(server, _)| *server).collect()
    }

    /// How many attempts of a class may be ahead on a server; None: as many as elsewhere.
    pub(in crate::dispatch) fn ahead(&self, class: ClassId, server: ServerId) -> Option<u32> {
        if let Some(suspicion) = self.suspects.get(&server) {
            return (suspicion.general || suspicion.classes.contains(&class)).then_some(1);
        }
        let record = self.classes.get(&class)?;
        let row = *record.rows.get(&server)?;
        // A class that fails elsewhere too is the cause itself.
        (record.elsewhere(server, row).1 == 0).then_some(MANY)
    }

    /// An attempt was sent to a server. On a suspect it is the only one for a while.
    pub(in crate::dispatch) fn started(&mut self, server: ServerId, now: Instant) {
        if let Some(suspicion) = self.suspects.get_mut(&server) {
            suspicion.next_start = now + suspicion.pause;
            suspicion.due = suspicion.next_start;
            suspicion.pause = (suspicion.pause * 2).min(PAUSE_MAX);
        }
    }

    /// True if a row of failures of a class lacks nothing but an attempt that lives elsewhere.
    pub(in crate::dispatch) fn looks_for_life(&self, class: ClassId, server: ServerId) -> bool {
        let Some(record) = self.classes.get(&class) else { return false };
        let row = record.rows.get(&server).filter(|row| row.failures >= MANY);
        row.is_some_and(|row| record.elsewhere(server, *row) == (0, 0)) && !self.suspects.contains_key(&server)
    }

    /// Drops suspects that have not failed for long.
    pub(in crate::dispatch) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let old = |suspicion: &Suspicion| now.saturating_duration_since(suspicion.failed_at) > KEPT;
        let expired: Vec<ServerId> =
            self.suspects.iter().filter(|(_, suspicion)| old(suspicion)).map(|(server, _)| *server).collect();
        expired
            .into_iter()
            .map(|server| {
                self.suspects.remove(&server);
                self.strikes.remove(&server);
                for record in self.classes.values_mut() {
                    record.rows.remove(&server);
                }
                Change::Cleared(server)
            })
            .collect()
    }

    /// When the next suspect is looked after: it gets a start, or is none any more.
    pub(in crate::dispatch) fn due_at(&self) -> Option<Instant> {
        self.suspects.values().map(|suspicion| suspicion.due).min()
    }

    /// Suspects to look after now; each is given once for each start.
    pub(in crate::dispatch) fn take_due(&mut self, now: Instant) -> Vec<ServerId> {
        let mut due = Vec::new();
        for (server, suspicion) in self.suspects.iter_mut().filter(|(_, suspicion)| suspicion.due <= now) {
            suspicion.due = now.max(suspicion.failed_at + KEPT) + PAUSE;
            due.push(*server);
        }
        due
    }
}
