//! Handles the messages of a dispatcher.

use super::attempt_table::{Attempt, AttemptState};
use super::probe::ProbeRequest;
use super::serve::Agent;
use crate::model::failpoint::failpoint;
use crate::model::feature::check_known;
use crate::model::id::{AttemptId, LaneId};
use crate::model::task::Launch;
use crate::protocol::agent::{Event, Refusal, Start, StartMember, ToAgent};
use crate::protocol::supervisor::ToSupervisor;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

impl Agent {
    /// Handles one message.
    pub fn handle(&mut self, message: ToAgent) {
        match message {
            // Sent once, before everything else.
            ToAgent::Hello { .. } => {}
            ToAgent::Start(start) => self.start(start),
            ToAgent::Recall { lane } => self.recall(lane),
            ToAgent::Cancel { attempt, grace } => self.cancel(attempt, grace),
            ToAgent::Confirm { attempts } => self.confirm(&attempts),
            ToAgent::Probe { watch, script, prologues } => {
                self.prober.request(ProbeRequest { watch, script, prologues })
            }
            ToAgent::Read { attempt, stream, offset, max } => self.read(attempt, stream, offset, max),
            ToAgent::Link { attempt, stream, to } => self.link(attempt, stream, Path::new(to.as_os())),
            ToAgent::Follow { attempt, out, err } => self.follow(attempt, out, err),
            ToAgent::Unfollow { attempt } => self.unfollow(attempt),
            ToAgent::Piece { bundle, offset, bytes } => self.take_piece(bundle, offset, &bytes),
            ToAgent::NoBundle { bundle, error } => self.no_bundle(bundle, &error),
            ToAgent::Pack { attempt, mut launch } => {
                self.move_home(&mut launch);
                self.pack(attempt, launch);
            }
            ToAgent::ReadPacked { attempt, offset, max } => self.read_packed(attempt, offset, max),
            ToAgent::DropFiles { attempt } => self.drop_workdir(attempt),
            ToAgent::Clear => self.clear(),
        }
    }

    fn start(&mut self, mut start: Start) {
        failpoint("agent-start-received");
        self.move_home(&mut start.launch);
        let members = std::mem::take(&mut start.members);
        let refusal = if start.boot != self.boot {
            Some(Refusal::OtherBoot)
        } else if start.epoch < self.spool.epoch {
            Some(Refusal::OldEpoch)
        } else {
            check_known(&start.features).err().map(|unknown| Refusal::Features { unknown: unknown.0 })
        };
        let lane = start.lane;
        let mut fresh: VecDeque<StartMember> = VecDeque::with_capacity(members.len());
        for member in members {
            let attempt = member.attempt;
            // A repeated start is answered with the state of the first one.
            if self.attempts.get(attempt).is_some() {
                self.report_state(attempt);
            } else if self.spool.has_tombstone(attempt) {
                self.events.push(Event::Refused { attempt, why: Refusal::Tombstone });
            } else if let Some(why) = &refusal {
                self.events.push(Event::Refused { attempt, why: why.clone() });
            } else {
                self.attempts.insert(attempt, Attempt { lane, run: None, state: AttemptState::Queued });
                fresh.push_back(member);
            }
        }
        if !fresh.is_empty() {
            self.lanes.entry(lane).or_default().push(start, fresh);
            self.feed(lane);
        }
    }

    /// Moves a directory below the client's $HOME below the one here. On the home's own host they are the same.
    fn move_home(&self, launch: &mut Launch) {
        let (Some(theirs), Some(ours)) = (launch.home.take(), &self.login_home) else { return };
        if let Ok(below) = Path::new(launch.cwd.as_os()).strip_prefix(theirs.as_os()) {
            // Joining an empty path would add a slash.
            let moved = if below.as_os_str().is_empty() { ours.clone() } else { ours.join(below) };
            launch.cwd = moved.into_os_string().into();
        }
    }

    fn report_state(&mut self, attempt: AttemptId) {
        match self.attempts.get(attempt).map(|a| &a.state) {
            None | Some(AttemptState::Queued) => {}
            Some(AttemptState::Running { started_at, process, supervised, without, .. }) => {
                let (process, without) = (process.clone(), without.clone());
                self.events.push(Event::Began { attempt, at: *started_at, process, without });
                if !*supervised {
                    self.events.push(Event::Orphaned { attempt });
                }
            }
            Some(AttemptState::Ended { .. }) => {
                if let Some(ended) = self.with_outputs(attempt) {
                    self.events.push(Event::Ended { attempt, ended });
                }
            }
        }
    }

    fn recall(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let dropped = lane.drop_waiting(|_| true);
        if let Some(supervisor) = &mut lane.supervisor {
            supervisor.send(&ToSupervisor::Recall);
        }
        for attempt in dropped {
            self.attempts.remove(attempt);
            self.drop_workdir(attempt);
            self.events.push(Event::Recalled { attempt });
        }
    }

    fn cancel(&mut self, attempt: AttemptId, grace: Duration) {
        match self.attempts.get(attempt).map(|a| (&a.state, a.lane, a.run)) {
            Some((AttemptState::Ended { .. }, ..)) => {
                self.stop_packing(attempt);
                self.report_state(attempt);
            }
            Some((AttemptState::Running { supervised: false, .. }, ..)) => self.cancel_orphan(attempt, grace),
            Some((AttemptState::Running { .. }, lane, Some(run))) => {
                let supervisor = self.lanes.get_mut(&lane).and_then(|l| l.supervisor.as_mut());
                match supervisor.filter(|s| s.run == run && s.requests.is_some()) {
                    Some(supervisor) => supervisor.send(&ToSupervisor::Cancel { attempt, grace }),
                    None => self.cancel_by_note(run, attempt, grace),
                }
            }
            Some((_, lane, _)) => self.cancel_queued(lane, attempt, grace),
            None => self.add_tombstone(attempt),
        }
    }

    /// Cancels an attempt that is not known to have begun. A supervisor may just be starting it.
    fn cancel_queued(&mut self, lane: LaneId, attempt: AttemptId, grace: Duration) {
        let Some(lane) = self.lanes.get_mut(&lane) else { return self.add_tombstone(attempt) };
        if !lane.drop_waiting(|a| a == attempt).is_empty() {
            self.attempts.remove(attempt);
            self.drop_workdir(attempt);
            return self.add_tombstone(attempt);
        }
        // The tombstone first: even if the supervisor dies, this attempt does not begin a second time.
        if self.spool.add_tombstone(attempt).is_ok()
            && let Some(supervisor) = &mut lane.supervisor
        {
            supervisor.send(&ToSupervisor::Cancel { attempt, grace });
        }
    }

    /// Refuses an attempt from now on. Only a tombstone on disk is a promise: without one nothing is answered, and the home asks again.
    fn add_tombstone(&mut self, attempt: AttemptId) {
        if self.spool.add_tombstone(attempt).is_ok() {
            self.events.push(Event::Refused { attempt, why: Refusal::Tombstone });
        }
    }
}
