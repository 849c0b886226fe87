//! `grid agent`: one home's hands on this host. One thread, one poll loop; everything that waits is a descriptor.

use super::AgentError;
use super::book::{Book, Run};
use super::bundles::Bundles;
use super::follow::{OutputFollower, Watcher};
use super::lanes::AgentLane;
use super::limits::timespec;
use super::orphans::Orphan;
use super::place::AgentPlace;
use super::probe::Prober;
use super::spool::{RunId, Spool};
use super::worker::Worker;
use super::works::{Places, Works};
use super::{facts, installed, login, process};
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
use std::time::{Duration, Instant};

/// Events in one message stay below this, far from the longest frame.
const EVENTS_BYTES: usize = 4 << 20;
/// A dispatcher that reads slower than tasks end: above this nothing more is asked of supervisors.
const BACKLOG: usize = 32 << 20;

/// All that one agent knows.
pub struct Agent {
    pub spool: Spool,
    pub boot: BootId,
    /// On the home's own host: outputs get a second name there, and no copy.
    pub hands_over: bool,
    pub environment: Vec<(OsString, OsString)>,
    /// $HOME here, where somebody logged in to get us.
    pub login_home: Option<PathBuf>,
    pub book: Book,
    pub runs: HashMap<RunId, Run>,
    pub lanes: HashMap<LaneId, AgentLane>,
    /// Supervisors of earlier agents.
    pub supervisors: HashMap<RunId, OwnedFd>,
    pub orphans: HashMap<AttemptId, Orphan>,
    pub follows: HashMap<AttemptId, OutputFollower>,
    pub watcher: Watcher,
    pub prober: Prober,
    pub places: Places,
    pub bundles: Bundles,
    pub works: Works,
    pub worker: Worker,
    pub events: Vec<Event>,
    pub outbox: Outbox,
    /// Says that this version is in use.
    pub in_use: Option<File>,
    /// Nothing of the home is left here.
    pub leaving: bool,
}

/// Serves the home that says hello on `input`, until that ends. `expecting`: a start is on its way, and until the hello we were kept
/// off one of these processors.
pub fn serve(
    place: &AgentPlace,
    expecting: Option<Processors>,
    mut input: impl Read + AsFd,
    mut output: impl Write + AsFd,
) -> Result<(), AgentError> {
    for fd in [input.as_fd(), output.as_fd()] {
        let flags = rustix::fs::fcntl_getfl(fd).map_err(AgentError::io("stdio"))?;
        rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(AgentError::io("stdio"))?;
    }
    open_files::raise();
    process::unignore_signals().map_err(AgentError::io("signals"))?;
    let in_use = if place.is_remote() { installed::hold_and_clear() } else { None };
    let mut inbox = Inbox::default();
    write_all(MAGIC, &mut output)?;
    let Some(hello) = first_message(&mut inbox, &mut input)? else { return Ok(()) };
    if let Some(processors) = expecting {
        processors.take();
    }
    match Agent::open(place, hello, expecting.is_some()) {
        Ok(mut agent) => {
            agent.in_use = in_use;
            // Before anything that came behind theirs is taken in: who does not get this knows that nothing of it began.
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
    fn open(place: &AgentPlace, hello: ToAgent, expecting: bool) -> Result<Self, AgentError> {
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
        let spool = Spool::open(&place.find()?, home, (incarnation, epoch), boot.clone())?;
        let environment = login::environment(place.is_remote());
        let home = environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
        let places = Places::make(spool.dir()).map_err(AgentError::io("spool"))?;
        let mut agent = Self {
            login_home: home.filter(|_| place.is_remote()),
            bundles: Bundles::new(places.bundles.clone()),
            works: Works::default(),
            worker: Worker::new(places.clone()).map_err(AgentError::io("eventfd"))?,
            places,
            prober: Prober::new(spool.dir(), boot.clone()).map_err(AgentError::io("eventfd"))?,
            spool,
            boot: boot.clone(),
            hands_over: !place.is_remote() && version >= LINKS_SINCE,
            environment,
            book: Book::default(),
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
            // It comes up while we look at what there was. Where that fails it leaves with us, and its run is one more that is left.
            agent.start_beforehand();
        }
        agent.recover(left)?;
        agent.recover_works();
        agent.keep_bounds();
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
                self.take(message);
            }
            self.look_after_orphans().map_err(unseen)?;
            self.rest_idle_lanes();
            // Before the events: an end's last output comes before the end.
            self.pump();
            self.send_events();
            self.send_packet();
            if self.outbox.flush(output).is_err() {
                // Nobody reads: the same as the end of what they say.
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
                self.read_reports(lane).map_err(unseen)?;
            }
            if ready.watcher {
                // Followed outputs are pumped in every round anyway.
                for run in self.watcher.moved() {
                    if self.supervisors.contains_key(&run) {
                        self.catch_up(run).map_err(unseen)?;
                    }
                }
            }
            if ready.prober
                && let Some(facts) = self.prober.answer()
            {
                self.send(&FromAgent::Facts(facts));
            }
            if ready.worker {
                for done in self.worker.done() {
                    self.take_done(done);
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
            if let Some(orders) = supervisor.orders.as_ref().filter(|_| !supervisor.outbox.is_empty()) {
                lanes.push((*id, false));
                fds.push(PollFd::new(orders, PollFlags::OUT));
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
        let kill = self.orphans.values().filter_map(|o| o.kill_at);
        idle.chain(kill).min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Lets supervisors go that have had nothing to do for a while, and lanes that have none.
    fn rest_idle_lanes(&mut self) {
        let now = Instant::now();
        self.lanes.retain(|_, lane| {
            let idle = lane.idle_until().is_some_and(|at| now >= at);
            if let Some(supervisor) = lane.supervisor.as_mut().filter(|_| idle) {
                supervisor.orders = None;
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

    /// Puts a message on its way.
    pub fn send(&mut self, message: &FromAgent) {
        // Our own types can always be encoded; sizes are kept below the longest frame where they are made.
        let _ = self.outbox.push(message);
    }
}

/// What became of a run can't be seen now. The next agent looks anew, and says so where it can't either.
fn unseen(error: std::io::Error) -> AgentError {
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

/// The version that this agent says it speaks. Tests have it say an older one.
fn spoken() -> u32 {
    #[cfg(feature = "failpoints")]
    if let Some(version) = std::env::var("GRID_TEST_AGENT_VERSION").ok().and_then(|version| version.parse().ok()) {
        return version;
    }
    VERSION
}

/// The hello, or None if there never was one.
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
