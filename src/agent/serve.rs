//! `grid agent`: the agent of one home on this host. One thread, one poll loop; everything that it waits for is a descriptor.

use super::AgentError;
use super::attempt_table::{AttemptTable, Run};
use super::bundles::Bundles;
use super::follow::{OutputFollower, Watcher};
use super::lanes::AgentLane;
use super::limits::timespec;
use super::orphans::Orphan;
use super::place::AgentPlace;
use super::probe::Prober;
use super::spool::{Generation, RunId, Spool};
use super::workdirs::{SpoolDirs, Workdirs};
use super::worker::Worker;
use super::{facts, installed, login, process};
use crate::model::ambient::Ambient;
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, BootId, LaneId};
use crate::model::open_files;
use crate::model::processors::Processors;
use crate::protocol::agent::{Event, FromAgent, INLINE_MAX, LINKS_SINCE, MAGIC, ToAgent, VERSION, VERSION_MIN};
use crate::protocol::frame::{Inbox, Outbox};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Events in one message stay below this, far from the longest frame.
const EVENTS_BYTES: usize = 4 << 20;
/// Above this supervisors are not read: the dispatcher reads slower than tasks end.
const BACKLOG: usize = 32 << 20;

/// The agent of one home.
pub struct Agent {
    pub ambient: Rc<dyn Ambient>,
    pub spool: Spool,
    pub boot: BootId,
    /// It runs on the home's own host: outputs are handed over there without a copy.
    pub hands_over: bool,
    pub environment: Vec<(OsString, OsString)>,
    /// $HOME here, where a login started this agent.
    pub login_home: Option<PathBuf>,
    pub attempts: AttemptTable,
    pub runs: HashMap<RunId, Run>,
    pub lanes: HashMap<LaneId, AgentLane>,
    /// Supervisors of earlier agents.
    pub supervisors: HashMap<RunId, OwnedFd>,
    pub orphans: HashMap<AttemptId, Orphan>,
    pub follows: HashMap<AttemptId, OutputFollower>,
    pub watcher: Watcher,
    pub prober: Prober,
    pub dirs: SpoolDirs,
    pub bundles: Bundles,
    pub workdirs: Workdirs,
    pub worker: Worker,
    pub events: Vec<Event>,
    pub outbox: Outbox,
    /// Marks this version as in use.
    pub in_use: Option<File>,
    /// Everything of the home was removed from this host.
    pub leaving: bool,
}

/// Serves the home that sends a hello on `input`, until that is closed. `expecting`: a start is under way, and until the hello this
/// process was kept off one of these processors.
pub fn serve(
    place: &AgentPlace,
    expecting: Option<Processors>,
    ambient: Rc<dyn Ambient>,
    mut input: impl Read + AsFd,
    mut output: impl Write + AsFd,
) -> Result<(), AgentError> {
    for fd in [input.as_fd(), output.as_fd()] {
        let flags = rustix::fs::fcntl_getfl(fd).map_err(AgentError::io("stdio"))?;
        rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(AgentError::io("stdio"))?;
    }
    open_files::raise();
    process::unignore_signals().map_err(AgentError::io("signals"))?;
    let in_use = if place.is_remote() { installed::hold_and_clear(ambient.now().wall) } else { None };
    let mut inbox = Inbox::default();
    write_all(MAGIC, &mut output)?;
    let Some(hello) = first_message(&mut inbox, &mut input)? else { return Ok(()) };
    if let Some(processors) = expecting {
        processors.take();
    }
    match Agent::open(place, hello, expecting.is_some(), ambient) {
        Ok(mut agent) => {
            agent.in_use = in_use;
            // Before any message after the hello is handled: a dispatcher that does not get ours knows that nothing of them began.
            while agent.outbox.flush(&mut output).is_ok() && !agent.outbox.is_empty() {
                wait_for(&output, PollFlags::OUT)?;
            }
            if !agent.outbox.is_empty() {
                return Ok(());
            }
            agent.run(&mut inbox, &mut input, &mut output)
        }
        Err(AgentError::Unfit(error)) => {
            let mut text = Vec::new();
            crate::protocol::frame::encode(&FromAgent::Unfit { error }, &mut text)?;
            write_all(&text, &mut output)
        }
        Err(error) => Err(error),
    }
}

