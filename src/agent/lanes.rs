//! Lanes: each has at most one supervisor. The agent sends it attempts and reads its reports.

use super::attempt_table::{AttemptBegin, AttemptState, Run};
use super::journal::JournalRecord;
use super::output::Offsets;
use super::serve::Agent;
use super::spool::{RunId, why_unusable};
use super::supervisor::SupervisorHandle;
use crate::model::failpoint::failpoint;
use crate::model::files::{Digest, Sent};
use crate::model::id::{AttemptId, LaneId};
use crate::model::open_files;
use crate::protocol::agent::{Event, Refusal, Start, StartMember};
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};
use std::collections::VecDeque;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A supervisor holds up to this many members that have not ended, and gets more when half are done.
const LOOKAHEAD: usize = 512;
/// Bytes of entries in one batch.
const BATCH_BYTES: usize = 1 << 20;
/// An idle supervisor is stopped after this.
pub const IDLE: Duration = Duration::from_secs(3);
/// The lane of a supervisor that was started before it was needed; the lanes of homes count from 1.
const PRESTARTED: LaneId = LaneId(0);

/// A place that runs attempts one after the other.
#[derive(Debug, Default)]
pub struct AgentLane {
    /// Starts, with the members that no supervisor has yet.
    queue: VecDeque<(Start, VecDeque<StartMember>)>,
    pub supervisor: Option<SupervisorHandle>,
}

impl AgentLane {
    /// A member that its supervisor had has ended, or was dropped.
    pub fn member_done(&mut self, run: RunId, now: Instant) {
        if let Some(supervisor) = self.supervisor.as_mut().filter(|s| s.run == run) {
            supervisor.outstanding = supervisor.outstanding.saturating_sub(1);
            supervisor.idle_since = now;
        }
    }

    /// Adds a start at the end of its queue.
    pub fn push(&mut self, start: Start, members: VecDeque<StartMember>) {
        self.queue.push_back((start, members));
    }

    /// Removes members that no supervisor has yet.
    pub fn drop_waiting(&mut self, which: impl Fn(AttemptId) -> bool) -> Vec<AttemptId> {
        let mut dropped = Vec::new();
        for (_, members) in &mut self.queue {
            members.retain(|m| {
                !which(m.attempt) || {
                    dropped.push(m.attempt);
                    false
                }
            });
        }
        self.queue.retain(|(_, members)| !members.is_empty());
        dropped
    }

    /// Stops its idle supervisor, and waits until it has exited.
    pub fn stop_supervisor(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.requests.take());
            let _ = supervisor.child.wait();
        }
    }

    /// Is its queue empty, and has it no supervisor?
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.supervisor.is_none()
    }

    /// When its supervisor is to be stopped, if it stays idle.
    pub fn idle_until(&self) -> Option<Instant> {
        let supervisor = self.supervisor.as_ref()?;
        (supervisor.is_idle() && supervisor.requests.is_some() && self.queue.is_empty())
            .then_some(supervisor.idle_since + IDLE)
    }

    /// The first attempt of its queue and its archive, if it runs on files that were sent.
    pub fn first_sent(&self) -> Option<(AttemptId, Sent)> {
        let (start, members) = self.queue.front()?;
        Some((members.front()?.attempt, start.launch.workplace.sent()?.clone()))
    }

    /// The attempts of its queue that run on this archive.
    pub fn waiting_for(&self, bundle: Digest) -> Vec<AttemptId> {
        let starts =
            self.queue.iter().filter(|(start, _)| start.launch.workplace.sent().is_some_and(|s| s.bundle == bundle));
        starts.flat_map(|(_, members)| members.iter().map(|m| m.attempt)).collect()
    }

    /// The archives that attempts of its queue run on.
    pub fn bundles(&self) -> impl Iterator<Item = Digest> {
        self.queue.iter().filter_map(|(start, _)| start.launch.workplace.sent().map(|sent| sent.bundle))
    }

    fn next_batch(&mut self, room: usize) -> Option<Start> {
        let (start, members) = self.queue.front_mut()?;
        let mut bytes = 0;
        let mut taken = Vec::new();
        while taken.len() < room && bytes < BATCH_BYTES {
            let Some(member) = members.pop_front() else { break };
            bytes += member.entry.as_ref().map_or(0, |e| e.as_bytes().len());
            taken.push(member);
        }
        let batch = Start { members: taken, ..start.clone() };
        if members.is_empty() {
            self.queue.pop_front();
        }
        Some(batch)
    }
}

