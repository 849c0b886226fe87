//! The bench: a real dispatcher on a real database, fake agents, and a clock that the test moves. No process is started, and
//! nothing waits: a scenario takes milliseconds.

mod agent;
mod changes;
mod faults;
mod task;

pub use crate::model::test_clock::TestClock;
pub use agent::{FakeAgent, Reads};
pub use task::Task;

use super::dispatcher::Dispatcher;
use super::links::connector::Opener;
use super::links::route::Route;
use super::process::begin::without_socket;
use super::submits::{SubmitHandler, SubmitMessage};
use crate::distributor::fleets::Fleets;
use crate::link::{Link, LinkEnds};
use crate::model::ambient::Ambient;
use crate::model::attempt::Stream;
use crate::model::command::Command;
use crate::model::facts::Facts;
use crate::model::files::Fetch;
use crate::model::id::{AttemptId, AttemptKey, BootId, Index, ServerId, TaskId, TaskUuid};
use crate::model::resources::Bytes;
use crate::model::server::Engine;
use crate::model::ssh::SshTarget;
use crate::model::task::{ClientFacts, Launch, Request, State};
use crate::model::time::Timestamp;
use crate::protocol::agent::MAGIC;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::protocol::frame;
use crate::store::home::Seed;
use crate::store::intake::{Begins, NewTask, TierRoute};
use crate::store::{Durability, Home, Store, StoreError, Tx};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tempfile::TempDir;

/// Agents by the names of their servers.
type Agents = Rc<RefCell<BTreeMap<String, FakeAgent>>>;

/// A dispatcher, its home, its agents and its clock.
pub struct Bench {
    _dir: TempDir,
    home: Home,
    pub store: Store,
    pub dispatcher: Dispatcher,
    pub clock: Rc<TestClock>,
    agents: Agents,
    /// Hosts whose links can't be opened.
    unreachable: Rc<RefCell<Vec<String>>>,
}

/// A submit handler that handles no submit.
pub struct NoSubmits;