impl Agent {
    /// Opens the spool of the home that says hello, and recovers what earlier agents left there.
    pub fn open(
        place: &AgentPlace,
        hello: ToAgent,
        expecting: bool,
        ambient: Rc<dyn Ambient>,
    ) -> Result<Self, AgentError> {
        let ToAgent::Hello { version_min, version, home, incarnation, epoch } = hello else {
            return Err(AgentError::Unfit("the first message must be a hello".to_owned()));
        };
        if version_min > VERSION || version < VERSION_MIN {
            return Err(AgentError::Unfit(format!(
                "this grid speaks versions {VERSION_MIN} to {VERSION}, the home's {version_min} to {version}: \
                 bring both to the same release"
            )));
        }
        let boot = BootId::of_this_host();
        let spool = Spool::open(&place.find()?, home, Generation { incarnation, epoch }, boot.clone())?;
        let environment = login::environment(place.is_remote());
        let home = environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
        let dirs = SpoolDirs::make(spool.dir()).map_err(AgentError::io("spool"))?;
        let mut agent = Self {
            ambient,
            login_home: home.filter(|_| place.is_remote()),
            bundles: Bundles::new(dirs.bundles.clone()),
            workdirs: Workdirs::default(),
            worker: Worker::new(dirs.clone()).map_err(AgentError::io("eventfd"))?,
            dirs,
            prober: Prober::new(spool.dir(), boot.clone()).map_err(AgentError::io("eventfd"))?,
            spool,
            boot: boot.clone(),
            hands_over: !place.is_remote() && version >= LINKS_SINCE,
            environment,
            attempts: AttemptTable::default(),
            runs: HashMap::new(),
            lanes: HashMap::new(),
            supervisors: HashMap::new(),
            orphans: HashMap::new(),
            follows: HashMap::new(),
            watcher: Watcher::new().map_err(AgentError::io("inotify"))?,
            events: Vec::new(),
            outbox: Outbox::default(),
            in_use: None,
            leaving: false,
        };
        let left = agent.spool.runs()?;
        if expecting {
            // It starts while we recover. If that fails it exits with us, and its run is recovered by the next agent.
            agent.prestart_supervisor();
        }
        agent.recover(left)?;
        agent.recover_workdirs();
        agent.enforce_disk_limits();
        let (machine, hostname) = (facts::machine(), facts::hostname());
        let inventory = agent.inventory();
        agent.outbox.push(&FromAgent::Hello { version: spoken(), machine, boot, hostname, inventory })?;
        Ok(agent)
    }

    fn run(
        &mut self,
        inbox: &mut Inbox,
        input: &mut (impl Read + AsFd),
        output: &mut (impl Write + AsFd),
    ) -> Result<(), AgentError> {
        loop {
            while let Some(message) = inbox.next::<ToAgent>()? {
                self.handle(message);
            }
            self.check_orphans().map_err(unreadable_runs)?;
            self.stop_idle_supervisors();
            // Before the events: the last output of an attempt comes before its end.
            self.pump();
            self.send_events();
            self.send_packet();
            if self.outbox.flush(output).is_err() {
                // The dispatcher no longer reads: as at the end of the input.
                return Ok(());
            }
            if self.leaving && self.outbox.is_empty() {
                return Ok(());
            }
            let ready = self.wait(input, output)?;
            if ready.input {
                match inbox.fill(input) {
                    Ok(Some(0)) | Err(_) => return Ok(()),
                    Ok(_) => {}
                }
            }
            for lane in ready.writable {
                if let Some(supervisor) = self.lanes.get_mut(&lane).and_then(|l| l.supervisor.as_mut()) {
                    supervisor.flush();
                }
            }
            for lane in ready.readable {
                self.read_reports(lane).map_err(unreadable_runs)?;
            }
            if ready.watcher {
                // Followed outputs are sent in every round anyway.
                for run in self.watcher.changed_runs() {
                    if self.supervisors.contains_key(&run) {
                        self.catch_up(run).map_err(unreadable_runs)?;
                    }
                }
            }
            if ready.prober
                && let Some(facts) = self.prober.take_result()
            {
                self.send(&FromAgent::Facts(facts));
            }
            if ready.worker {
                for done in self.worker.take_done() {
                    self.handle_done(done);
                }
            }
        }
    }