impl Agent {
    /// Sends a lane's supervisor as many attempts as it can hold. Starts a supervisor if there is none.
    pub fn feed(&mut self, id: LaneId) {
        loop {
            let taken = self.is_taken(id);
            if !self.is_staged(id) {
                return;
            }
            let Some(lane) = self.lanes.get_mut(&id).filter(|l| !l.queue.is_empty()) else { return };
            let Some(supervisor) = &mut lane.supervisor else {
                if taken {
                    return;
                }
                if !self.take_idle_supervisor(id)
                    && let Err(why) = self.start_supervisor(id)
                {
                    self.refuse_waiting(id, &why);
                }
                continue;
            };
            // Of attempts with a directory of their own one waits at the supervisor, not hundreds.
            let own = lane.queue.front().is_some_and(|(start, _)| start.launch.workplace.sent().is_some());
            let most = if own { 1 } else { LOOKAHEAD / 2 };
            if supervisor.outstanding > most || supervisor.requests.is_none() {
                return;
            }
            let Some(run) = self.runs.get_mut(&supervisor.run) else { return };
            let rests = supervisor.is_idle();
            if run.is_full(rests && self.hands_over) {
                if rests {
                    supervisor.requests = None;
                }
                return;
            }
            let room = if own { 1 } else { LOOKAHEAD - supervisor.outstanding };
            let run_id = supervisor.run;
            let Some(mut batch) = lane.next_batch(room) else { return };
            for member in batch.members.iter_mut().filter(|_| own) {
                member.directory = self.workdirs.directory_of(member.attempt);
            }
            let Some(supervisor) = &mut lane.supervisor else { return };
            run.fed += batch.members.len();
            supervisor.outstanding += batch.members.len();
            for member in &batch.members {
                if let Some(known) = self.attempts.get_mut(member.attempt) {
                    known.run = Some(run_id);
                }
            }
            // Our own type, and small: it can always be encoded.
            let _ = supervisor.outbox.push(&ToSupervisor::Start(batch));
            supervisor.flush();
            failpoint("agent-fed");
        }
    }

    /// Feeds all lanes: several of them may have waited for the same archive.
    pub fn feed_all(&mut self) {
        let lanes: Vec<LaneId> = self.lanes.keys().copied().collect();
        for id in lanes {
            self.feed(id);
        }
    }

    /// Does an attempt of an earlier supervisor still run in it? Then its queue waits.
    fn is_taken(&self, id: LaneId) -> bool {
        let lane_of = |attempt: &AttemptId| self.attempts.get(*attempt).map(|a| a.lane);
        self.supervisors.keys().any(|run| self.runs.get(run).is_some_and(|r| r.lane == id))
            || self.orphans.keys().any(|attempt| lane_of(attempt) == Some(id))
    }

    /// Moves an idle supervisor of another lane to this one: to start one takes longer than many tasks.
    fn take_idle_supervisor(&mut self, id: LaneId) -> bool {
        let has_room = |run: RunId| self.runs.get(&run).is_some_and(|r| !r.is_full(self.hands_over));
        let resting = self
            .lanes
            .iter()
            .find(|(_, lane)| lane.idle_until().is_some() && lane.supervisor.as_ref().is_some_and(|s| has_room(s.run)));
        let Some(supervisor) =
            resting.map(|(other, _)| *other).and_then(|other| self.lanes.get_mut(&other)?.supervisor.take())
        else {
            return false;
        };
        if let Some(run) = self.runs.get_mut(&supervisor.run) {
            run.lane = id;
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.supervisor = Some(supervisor);
        }
        true
    }

    /// Starts a supervisor for the first attempt before that has arrived.
    pub fn prestart_supervisor(&mut self) {
        self.lanes.entry(PRESTARTED).or_default();
        if self.start_supervisor(PRESTARTED).is_err() {
            // The next attempt tries again, and is refused with the reason.
            self.lanes.remove(&PRESTARTED);
        }
    }

