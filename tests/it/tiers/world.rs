//! Homes in one process with real databases, and a wire between them that fails when told to: at a named step of a question,
//! whoever works at it is cut off, freezes, or dies.

use grid::distributor::context::TierContext;
use grid::distributor::fleets::Fleets;
use grid::distributor::front::{Asker, PlaceQuestion, Sought};
use grid::distributor::peers::{PeerError, Peers};
use grid::distributor::principal::{Access, Principal};
use grid::distributor::serve::{CommitQuestion, OfferQuestion, TierQuestion, answer};
use grid::distributor::tier2::TierError;
use grid::model::ambient::System;
use grid::model::command::{Command, Environment};
use grid::model::demand::Demand;
use grid::model::endpoint::Endpoint;
use grid::model::facts::Facts;
use grid::model::files::Workplace;
use grid::model::id::{BootId, HomeId, TaskUuid};
use grid::model::resources::Bytes;
use grid::model::task::{ClientFacts, Launch, Members, Request};
use grid::protocol::distributor::{Answer, Question};
use grid::store::home::{Home, Seed};
use grid::store::{Durability, Store, StoreError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to whoever works at a step. Its caller is told nothing but that the line is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The line breaks, the work goes on.
    Cut,
    /// It stops, and goes on when it thaws: after whatever was done meanwhile.
    Frozen,
    /// It is gone.
    Killed,
}

/// Where in the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    FirstBeforeOffer,
    FirstBetween,
    FirstBeforeAnswer,
    SecondBeforeOffer,
    SecondAfterOffer,
    SecondBeforeCommit,
    SecondAfterCommit,
    BeforeFind,
    AfterFind,
    BeforeGiveUp,
    AfterGiveUp,
}

pub const FAULTS: [Fault; 3] = [Fault::Cut, Fault::Frozen, Fault::Killed];
pub const STEPS: [Step; 9] = [
    Step::FirstBeforeOffer,
    Step::FirstBetween,
    Step::FirstBeforeAnswer,
    Step::SecondBeforeOffer,
    Step::SecondAfterOffer,
    Step::SecondBeforeCommit,
    Step::SecondAfterCommit,
    Step::BeforeFind,
    Step::AfterFind,
];

/// One fault that is still to come.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub fault: Fault,
    pub step: Step,
    /// Passages of the step before it strikes.
    pub after: u32,
}

/// What goes wrong in one schedule, and what has.
#[derive(Debug, Default)]
pub struct Plan {
    pub coming: Vec<Planned>,
    pub struck: Vec<(Fault, Step)>,
    /// Questions that a home does not hear after it died.
    pub down: BTreeMap<PathBuf, u32>,
    /// A frozen host answers nobody; a frozen process leaves the host to answer by another one.
    pub frozen_hosts: Vec<PathBuf>,
    pub whole_hosts: bool,
    pub stays_down: u32,
    pub thawed: bool,
}

/// All homes of a test.
pub struct World {
    _dir: tempfile::TempDir,
    pub plan: Mutex<Plan>,
    thaw: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What each home's `grid serve` keeps of its servers between questions.
    fleets: Mutex<BTreeMap<PathBuf, Fleets>>,
}

pub fn principal() -> Principal {
    Principal::resident("me".parse().unwrap())
}

/// A home that searches, by the clocks of this host.
pub fn context<'a>(store: &'a mut Store, peers: &'a mut dyn Peers) -> TierContext<'a> {
    TierContext { store, peers, ambient: &System }
}

/// A home with one server of this many processors.
pub fn found(dir: &Path, cpus: u32) -> Store {
    let home = Home::at(dir);
    let founding = home.found().unwrap();
    let facts = Facts {
        machine: format!("m-{}", dir.display()),
        boot: BootId("b1".into()),
        hostname: "desk".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        cpus,
        power: 100.0,
        load1: 0.0,
        idle_cpus: f64::from(cpus),
        mem_total: Bytes(8 << 30),
        mem_available: Bytes(8 << 30),
        disk_free: Bytes(8 << 30),
        gpus: vec![],
        apps: BTreeMap::default(),
        probed: BTreeMap::default(),
        complaints: vec![],
        behind: Default::default(),
    };
    let client = ClientFacts { host: "desk".into(), user: "me".into(), os: "linux".into(), arch: "x86_64".into() };
    let store = Store::create(&home, &Seed { owner: "me".parse().unwrap(), client, facts }).unwrap();
    drop(founding);
    store
}

impl World {
    pub fn new() -> (Arc<Self>, PathBuf) {
        let dir = tempfile::Builder::new().prefix("grid-tiers-").tempdir().unwrap();
        let path = dir.path().to_owned();
        let world = Self {
            _dir: dir,
            plan: Mutex::default(),
            thaw: Condvar::new(),
            threads: Mutex::default(),
            fleets: Mutex::default(),
        };
        (Arc::new(world), path)
    }