    fn wait(&self, input: &impl AsFd, output: &impl AsFd) -> Result<Ready, AgentError> {
        let mut fds = vec![PollFd::new(input, PollFlags::IN)];
        fds.push(PollFd::new(self.watcher.fd(), PollFlags::IN));
        fds.push(PollFd::new(self.prober.fd(), PollFlags::IN));
        fds.push(PollFd::new(self.worker.fd(), PollFlags::IN));
        let mut lanes = Vec::with_capacity(self.lanes.len() * 2);
        let listen = self.outbox.len() < BACKLOG;
        for (id, lane) in &self.lanes {
            let Some(supervisor) = &lane.supervisor else { continue };
            if listen {
                lanes.push((*id, true));
                fds.push(PollFd::new(&supervisor.reports, PollFlags::IN));
            }
            if let Some(requests) = supervisor.requests.as_ref().filter(|_| !supervisor.outbox.is_empty()) {
                lanes.push((*id, false));
                fds.push(PollFd::new(requests, PollFlags::OUT));
            }
        }
        let first_lane = 4;
        if !self.outbox.is_empty() {
            fds.push(PollFd::new(output, PollFlags::OUT));
        }
        let others = self.supervisors.values().chain(self.orphans.values().map(|o| &o.pidfd));
        fds.extend(others.map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, self.timeout().map(timespec).as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(AgentError::io("poll")(error)),
        }
        let is_ready = |at: usize| !fds[at].revents().is_empty();
        let mut ready = Ready {
            input: is_ready(0),
            watcher: is_ready(1),
            prober: is_ready(2),
            worker: is_ready(3),
            ..Ready::default()
        };
        for ((lane, reads), fd) in lanes.into_iter().zip(&fds[first_lane..]) {
            if !fd.revents().is_empty() {
                if reads { ready.readable.push(lane) } else { ready.writable.push(lane) }
            }
        }
        Ok(ready)
    }

    fn timeout(&self) -> Option<Duration> {
        if self.has_packet() {
            return Some(Duration::ZERO);
        }
        let idle = self.lanes.values().filter_map(AgentLane::idle_until);
        let kill = self.orphans.values().filter_map(|o| o.termination.kill_at());
        idle.chain(kill).min().map(|at| at.saturating_duration_since(self.ambient.now().mono))
    }

    /// Stops supervisors that were idle for long, and removes empty lanes.
    fn stop_idle_supervisors(&mut self) {
        let now = self.ambient.now().mono;
        self.lanes.retain(|_, lane| {
            let idle = lane.idle_until().is_some_and(|at| now >= at);
            if let Some(supervisor) = lane.supervisor.as_mut().filter(|_| idle) {
                supervisor.requests = None;
            }
            !lane.is_empty()
        });
    }

    fn send_events(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let mut batch = Vec::with_capacity(self.events.len());
        let mut bytes = 0;
        for event in std::mem::take(&mut self.events) {
            bytes += match &event {
                Event::Ended { ended, .. } => {
                    400 + ended.out.as_ref().map_or(0, Vec::len) + ended.err.as_ref().map_or(0, Vec::len)
                }
                _ => 400,
            };
            batch.push(event);
            if bytes > EVENTS_BYTES - 2 * INLINE_MAX as usize {
                self.send(&FromAgent::Events(std::mem::take(&mut batch)));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            self.send(&FromAgent::Events(batch));
        }
        failpoint("agent-events-sent");
    }

    /// Sends a message.
    pub fn send(&mut self, message: &FromAgent) {
        // Our own types can always be encoded; sizes are kept below the longest frame where they are made.
        let _ = self.outbox.push(message);
    }
}

/// The state of a run can't be read now. The next agent tries again, and reports it if it can't either.
fn unreadable_runs(error: std::io::Error) -> AgentError {
    AgentError::io("runs")(error)
}

/// What poll found.
#[derive(Default)]
struct Ready {
    input: bool,
    watcher: bool,
    prober: bool,
    worker: bool,
    readable: Vec<LaneId>,
    writable: Vec<LaneId>,
}

/// The protocol version that this agent reports. Tests have it report an older one.
fn spoken() -> u32 {
    #[cfg(feature = "failpoints")]
    if let Some(version) = std::env::var("GRID_TEST_AGENT_VERSION").ok().and_then(|version| version.parse().ok()) {
        return version;
    }
    VERSION
}

/// The hello; None if the input was closed before it.
fn first_message(inbox: &mut Inbox, input: &mut (impl Read + AsFd)) -> Result<Option<ToAgent>, AgentError> {
    loop {
        if let Some(message) = inbox.next()? {
            return Ok(Some(message));
        }
        wait_for(input, PollFlags::IN)?;
        if inbox.fill(input).map_err(AgentError::io("input"))? == Some(0) {
            return Ok(None);
        }
    }
}

fn write_all(mut bytes: &[u8], output: &mut (impl Write + AsFd)) -> Result<(), AgentError> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => wait_for(output, PollFlags::OUT)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(AgentError::io("output")(error)),
        }
    }
    output.flush().map_err(AgentError::io("output"))
}

fn wait_for(fd: &impl AsFd, flags: PollFlags) -> Result<(), AgentError> {
    match poll(&mut [PollFd::new(fd, flags)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(AgentError::io("poll")(error)),
    }
}