    fn start_supervisor(&mut self, id: LaneId) -> Result<(), Refusal> {
        let runs = self.spool.dir().join("runs");
        let no_spool = |error: io::Error| Refusal::Spool { error: why_unusable(&runs, &error) };
        let (run, journal) = self.spool.make_run(id).map_err(no_spool)?;
        let dir = self.spool.run_dir(run);
        failpoint("agent-run-made");
        let opened = Run::open(dir.clone(), id, self.boot.clone());
        // The supervisor changes to / itself: with a directory std would fork, and the child would wait for a processor that we hold.
        let spawned = Command::new("/proc/self/exe")
            .arg0("grid")
            .arg("supervise")
            .arg(&dir)
            .arg("--files")
            .arg(open_files::given().to_string())
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(journal)
            .spawn();
        let made = spawned.and_then(|child| Ok((opened?, SupervisorHandle::new(run, child, self.ambient.now().mono)?)));
        let (opened, supervisor) = made.map_err(|error| {
            let _ = std::fs::remove_dir_all(&dir);
            Refusal::Supervisor { error: format!("no supervisor could be started: {error}") }
        })?;
        failpoint("agent-supervisor-spawned");
        self.runs.insert(run, opened);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.supervisor = Some(supervisor);
        }
        Ok(())
    }

    fn refuse_waiting(&mut self, id: LaneId, why: &Refusal) {
        let waiting = self.lanes.get_mut(&id).map(|lane| lane.drop_waiting(|_| true)).unwrap_or_default();
        for attempt in waiting {
            self.attempts.remove(attempt);
            self.drop_workdir(attempt);
            self.events.push(Event::Refused { attempt, why: why.clone() });
        }
    }

    /// Reads the reports of a lane's supervisor.
    pub fn read_reports(&mut self, id: LaneId) -> io::Result<()> {
        let Some(supervisor) = self.lanes.get_mut(&id).and_then(|lane| lane.supervisor.as_mut()) else { return Ok(()) };
        let filled = supervisor.inbox.fill(&mut supervisor.reports);
        let run = supervisor.run;
        let mut broken = matches!(filled, Ok(Some(0)) | Err(_));
        let mut reports = Vec::new();
        loop {
            match supervisor.inbox.next::<FromSupervisor>() {
                Ok(Some(report)) => reports.push(report),
                Ok(None) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        for report in reports {
            self.handle_report(run, report);
        }
        if broken {
            self.supervisor_exited(id)?;
        }
        self.feed(id);
        Ok(())
    }

    fn handle_report(&mut self, run: RunId, report: FromSupervisor) {
        match report {
            FromSupervisor::Began { attempt, at, process, out_from, err_from, without } => {
                let since_boot = Some(self.ambient.moment().since_boot);
                let from = Offsets { out: out_from, err: err_from };
                let begin = AttemptBegin { at, since_boot, process: Some(process), from, without };
                self.record_begin(run, attempt, begin);
            }
            FromSupervisor::Ended { attempt, end, out_from, err_from } => {
                self.record_end(run, attempt, end, Offsets { out: out_from, err: err_from });
            }
            FromSupervisor::Refused { attempt, why } => self.apply(run, JournalRecord::Refused { attempt, why }),
            FromSupervisor::Recalled { attempt } => {
                if self.drop_unended(run, attempt) {
                    self.events.push(Event::Recalled { attempt });
                }
            }
        }
    }

    /// The pipe is closed: the supervisor exited as requested, or died.
    fn supervisor_exited(&mut self, id: LaneId) -> io::Result<()> {
        let Some(mut supervisor) = self.lanes.get_mut(&id).and_then(|lane| lane.supervisor.take()) else {
            return Ok(());
        };
        drop(supervisor.requests.take());
        let status = supervisor.child.wait();
        let run = supervisor.run;
        if supervisor.outstanding > 0 {
            self.catch_up(run)?;
            let never_up = self.runs.get(&run).is_some_and(|r| r.supervisor.is_none());
            let error = match status {
                Ok(status) => format!("the supervisor ended at once: {status}"),
                Err(error) => error.to_string(),
            };
            let had = |a: &super::attempt_table::Attempt| a.run == Some(run) && matches!(a.state, AttemptState::Queued);
            let unbegun: Vec<AttemptId> = self.attempts.iter().filter(|(_, a)| had(a)).map(|(id, _)| id).collect();
            for attempt in unbegun {
                self.attempts.remove(attempt);
                self.drop_workdir(attempt);
                self.events.push(if self.spool.has_tombstone(attempt) {
                    // A cancel was under way to the supervisor.
                    Event::Refused { attempt, why: Refusal::Tombstone }
                } else if never_up {
                    Event::Refused { attempt, why: Refusal::Supervisor { error: error.clone() } }
                } else {
                    Event::Recalled { attempt }
                });
            }
        }
        self.supervisor_gone(run)
    }
}