impl SubmitHandler for NoSubmits {
    fn carry_out(
        &mut self,
        _: &Tx<'_>,
        _: &mut Fleets,
        _: &SubmitMessage,
        _: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// Facts of a host with four processors.
pub fn facts(host: &str) -> Facts {
    Facts {
        machine: format!("machine of {host}"),
        boot: BootId(format!("boot of {host}")),
        hostname: host.into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        cpus: 4,
        power: 400.0,
        load1: 0.0,
        idle_cpus: 4.0,
        mem_total: Bytes(8 << 30),
        mem_available: Bytes(6 << 30),
        disk_free: Bytes(100 << 30),
        gpus: Vec::new(),
        apps: [].into(),
        probed: [].into(),
        complaints: Vec::new(),
        behind: [].into(),
    }
}

fn client() -> ClientFacts {
    ClientFacts { host: "submits".into(), user: "me".into(), os: "linux".into(), arch: "x86_64".into() }
}

impl Bench {
    /// A home whose own server `local` has four processors, and a dispatcher that has just started.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path().join("h"));
        let founding = home.found().unwrap();
        let seed = Seed { owner: "me".parse().unwrap(), client: client(), facts: facts("local") };
        let mut store = Store::create(&home, &seed).unwrap();
        drop(founding);
        let clock = Rc::new(TestClock::new());
        let agents: Agents = Rc::default();
        agents.borrow_mut().insert("local".into(), FakeAgent::new(facts("local")));
        let unreachable = Rc::default();
        let dispatcher = begin(&home, &mut store, &clock, &agents, &unreachable);
        Self { _dir: dir, home, store, dispatcher, clock, agents, unreachable }
    }

    /// Adds a server over ssh with an agent.
    pub fn add_server(&mut self, name: &str, facts: Facts) -> ServerId {
        let now = self.clock.now().wall;
        self.agents.borrow_mut().insert(name.into(), FakeAgent::new(facts.clone()));
        self.write(|tx| {
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            let engine = Engine::Ssh(SshTarget::new(name, Vec::new(), None).unwrap());
            let server = tx.add_server(&name.parse().unwrap(), tier2, &engine, now)?;
            tx.record_facts(server, &facts, now)?;
            Ok(server)
        })
    }

    /// Changes the database as a command does, and wakes the dispatcher.
    pub fn write<T>(&mut self, change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
        let done = self.store.write(Durability::Normal, change).unwrap();
        self.dispatcher.activity.dirty = true;
        done
    }

    /// Submits a task; its members wait.
    pub fn submit(&mut self, task: &Task) -> TaskId {
        self.submit_as(TaskUuid::new(), task)
    }

    /// Submits a task under this uuid.
    pub fn submit_as(&mut self, uuid: TaskUuid, task: &Task) -> TaskId {
        let now = self.clock.now().wall;
        let launch = Launch {
            command: Command::new(vec!["true".into()]).unwrap(),
            cwd: "/".into(),
            home: None,
            env: task.env.clone(),
            time_limit: None,
            stdout: None,
            stderr: None,
            stdin: None,
            workplace: Default::default(),
            fetch: task.fetch.then(|| Fetch { patterns: Vec::new(), changed: true, into: "/".into() }),
            max_output: task.max_output,
        };
        let request = Request {
            demand: task.demand.clone(),
            launch,
            members: task.members.clone(),
            retries: task.retries,
            retry_lost: task.retry_lost,
            lost_after: task.lost_after,
            hold: task.hold,
            hold_unmatched: false,
            user: None,
            client: client(),
        };
        self.write(|tx| {
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            let user = tx.user("me")?.unwrap().id;
            let client = tx.see_client(&request.client, now)?;
            let class = tx.class_of(tier2, user, client, &request.demand)?;
            let new = NewTask {
                uuid,
                class,
                user,
                request: &request,
                begins: if request.hold { Begins::Held("held by you") } else { Begins::Waiting },
                unmatched: false,
                round: 1,
                route: TierRoute { tier1: "tier1", tier2: "tier2" },
                search: None,
                verdict: None,
                kept: 0,
                environment: None,
            };
            tx.add_task(&new, now)
        })
    }

    /// Runs agents and dispatcher until none has anything to send.
    pub fn run(&mut self) {
        for _ in 0..200 {
            let now = self.clock.now().wall;
            let mut busy = false;
            self.dispatcher.shift_stored_times(&mut self.store).unwrap();
            for agent in self.agents.borrow_mut().values_mut() {
                busy |= agent.pump(now);
            }
            let routes: Vec<Route> = self.dispatcher.links.slots.keys().copied().collect();
            for route in routes {
                let links = &mut self.dispatcher.links;
                let news = links.slots.get_mut(&route).map(|slot| slot.receive(&mut links.connector));
                let news = news.unwrap_or_default();
                busy |= !news.is_empty() || self.has_unread(route);
                self.dispatcher.handle_news(route, news);
            }
            busy |= self.dispatcher.has_more();
            self.dispatcher.turn(&mut self.store).unwrap();
            self.dispatcher.open_links(&self.store).unwrap();
            self.dispatcher.flush();
            for agent in self.agents.borrow_mut().values_mut() {
                busy |= agent.pump(now) || agent.has_more();
            }
            busy |= self.dispatcher.has_more();
            if !busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// True if a link has more to read. A long message arrives in parts.
    fn has_unread(&self, route: Route) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let link = self.dispatcher.links.slots.get(&route).and_then(|slot| slot.link());
        link.is_some_and(|link| {
            poll(&mut [PollFd::from_borrowed_fd(link.read_end(), PollFlags::IN)], Some(&now)) == Ok(1)
        })
    }

    /// Lets time pass in steps of at most a second; messages are delivered in each.
    pub fn pass(&mut self, mut time: Duration) {
        while !time.is_zero() {
            let step = time.min(Duration::from_secs(1));
            self.clock.advance(step);
            time -= step;
            self.run();
        }
    }

    /// Advances the clock in one step; no message is delivered in between.
    pub fn leap(&mut self, time: Duration) {
        self.clock.advance(time);
        self.run();
    }

    /// Kills the dispatcher and starts another one.
    pub fn restart(&mut self) {
        self.dispatcher = begin(&self.home, &mut self.store, &self.clock, &self.agents, &self.unreachable);
        self.run();
    }

    /// Makes a host unreachable; its link is cut.
    pub fn make_unreachable(&mut self, server: &str) {
        self.unreachable.borrow_mut().push(server.into());
        self.agent(server, FakeAgent::cut);
        self.run();
    }

    /// Makes a host reachable again.
    pub fn make_reachable(&mut self, server: &str) {
        self.unreachable.borrow_mut().retain(|name| name != server);
    }

    /// Gives access to a server's agent.
    pub fn agent<T>(&self, server: &str, work: impl FnOnce(&mut FakeAgent) -> T) -> T {
        work(self.agents.borrow_mut().get_mut(server).unwrap())
    }

    /// Ends the command of the only running attempt of a server with this code.
    pub fn end(&mut self, server: &str, code: u8) {
        self.end_with(server, code, b"");
    }

    /// Ends the command of the only running attempt of a server with this code and this output.
    pub fn end_with(&mut self, server: &str, code: u8, out: &[u8]) {
        let now = self.clock.now().wall;
        let running = self.running(server);
        let [attempt] = running[..] else { panic!("{} run on {server}", running.len()) };
        self.agent(server, |agent| agent.end(attempt, code, out, now));
        self.run();
    }

    /// Ends all running commands with this code.
    pub fn end_all(&mut self, code: u8) {
        let now = self.clock.now().wall;
        for agent in self.agents.borrow_mut().values_mut() {
            for attempt in agent.running() {
                agent.end(attempt, code, b"", now);
            }
        }
        self.run();
    }

    /// Running attempts of a server.
    pub fn running(&self, server: &str) -> Vec<AttemptId> {
        self.agent(server, |agent| agent.running())
    }

    /// The state of a task.
    pub fn state(&self, task: TaskId) -> State {
        self.store.view().task(task).unwrap().unwrap().state()
    }

    /// The file with the stdout of a task's first attempt.
    pub fn output_file(&self, task: TaskId) -> PathBuf {
        self.home.output_file(AttemptKey { task, index: Index(0), number: 1 }, Stream::Out)
    }

    /// The state of a member.
    pub fn member_state(&self, task: TaskId, index: u32) -> State {
        self.store.view().member(task, Index(index)).unwrap().map_or(State::Pending, |member| member.phase().state())
    }

    /// The attempt number of a member, from 1. 0: it never started.
    pub fn number(&self, task: TaskId, index: u32) -> u32 {
        self.store.view().member(task, Index(index)).unwrap().map_or(0, |member| member.number)
    }

    /// Why a task waits.
    pub fn reason(&self, task: TaskId) -> Option<String> {
        let row = self.store.view().task(task).unwrap().unwrap();
        row.reason_in(row.state()).map(|reason| reason.to_string())
    }

    /// Checks what every scenario keeps: reserved resources are those of live lanes, and no command was started twice.
    pub fn check(&self) {
        assert_eq!(self.store.view().miscounted().unwrap(), [], "what is taken is not what lives");
        let mut ran: Vec<AttemptId> = self.agents.borrow().values().flat_map(|agent| agent.ran.clone()).collect();
        let all = ran.len();
        ran.sort_unstable();
        ran.dedup();
        assert_eq!(ran.len(), all, "an attempt was started twice");
    }

    /// Connects a command.
    pub fn caller(&mut self) -> Caller {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.dispatcher.callers.add(theirs).unwrap();
        ours.set_nonblocking(true).unwrap();
        Caller { stream: ours, inbox: frame::Inbox::default() }
    }

    /// Sends a message of the command at this place in the list.
    pub fn say(&mut self, at: usize, message: ToDispatcher) {
        self.dispatcher.handle(&mut self.store, at, message).unwrap();
        self.run();
    }
}

/// A connected command.
pub struct Caller {
    stream: UnixStream,
    inbox: frame::Inbox,
}

impl Caller {
    /// The messages that the dispatcher has sent since the last call.
    pub fn heard(&mut self) -> Vec<FromDispatcher> {
        while let Ok(Some(1..)) = self.inbox.fill(&mut self.stream) {}
        std::iter::from_fn(|| self.inbox.next().unwrap()).collect()
    }
}

/// Starts a dispatcher.
fn begin(
    home: &Home,
    store: &mut Store,
    clock: &Rc<TestClock>,
    agents: &Agents,
    unreachable: &Rc<RefCell<Vec<String>>>,
) -> Dispatcher {
    let ambient: Rc<dyn Ambient> = Rc::<TestClock>::clone(clock);
    let mut dispatcher = without_socket(home, store, Box::new(NoSubmits), ambient).unwrap();
    let (agents, unreachable) = (Rc::clone(agents), Rc::clone(unreachable));
    dispatcher.links.connector.opener = Some(Opener(Box::new(move |to| {
        let name = match to {
            Engine::Ssh(target) => target.host().to_owned(),
            _ => "local".to_owned(),
        };
        if unreachable.borrow().contains(&name) {
            return None;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        agents.borrow_mut().get_mut(&name)?.connect(theirs);
        let end = |stream: UnixStream| File::from(OwnedFd::from(stream));
        let ends = LinkEnds { send: end(ours.try_clone().unwrap()), receive: end(ours) };
        Some(Link::over(ends, MAGIC).unwrap())
    })));
    dispatcher
}
