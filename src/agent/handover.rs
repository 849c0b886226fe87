//! Hands an output over to a home on the same host without a copy: the home's file is a second name (hard link) of the run's.

use super::attempt_table::{AttemptState, Run};
use super::lanes::AgentLane;
use super::serve::Agent;
use super::spool::RunId;
use super::supervisor::SupervisorHandle;
use crate::model::attempt::{Cause, Stream};
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, LaneId};
use crate::protocol::agent::FromAgent;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Agent {
    /// Answers [`crate::protocol::agent::ToAgent::Link`].
    pub fn link(&mut self, attempt: AttemptId, stream: Stream, to: &Path) {
        let linked = self.hand_over(attempt, stream, to);
        if let Err(why) = &linked {
            tracing::debug!("{attempt}: its output is not handed over: {why}");
        }
        failpoint("agent-output-linked");
        self.send(&FromAgent::Linked { attempt, stream, linked: linked.is_ok() });
    }

    /// Gives the file of an ended attempt's output a second name. From then on nothing more begins in its run.
    fn hand_over(&mut self, attempt: AttemptId, stream: Stream, to: &Path) -> io::Result<()> {
        let not = |why: &'static str| Err(io::Error::other(why));
        let Some(id) = self.attempts.get(attempt).and_then(|a| a.run) else { return not("it never began here") };
        self.catch_up(id)?;
        let Some(known) = self.attempts.get(attempt) else { return not("it never began here") };
        let (AttemptState::Ended { end, .. }, Some(slice)) = (&known.state, known.slice(stream)) else {
            return not("it has not ended");
        };
        let unended = |state: &AttemptState| !matches!(state, AttemptState::Ended { .. });
        if self.attempts.iter().any(|(_, a)| a.run == Some(id) && unended(&a.state)) {
            return not("others of its run still write");
        }
        let supervisor = supervisor_of(&mut self.lanes, id);
        if supervisor.as_ref().is_some_and(|s| !s.is_idle()) {
            return not("others of its run are still to begin");
        }
        let Some(run) = self.runs.get_mut(&id) else { return not("its run is gone") };
        // No supervisor waited until nothing of the attempt was left: a process of it may still write.
        if matches!(end.cause, Cause::Lost { .. }) || (run.gone && end.cause == Cause::Cancelled) {
            return not("its supervisor did not see its end");
        }
        run.open_outputs()?;
        let len = run.output(stream).map(|file| file.metadata().map(|meta| meta.len())).transpose()?;
        if slice.from != 0 || slice.len != len || len == Some(0) || !to.is_absolute() {
            return not("it is not alone in its file");
        }
        // From here on nothing more begins in this run: the supervisor exits when it is idle.
        if let Some(supervisor) = supervisor {
            supervisor.requests = None;
        }
        std::fs::hard_link(run.dir.join(name(stream)), to)
    }

    /// Truncates the files of an idle run whose ends the home has: the next output begins at offset 0, and can be handed over. Every
    /// process that wrote there has ended, for an end is reported only then.
    pub fn truncate_idle_run(&mut self, id: RunId) {
        let rests = supervisor_of(&mut self.lanes, id).is_some_and(|s| s.is_idle() && s.requests.is_some());
        // A later agent reports again the ends whose confirmation is not stored, with their outputs.
        let told = |run: &&mut Run| run.size > 0 && run.unconfirmed == 0 && run.remembers;
        let Some(run) = self.runs.get_mut(&id).filter(told) else { return };
        if self.hands_over && rests && !self.attempts.iter().any(|(_, attempt)| attempt.run == Some(id)) {
            match truncate(run) {
                Ok(()) => run.size = 0,
                Err(error) => tracing::debug!("{}: {error}", run.dir.display()),
            }
        }
    }
}

/// The supervisor of this run, if this agent has it on a pipe.
fn supervisor_of(lanes: &mut HashMap<LaneId, AgentLane>, run: RunId) -> Option<&mut SupervisorHandle> {
    lanes.values_mut().filter_map(|lane| lane.supervisor.as_mut()).find(|supervisor| supervisor.run == run)
}

/// Truncates both files of a run. A file with a second name belongs to the home.
fn truncate(run: &Run) -> io::Result<()> {
    for stream in [Stream::Out, Stream::Err] {
        let file = OpenOptions::new().write(true).open(run.dir.join(name(stream)))?;
        let meta = file.metadata()?;
        if meta.nlink() > 1 {
            return Err(io::Error::other("its output has a second name"));
        }
        if meta.len() > 0 {
            file.set_len(0)?;
        }
    }
    Ok(())
}

const fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Out => "out",
        Stream::Err => "err",
    }
}