    pub fn begin(&self, plan: Plan) {
        *self.plan.lock().unwrap() = plan;
    }

    /// Everything that froze goes on, and ends.
    pub fn thaw(&self) {
        {
            let mut plan = self.plan.lock().unwrap();
            plan.thawed = true;
            plan.frozen_hosts.clear();
            plan.down.clear();
        }
        self.thaw.notify_all();
        loop {
            let Some(thread) = self.threads.lock().unwrap().pop() else { return };
            // One that was killed has unwound.
            let _ = thread.join();
        }
    }

    /// Is anybody home? One that died comes back after a while.
    fn hears(&self, home: &Path) -> bool {
        let mut plan = self.plan.lock().unwrap();
        if plan.frozen_hosts.iter().any(|h| h == home) {
            return false;
        }
        match plan.down.get_mut(home) {
            None => true,
            Some(0) => {
                plan.down.remove(home);
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    /// Whoever works passes a step.
    fn pass(&self, at: &Path, step: Step, caller: &Sender<Said>) {
        let fault = {
            let mut plan = self.plan.lock().unwrap();
            let Some(place) = plan.coming.iter().position(|p| p.step == step) else { return };
            if plan.coming[place].after > 0 {
                plan.coming[place].after -= 1;
                return;
            }
            let planned = plan.coming.remove(place);
            plan.struck.push((planned.fault, step));
            match planned.fault {
                Fault::Killed => {
                    let stays = plan.stays_down;
                    plan.down.insert(at.to_owned(), stays);
                }
                // One that freezes after the thaw runs on at once.
                Fault::Frozen if plan.whole_hosts && !plan.thawed => plan.frozen_hosts.push(at.to_owned()),
                _ => {}
            }
            planned.fault
        };
        // Whoever asked may have given up already.
        let _ = caller.send(Said::Dead(format!("{fault:?} at {step:?}")));
        match fault {
            Fault::Cut => {}
            Fault::Frozen => {
                let mut plan = self.plan.lock().unwrap();
                while !plan.thawed {
                    plan = self.thaw.wait_timeout(plan, Duration::from_secs(60)).unwrap().0;
                }
            }
            Fault::Killed => std::panic::resume_unwind(Box::new("killed")),
        }
    }
}

/// What an asker hears.
enum Said {
    Word(Answer),
    Last(Answer),
    Dead(String),
}

/// The way of one home to others.
pub struct Wire {
    pub world: Arc<World>,
    /// Whose work this is part of, and its own caller; None for the client.
    within: Option<(PathBuf, Sender<Said>)>,
}

impl Wire {
    pub fn of_client(world: &Arc<World>) -> Self {
        Self { world: Arc::clone(world), within: None }
    }
}

impl Peers for Wire {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let Endpoint::Path(home) = endpoint else { panic!("{endpoint}") };
        if let (Some((at, caller)), Question::Commit { .. }) = (&self.within, question) {
            self.world.pass(at, Step::FirstBetween, caller);
        }
        if !self.world.hears(home) {
            return Err(PeerError::Unreached("nobody is there".to_owned()));
        }
        let (say, hear) = channel();
        let (go, told) = channel();
        let (world, home, question) = (Arc::clone(&self.world), home.clone(), question.clone());
        let thread = std::thread::spawn(move || work(&world, &home, question, Asking { say, told, unheard: 0 }));
        self.world.threads.lock().unwrap().push(thread);
        listen(&hear, each, &go)
    }
}

/// The home that asks, as the one that works sees it.
struct Asking {
    say: Sender<Said>,
    told: Receiver<()>,
    /// Redirects behind which no go was heard.
    unheard: u32,
}

/// A home that asks and hears nothing before the answer.
pub struct Waits;

impl Asker for Waits {
    fn say(&mut self, _: Answer) {}

    fn goes(&mut self) -> bool {
        true
    }
}

impl Asker for Asking {
    fn say(&mut self, word: Answer) {
        self.unheard += u32::from(matches!(word, Answer::Redirect { .. }));
        let _ = self.say.send(Said::Word(word));
    }

    fn goes(&mut self) -> bool {
        while self.unheard > 0 {
            if self.told.recv().is_err() {
                return false;
            }
            self.unheard -= 1;
        }
        true
    }
}

fn listen(hear: &Receiver<Said>, each: &mut dyn FnMut(Answer) -> bool, go: &Sender<()>) -> Result<Answer, PeerError> {
    loop {
        match hear.recv() {
            Ok(Said::Word(word)) => {
                let redirected = matches!(word, Answer::Redirect { .. });
                if each(word) && redirected {
                    let _ = go.send(());
                }
            }
            Ok(Said::Last(answer)) => return Ok(answer),
            Ok(Said::Dead(why)) => return Err(PeerError::Cut(why)),
            Err(_) => return Err(PeerError::Cut("it went away".to_owned())),
        }
    }
}

/// What `grid serve` does with one question, step by step.
fn work(world: &Arc<World>, home: &Path, question: Question, mut asking: Asking) {
    let say = &asking.say.clone();
    let mut store = Store::open(&Home::at(home)).unwrap();
    let principal = Principal { access: Access::Owner, ..principal() };
    let mut peers = Wire { world: Arc::clone(world), within: Some((home.to_owned(), say.clone())) };
    let (before, after) = match &question {
        Question::PlaceOnGo(_) => (Step::FirstBeforeOffer, Step::FirstBeforeAnswer),
        Question::Offer { .. } => (Step::SecondBeforeOffer, Step::SecondAfterOffer),
        Question::Commit { .. } => (Step::SecondBeforeCommit, Step::SecondAfterCommit),
        Question::GiveUp { .. } => (Step::BeforeGiveUp, Step::AfterGiveUp),
        _ => (Step::BeforeFind, Step::AfterFind),
    };
    if let Question::GiveUp { owner, .. } = &question
        && *owner != store.view().home_row().unwrap().id
    {
        let _ = say.send(Said::Last(pass_on(&store, &mut peers, *owner, &question)));
        return;
    }
    world.pass(home, before, say);
    let asked = match &question {
        Question::PlaceOnGo(envelope) => TierQuestion::Place(PlaceQuestion { envelope: envelope.clone(), on_go: true }),
        Question::Offer { at, envelope, called, why, even_drained } => TierQuestion::Offer(OfferQuestion {
            at: at.as_ref(),
            called: called.as_ref(),
            envelope,
            why: *why,
            even_drained: *even_drained,
        }),
        Question::Commit { at, envelope, how, way } => {
            TierQuestion::Commit(CommitQuestion { at: at.as_ref(), envelope, how: *how, way })
        }
        Question::Find { uuid, round, onward, age_ms, among, .. } => TierQuestion::Find(Sought {
            uuid: *uuid,
            round: *round,
            onward: *onward,
            age: Duration::from_millis(*age_ms),
            among: among.clone(),
        }),
        Question::GiveUp { uuid, round, .. } => TierQuestion::GiveUp { uuid: *uuid, round: *round },
        other => panic!("{other:?}"),
    };
    let mut fleets = world.fleets.lock().unwrap().remove(home).unwrap_or_default();
    let said = match answer(&mut context(&mut store, &mut peers), &mut fleets, &principal, asked, &mut asking) {
        Err(TierError::Denied(why)) => Answer::Denied(why),
        said => said.unwrap(),
    };
    world.fleets.lock().unwrap().insert(home.to_owned(), fleets);
    world.pass(home, after, say);
    let _ = say.send(Said::Last(said));
}

/// What a first tier does with a question to the owner of a task.
fn pass_on(store: &Store, peers: &mut Wire, owner: HomeId, question: &Question) -> Answer {
    let members = store.view().distributors(grid::model::distributor::Tier::Second).unwrap();
    let member = members.into_iter().find(|member| member.home == Some(owner)).unwrap();
    let said = peers.ask(&member.endpoint, question, &mut |_| true);
    said.unwrap_or_else(|error| Answer::Denied(error.to_string()))
}

/// How many tasks with this uuid a home holds, as an owner.
pub fn holds(store: &Store, uuid: TaskUuid) -> bool {
    store.view().held_by_uuid(uuid).unwrap().0.is_some()
}

/// Makes members of another home known.
pub fn know(store: &mut Store, name: &str, tier: grid::model::distributor::Tier, home: &Store) {
    let endpoint = Endpoint::Path(home.home().dir().to_owned());
    let id = home.view().home_row().unwrap().id;
    let now = grid::model::time::Timestamp::now();
    store
        .write(Durability::Normal, |tx| {
            let new = tx.add_distributor(&name.parse().unwrap(), tier, now)?;
            tx.set_endpoint(new, &endpoint, None)?;
            tx.set_distributor_home(new, id)
        })
        .map_err(|error: StoreError| error)
        .unwrap();
}

/// A task that asks for nothing but to be run.
pub fn request() -> Request {
    Request {
        demand: Demand::default(),
        launch: Launch {
            command: Command::new(vec!["true".into()]).unwrap(),
            cwd: "/tmp".into(),
            env: Environment(vec![]),
            time_limit: None,
            stdout: None,
            stderr: None,
            stdin: None,
            home: None,
            workplace: Workplace::There,
            fetch: None,
            max_output: None,
        },
        members: Members::Single,
        retries: 0,
        retry_lost: false,
        lost_after: None,
        hold: false,
        hold_unmatched: false,
        user: None,
        client: ClientFacts { host: "desk".into(), user: "x".into(), os: "linux".into(), arch: "x86_64".into() },
    }
}
