//! Recovery: what a spool records of attempts whose agent or supervisor has died.

use super::AgentError;
use super::attempt_table::{Attempt, AttemptState, Run};
use super::journal::{JournalRecord, Reader};
use super::process;
use super::serve::Agent;
use super::spool::RunId;
use super::spool_lock::wait_until_unlocked;
use crate::model::attempt::{Cause, End, Usage};
use crate::model::clock::Moment;
use crate::model::id::AttemptId;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Held, HeldState, INLINE_MAX};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a supervisor may take to release its journal after its agent is gone.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// An inventory contains small outputs up to this size together; the home asks for the others.
const INVENTORY_INLINE: u64 = 4 << 20;

impl Agent {
    /// Reads the runs of earlier agents. Afterwards nothing more begins in them.
    pub fn recover(&mut self, left: Vec<RunId>) -> Result<(), AgentError> {
        for id in left {
            let dir = self.spool.run_dir(id);
            if !wait_until_unlocked(&dir.join("journal"), CLOSE_WAIT) {
                return Err(AgentError::Unfit(format!(
                    "the supervisor of {} does not answer (is it stopped?): its task may still begin",
                    dir.display()
                )));
            }
            self.recover_run(id, &dir)?;
        }
        // The inventory reports what was found.
        self.events.clear();
        Ok(())
    }

    fn recover_run(&mut self, id: RunId, dir: &Path) -> Result<(), AgentError> {
        // A run that can't be read now (too many open files, a faulty disk) exists all the same: without it, running attempts would
        // be taken for never begun.
        let unreadable = |error: io::Error| AgentError::Unfit(format!("{}: {error}", dir.display()));
        let mut reader = Reader::default();
        let records = match File::open(dir.join("journal")) {
            Ok(file) => reader.new_records(&file).map_err(unreadable)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unreadable(error)),
        };
        let Some(header) = reader.header() else {
            // Its agent died before it wrote the first line: no supervisor was started here.
            let _ = std::fs::remove_dir_all(dir);
            return Ok(());
        };
        let mut run = Run::open(dir.to_owned(), header.lane, header.boot.clone()).map_err(unreadable)?;
        run.reader = reader;
        let (mut lane, other_boot) = (run.lane, run.boot != self.boot);
        let confirmed: HashSet<AttemptId> = run.read_confirmed().into_iter().collect();
        self.runs.insert(id, run);
        for record in records {
            if let JournalRecord::Lane { lane: next } = &record {
                lane = *next;
            }
            if let JournalRecord::Begun { attempt, .. } | JournalRecord::Ended { attempt, .. } = &record {
                if confirmed.contains(attempt) {
                    continue;
                }
                if self.attempts.get(*attempt).is_none() {
                    self.attempts.insert(*attempt, Attempt { lane, run: Some(id), state: AttemptState::Queued });
                }
            }
            self.apply(id, record);
        }
        let supervisor = self.runs.get(&id).and_then(|r| r.supervisor.clone()).filter(|_| !other_boot);
        // A supervisor that can't be opened, for want of descriptors, is not gone.
        let supervisor = supervisor.map(|s| process::open(&s)).transpose().map_err(unreadable)?.flatten();
        let looked = match supervisor {
            Some(pidfd) => self.watch_supervisor(id, pidfd),
            None => self.supervisor_gone(id),
        };
        looked.map_err(unreadable)
    }

    /// Handles the death of a run's supervisor: adopts the commands that still run. An error: that can't be found out, and nothing is LOST.
    pub fn supervisor_gone(&mut self, id: RunId) -> io::Result<()> {
        // It may have written records since the journal was read.
        self.catch_up(id)?;
        let Some(run) = self.runs.get_mut(&id) else { return Ok(()) };
        run.gone = true;
        run.open_outputs()?;
        let other_boot = run.boot != self.boot;
        let journal = run.dir.join("journal");
        let is_left = |a: &Attempt| a.run == Some(id) && matches!(a.state, AttemptState::Running { .. });
        let left: Vec<AttemptId> = self.attempts.iter().filter(|(_, a)| is_left(a)).map(|(id, _)| id).collect();
        if !left.is_empty() && !other_boot {
            // A child between fork and exec still holds the lock: once it is free, every command has its own environment.
            wait_until_unlocked(&journal, Duration::from_secs(1));
        }
        for attempt in left {
            if other_boot {
                self.record_lost(attempt, "the host was restarted while it ran");
            } else {
                self.adopt(attempt)?;
            }
        }
        self.remove_if_done(id);
        Ok(())
    }

    /// Records an end whose exit code is unknown.
    pub fn record_lost(&mut self, attempt: AttemptId, why: &str) {
        self.end_without_supervisor(attempt, Cause::Lost { why: why.to_owned() });
    }

    /// Writes the end in the place of the supervisor, so that every later agent reports the same.
    pub fn end_without_supervisor(&mut self, attempt: AttemptId, cause: Cause) {
        let Some(Attempt { run: Some(id), state, .. }) = self.attempts.get(attempt) else { return };
        let AttemptState::Running { started_at, since_boot: begun, from, without, .. } = state else { return };
        let (id, started_at, begun, from, without) = (*id, *started_at, *begun, *from, without.clone());
        let Some(run) = self.runs.get(&id) else { return };
        let len = |file: &Option<File>| file.as_ref().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        let end = End {
            cause,
            started_at: Some(started_at),
            ended_at: found_at(started_at, begun.filter(|_| run.boot == self.boot), self.ambient.moment()),
            usage: Usage::default(),
            out_len: len(&run.out).saturating_sub(from.out),
            err_len: len(&run.err).saturating_sub(from.err),
            cut: super::bound::read_note(&run.dir, attempt),
            without,
        }
        .fitting();
        let record = JournalRecord::Ended { attempt, end: end.clone(), out: from.out, err: from.err };
        if let Ok(file) = OpenOptions::new().append(true).open(run.dir.join("journal"))
            && let Ok(mut journal) = super::journal::Writer::new(file)
        {
            journal.end_line();
            let _ = journal.commit_with(&record);
        }
        self.record_end(id, attempt, end, from);
    }

    /// All attempts that the spool holds for the home.
    pub fn inventory(&mut self) -> Vec<Held> {
        let mut budget = INVENTORY_INLINE;
        let known: Vec<AttemptId> = self.attempts.iter().map(|(id, _)| id).collect();
        let mut held = Vec::with_capacity(known.len());
        for attempt in known {
            let Some(known) = self.attempts.get(attempt) else { continue };
            let lane = known.lane;
            let state = match &known.state {
                AttemptState::Queued => HeldState::Queued,
                AttemptState::Running { started_at, process, supervised, without, .. } => {
                    let (process, without) = (process.clone(), without.clone());
                    HeldState::Running { started_at: *started_at, process, supervised: *supervised, without }
                }
                AttemptState::Ended { .. } => {
                    let Some(mut ended) = self.with_outputs(attempt) else { continue };
                    for (stream, len) in [(&mut ended.out, ended.end.out_len), (&mut ended.err, ended.end.err_len)] {
                        match budget.checked_sub(len) {
                            Some(left) if len <= INLINE_MAX => budget = left,
                            _ => *stream = None,
                        }
                    }
                    HeldState::Ended(ended)
                }
            };
            held.push(Held { attempt, lane, state });
        }
        held
    }
}

