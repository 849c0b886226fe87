//! A stand-in for a dispatcher: one home, its spool, and agents one after the other.

use grid::model::attempt::{Cause, Stream};
use grid::model::command::{Command, Environment, Text};
use grid::model::id::{AttemptId, BootId, Epoch, HomeId, Index, LaneId, TaskUuid};
use grid::model::task::Launch;
use grid::protocol::agent::{Ended, Event, FromAgent, Held, HeldState, MAGIC, Start, StartMember, ToAgent, VERSION};
use grid::protocol::frame;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; only a failing test ever waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Home {
    pub dir: tempfile::TempDir,
    pub spool: PathBuf,
    pub id: HomeId,
    pub epoch: Epoch,
    pub incarnation: u64,
    pub env: Vec<(String, String)>,
    /// Started as by a careless script: signals ignored, a descriptor left open.
    pub rough: bool,
    /// So many descriptors are allowed.
    pub files: Option<u32>,
    /// Its agents are told that a start is on its way.
    pub expecting: bool,
    /// What its agents complain of is not shown.
    pub quiet: bool,
}

pub struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    pub boot: BootId,
    pub machine: String,
    pub inventory: Vec<Held>,
    epoch: Epoch,
    seen: VecDeque<Event>,
    others: VecDeque<FromAgent>,
    inbox: frame::Inbox,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        Self {
            spool,
            dir,
            id: HomeId(TaskUuid::new().0),
            epoch: Epoch(1),
            incarnation: 1,
            env: Vec::new(),
            rough: false,
            files: None,
            expecting: false,
            quiet: false,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts an agent and says hello.
    pub fn agent(&self) -> Agent {
        self.try_agent().expect("the agent says hello")
    }

    pub fn try_agent(&self) -> Result<Agent, String> {
        let mut agent = self.spawn();
        agent.try_tell(&self.hello());
        agent.greeting()
    }

    /// What its dispatcher says first.
    pub fn hello(&self) -> ToAgent {
        let (incarnation, epoch) = (self.incarnation, self.epoch);
        ToAgent::Hello { version_min: 1, version: VERSION, home: self.id, incarnation, epoch }
    }

    /// Starts an agent and says nothing yet.
    pub fn spawn(&self) -> Agent {
        let mut before = self.files.map_or_else(String::new, |most| format!("ulimit -n {most}; "));
        if self.rough {
            before += "trap '' HUP INT CHLD USR1; exec 9</dev/null; ";
        }
        let program = if before.is_empty() { env!("CARGO_BIN_EXE_grid") } else { "sh" };
        let mut command = std::process::Command::new(program);
        if !before.is_empty() {
            command.args(["-c", &format!("{before} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_grid")]);
        }
        let mut child = command
            .args(["agent", "--spool"])
            .arg(&self.spool)
            .args(self.expecting.then_some("--expecting="))
            .envs(self.env.iter().map(|(n, v)| (n, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(if self.quiet { Stdio::null() } else { Stdio::inherit() })
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Agent {
            child,
            input,
            output,
            boot: BootId(String::new()),
            machine: String::new(),
            inventory: Vec::new(),
            epoch: self.epoch,
            seen: VecDeque::new(),
            others: VecDeque::new(),
            inbox: frame::Inbox::default(),
        }
    }

    /// Runs' directories that are left.
    pub fn runs(&self) -> usize {
        std::fs::read_dir(self.runs_dir()).map_or(0, |d| d.count())
    }

    /// The directory of the one run that there is.
    pub fn only_run(&self) -> PathBuf {
        assert_eq!(self.runs(), 1);
        std::fs::read_dir(self.runs_dir()).unwrap().next().unwrap().unwrap().path()
    }

    fn runs_dir(&self) -> PathBuf {
        self.spool.join(self.id.to_string()).join("runs")
    }
}

pub fn attempt() -> AttemptId {
    AttemptId { task: TaskUuid::new(), index: Index(0), number: 1 }
}

pub fn launch(arguments: &[&str]) -> Launch {
    Launch {
        command: Command::new(arguments.iter().map(|a| Text::from(*a)).collect()).unwrap(),
        cwd: Text::from("/"),
        home: None,
        env: Environment::default(),
        time_limit: None,
        stdout: None,
        stderr: None,
        stdin: None,
        workplace: Default::default(),
        fetch: None,
        max_output: None,
    }
}

pub fn sh(script: &str) -> Launch {
    launch(&["sh", "-c", script])
}

pub fn member(attempt: AttemptId) -> StartMember {
    StartMember { attempt, array_index: None, entry: None, directory: None }
}

impl Agent {
    /// Takes in what it says first. The error: why it can't serve, or that it left.
    pub fn greeting(mut self) -> Result<Self, String> {
        let mut magic = vec![0; MAGIC.len()];
        self.output.read_exact(&mut magic).map_err(|error| error.to_string())?;
        assert_eq!(magic, MAGIC);
        rustix::io::ioctl_fionbio(&self.output, true).unwrap();
        match self.message().ok_or("the agent left")? {
            FromAgent::Hello { boot, machine, inventory, .. } => {
                (self.boot, self.machine, self.inventory) = (boot, machine, inventory);
                Ok(self)
            }
            FromAgent::Unfit { error } => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Writes these bytes. False if the agent has left.
    pub fn say(&mut self, wire: &[u8]) -> bool {
        self.input.as_mut().unwrap().write_all(wire).is_ok()
    }

    /// Ends its input: how it leaves.
    pub fn status(mut self) -> ExitStatus {
        self.input = None;
        self.child.wait().unwrap()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn tell(&mut self, message: &ToAgent) {
        frame::write(self.input.as_mut().unwrap(), message).unwrap();
    }

    /// False if the agent has died.
    pub fn try_tell(&mut self, message: &ToAgent) -> bool {
        frame::write(self.input.as_mut().unwrap(), message).is_ok()
    }

    pub fn order(&self, lane: i64, launch: Launch, members: Vec<StartMember>) -> Start {
        let (boot, epoch) = (self.boot.clone(), self.epoch);
        Start {
            lane: LaneId(lane),
            boot,
            epoch,
            launch,
            mem_limit: None,
            grid_env: Vec::new(),
            prologue: None,
            features: Vec::new(),
            inherited: None,
            members,
        }
    }

    pub fn start(&mut self, lane: i64, launch: Launch) -> AttemptId {
        let id = attempt();
        let order = self.order(lane, launch, vec![member(id)]);
        self.tell(&ToAgent::Start(order));
        id
    }

    pub fn run(&mut self, launch: Launch) -> Ended {
        let id = self.start(1, launch);
        self.end(id)
    }

    pub fn cancel(&mut self, attempt: AttemptId, grace: Duration) {
        self.tell(&ToAgent::Cancel { attempt, grace });
    }

    pub fn confirm(&mut self, attempts: &[AttemptId]) {
        self.tell(&ToAgent::Confirm { attempts: attempts.to_vec() });
    }

    /// The next message of any kind; None at the end of the stream.
    pub fn message(&mut self) -> Option<FromAgent> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.inbox.next().unwrap() {
                return Some(message);
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing came; seen {:?}", self.seen);
            let left = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap(), tv_nsec: left.subsec_nanos().into() };
            poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&left)).unwrap();
            if matches!(self.inbox.fill(&mut self.output), Ok(Some(0)) | Err(_)) {
                return None;
            }
        }
    }

    fn pull(&mut self) -> Option<()> {
        match self.message()? {
            FromAgent::Events(events) => self.seen.extend(events),
            other => self.others.push_back(other),
        }
        Some(())
    }

    /// Waits for the first event that fits and takes it out; others stay. None: the agent died.
    pub fn find<T>(&mut self, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        let mut at = 0;
        loop {
            while at < self.seen.len() {
                if let Some(found) = pick(&self.seen[at]) {
                    self.seen.remove(at);
                    return Some(found);
                }
                at += 1;
            }
            self.pull()?;
        }
    }

    /// The next event, whatever it is.
    pub fn event(&mut self) -> Option<Event> {
        self.find(|e| Some(e.clone()))
    }

    pub fn end(&mut self, attempt: AttemptId) -> Ended {
        let found = self.find(|e| match e {
            Event::Ended { attempt: a, ended } if *a == attempt => Some(Ok(ended.clone())),
            Event::Refused { attempt: a, why } if *a == attempt => Some(Err(format!("{why:?}"))),
            Event::Recalled { attempt: a } if *a == attempt => Some(Err("recalled".to_owned())),
            _ => None,
        });
        found.expect("the agent lives").expect("it ends")
    }

    pub fn refusal(&mut self, attempt: AttemptId) -> grid::protocol::agent::Refusal {
        let found = self.find(|e| match e {
            Event::Refused { attempt: a, why } if *a == attempt => Some(why.clone()),
            Event::Ended { attempt: a, ended } if *a == attempt => panic!("{ended:?}"),
            _ => None,
        });
        found.expect("the agent lives")
    }

    /// Waits until it runs: its pid.
    pub fn began(&mut self, attempt: AttemptId) -> i32 {
        let found = self.find(|e| match e {
            Event::Began { attempt: a, process, .. } if *a == attempt => Some(process.as_ref().unwrap().pid),
            Event::Ended { attempt: a, ended } if *a == attempt => panic!("{ended:?}"),
            _ => None,
        });
        found.expect("the agent lives")
    }

    /// The next message that is no event.
    pub fn other(&mut self) -> FromAgent {
        loop {
            if let Some(other) = self.others.pop_front() {
                return other;
            }
            self.pull().expect("the agent lives");
        }
    }

    /// Has anything come besides what was asked for?
    pub fn seen(&self) -> &VecDeque<Event> {
        &self.seen
    }

    pub fn held(&self, attempt: AttemptId) -> Option<&HeldState> {
        self.inventory.iter().find(|h| h.attempt == attempt).map(|h| &h.state)
    }

    pub fn read(&mut self, attempt: AttemptId, stream: Stream, offset: u64, max: u32) -> (Vec<u8>, bool) {
        self.tell(&ToAgent::Read { attempt, stream, offset, max });
        match self.other() {
            FromAgent::Data { bytes, at_end, .. } => (bytes, at_end),
            other => panic!("{other:?}"),
        }
    }

    /// Asks for a second name of an output: was it given one?
    pub fn link(&mut self, attempt: AttemptId, stream: Stream, to: &Path) -> bool {
        self.tell(&ToAgent::Link { attempt, stream, to: Text::from(to.as_os_str().to_owned()) });
        match self.other() {
            FromAgent::Linked { linked, .. } => linked,
            other => panic!("{other:?}"),
        }
    }

    /// Shoots it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input and waits until it has left.
    pub fn leave(mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success());
    }

    /// Waits until it has died by itself (a failpoint).
    pub fn died(&mut self) {
        while self.pull().is_some() {}
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

pub fn out(ended: &Ended) -> &str {
    std::str::from_utf8(ended.out.as_deref().expect("small enough")).unwrap()
}

pub fn exited(ended: &Ended) -> u8 {
    match &ended.end.cause {
        Cause::Exited { code } => *code,
        other => panic!("{other:?}"),
    }
}

/// Waits until a process is gone (or a zombie that nobody buries).
pub fn gone(pid: i32) {
    let until = Instant::now() + PATIENCE;
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
        if matches!(state, None | Some('Z' | 'X')) {
            return;
        }
        assert!(Instant::now() < until, "process {pid} does not end: {stat}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a condition holds that no descriptor tells of.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