/// The time of an end that no supervisor recorded: the begin plus the time since then, where both are of this boot. Otherwise it is now,
/// but not before the begin.
fn found_at(started_at: Timestamp, begun: Option<Duration>, now: Moment) -> Timestamp {
    begun.map_or_else(
        || now.wall.max(started_at),
        |since_boot| Moment { wall: started_at, since_boot }.end_at(now.since_boot),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::journal::{self, Header};
    use crate::agent::output::Offsets;
    use crate::agent::place::AgentPlace;
    use crate::model::ambient::Ambient;
    use crate::model::id::{BootId, Epoch, HomeId, LaneId};
    use crate::model::test_clock::TestClock;
    use crate::protocol::agent::{ToAgent, VERSION};
    use std::rc::Rc;

    const HOME: HomeId = HomeId(uuid::Uuid::nil());

    fn attempt() -> AttemptId {
        "019a0000-0000-7000-8000-00000000000a.0.1".parse().unwrap()
    }

    /// The end that an agent records which finds this attempt begun in a run of this boot, without a supervisor and without a command.
    fn recovered_end(boot: BootId, begun: Moment, clock: &Rc<TestClock>) -> End {
        let spool = tempfile::tempdir().unwrap();
        let run = spool.path().join(HOME.to_string()).join("runs/1");
        std::fs::create_dir_all(&run).unwrap();
        let mut lines = Vec::new();
        journal::line(&Header { journal: journal::VERSION, boot, home: HOME, lane: LaneId(1) }, &mut lines);
        let since_boot = Some(begun.since_boot);
        let begun = JournalRecord::Begun {
            attempt: attempt(),
            at: begun.wall,
            since_boot,
            out: 3,
            err: 0,
            without: vec!["VIRTUAL_ENV".to_owned()],
        };
        journal::line(&begun, &mut lines);
        std::fs::write(run.join("journal"), lines).unwrap();
        std::fs::write(run.join("out"), "of another, and of this").unwrap();
        let hello = ToAgent::Hello { version_min: 1, version: VERSION, home: HOME, incarnation: 1, epoch: Epoch(1) };
        let ambient: Rc<dyn Ambient> = Rc::<TestClock>::clone(clock);
        let agent = Agent::open(&AgentPlace::At(spool.path().to_owned()), hello, false, ambient).unwrap();
        let Some(Attempt { state: AttemptState::Ended { end, from }, .. }) = agent.attempts.get(attempt()) else {
            panic!("{:?}", agent.attempts)
        };
        assert_eq!(end.without, ["VIRTUAL_ENV"]);
        assert_eq!(*from, Offsets { out: 3, err: 0 });
        assert!(matches!(end.cause, Cause::Lost { .. }), "{end:?}");
        end.clone()
    }

    #[test]
    fn lost_attempt_of_this_boot_ends_after_the_time_that_passed_whatever_the_wall_clock_says() {
        let clock = Rc::new(TestClock::new());
        let begun = clock.moment();
        clock.advance(Duration::from_secs(90));
        clock.set_wall(-3_600_000);
        let end = recovered_end(BootId::of_this_host(), begun, &clock);
        assert_eq!(end.ended_at, begun.wall.plus(Duration::from_secs(90)));
        assert_eq!((end.started_at, end.out_len), (Some(begun.wall), 20));
    }

    #[test]
    fn lost_attempt_of_an_earlier_boot_ends_when_it_is_found_and_not_before_it_began() {
        let clock = Rc::new(TestClock::new());
        let begun = clock.moment();
        let earlier = BootId("an earlier boot".into());
        clock.advance(Duration::from_secs(90));
        assert_eq!(recovered_end(earlier.clone(), begun, &clock).ended_at, clock.now().wall);
        clock.set_wall(-3_600_000);
        assert_eq!(recovered_end(earlier, begun, &clock).ended_at, begun.wall);
    }
}
