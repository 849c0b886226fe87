//! The dispatcher's process: one for a home by lock, a loop over everything that can speak to it, and its leaving.

use super::begin::{Begun, OPEN_FILES, anew, begin};
use super::bringing::Bringing;
use super::callers::Callers;
use super::desk::Desk;
use super::discards::Discards;
use super::elsewhere::Chores;
use super::explaining::ToExplain;
use super::fetch::Fetches;
use super::full::Shortage;
use super::lanes::Lanes;
use super::life::Ended;
use super::links::Slot;
use super::machines::Elsewhere;
use super::peers::PeerLinks;
use super::people::People;
use super::queue::Queue;
use super::route::Route;
use super::schedule::Compiled;
use super::sending::Sending;
use super::spools::Spools;
use super::start::{self, Startup, socket_path};
use super::turn;
use super::ways::Ways;
use crate::distributor::fleets::Fleets;
use crate::matching::Place;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptId, ClassId, Epoch, Index, MachineId, ServerId, TaskId};
use crate::model::name::Name;
use crate::model::open_files;
use crate::model::processors::Processors;
use crate::model::ssh::Login;
use crate::model::time::Timestamp;
use crate::protocol::agent::{FromAgent, ToAgent};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::trace::NoteId;
use crate::store::{Durability, Home, Log, Store, StoreError, View};
use rustix::process::{getpriority_process, setpriority_process};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Why a dispatcher ended otherwise than by leaving.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "it may have {0} files open at once, and needs {OPEN_FILES}: raise the limit (`ulimit -n 1024`, or /etc/security/limits.conf) \
         where it is started"
    )]
    OpenFiles(u64),
    #[error("a newer dispatcher has taken over")]
    Fenced,
    /// Where the home was is none any more, or another one.
    #[error(
        "{}: the home is not here any more: it was moved or removed; this dispatcher ends, and the next command where the home lies \
         now starts another (tasks go on)",
        .0.dir().display()
    )]
    Moved(Home),
}

/// Everything that a dispatcher holds. What matters is in the database: this is made again from it at every start.
pub struct Dispatcher {
    pub(super) home: Home,
    pub(super) epoch: Epoch,
    /// Attempts sent up to this epoch are from before the backup that this home was restored from; 0: it was not.
    pub(super) restored: Epoch,
    pub(super) links: BTreeMap<Route, Slot>,
    pub(super) ways: Ways,
    pub(super) inbox: Vec<(Route, FromAgent)>,
    pub(super) callers: Callers,
    pub(super) desk: Box<dyn Desk>,
    pub(super) lanes: Lanes,
    pub(super) queue: Queue,
    pub(super) fleets: Fleets,
    pub(super) compiled: HashMap<ClassId, Compiled>,
    pub(super) people: People,
    pub(super) fetches: Fetches,
    pub(super) sending: Sending,
    pub(super) bringing: Bringing,
    /// What servers may drop and have not heard of.
    pub(super) discards: Discards,
    /// Links that were lost while something was on its way home.
    pub(super) cut: HashSet<Route>,
    /// What lies with machines that do not answer under their servers' names now.
    pub(super) elsewhere: BTreeMap<Route, Elsewhere>,
    /// Servers that hold ends whose outputs or files are still to come home, and that were not heard of yet.
    pub(super) awaited: HashSet<ServerId>,
    /// What came of asking once more for what a member brought.
    pub(super) again: Vec<(Route, AttemptId, super::collect::Known)>,
    /// The home's count of changes up to which servers and classes were looked at.
    pub(super) seen_servers: i64,
    pub(super) seen_classes: i64,
    /// The database is to be looked at.
    pub(super) stirred: bool,
    /// The store's `data_version` at the last look.
    pub(super) others: i64,
    /// Servers that a task can't start on: no working directory there, an output that can't be opened.
    pub(super) barred: HashMap<TaskId, Vec<(ServerId, String)>>,
    /// Servers that failed a task last: its next attempt goes elsewhere if it can.
    pub(super) avoided: HashMap<TaskId, ServerId>,
    /// Cancels that were passed on in this epoch.
    pub(super) cancelling: HashSet<AttemptId>,
    /// Classes with arrays that run as many members at once as they may.
    pub(super) capped: HashSet<ClassId>,
    /// Links that turned out to lead to a host that was restarted.
    pub(super) lost_routes: Vec<Route>,
    /// Links that were cut, and when they stood last.
    pub(super) silent: Vec<(Route, Timestamp, Option<MachineId>)>,
    /// When the next attempt is out of reach for as long as its `--lost-after` says.
    pub(super) lose_at: Option<Instant>,
    pub(super) began_at: Timestamp,
    /// The last kept verdicts of classes.
    pub(super) judged: HashMap<ClassId, (Instant, NoteId)>,
    /// Verdicts of servers that may still be kept.
    pub(super) verdicts_left: usize,
    /// Numbers of lanes that are reserved and not given out yet.
    pub(super) lane_numbers: Range<i64>,
    /// When the write-ahead log was moved last.
    pub(super) log_moved: Option<Instant>,
    pub(super) to_explain: ToExplain,
    pub(super) spools: Spools,
    /// When hosts are read again for what is blocked.
    pub(super) look_again: Option<Instant>,
    pub(super) starve_at: Instant,
    pub(super) idle_since: Instant,
    pub(super) idle_exit: Duration,
    /// Links to other homes.
    pub(super) peers: PeerLinks,
    pub(super) chores: Chores,
    /// When silent ones were looked at last.
    pub(super) silent_at: Option<Instant>,
    /// The account that the home belongs to.
    pub(super) owner: Name,
    /// What waits for room on the disk.
    pub(super) shortage: Shortage,
    pub(super) leave: bool,
}

/// A dispatcher leaves no longer log behind, in bytes.
const LOG_LEFT: u64 = 4 << 20;

/// Runs the dispatcher of a home until it leaves. `answer` takes the one line for whoever started it, with this session; `caller` is
/// where that one has asked something already. Orders of commands are carried out by the desk.
pub fn serve(
    home: &Home,
    desk: Box<dyn Desk>,
    caller: Option<UnixStream>,
    login: Login,
    answer: &mut dyn Write,
) -> Result<(), DispatchError> {
    // Away from the starter's terminal and its Ctrl-C. It fails only for a group leader, who has done that already.
    if rustix::process::setsid().is_ok() {
        // A command started us, and tasks of many come after its own: that it keeps to few processors, or is nice, is not for them.
        Processors::take_all();
        if getpriority_process(None).is_ok_and(|nice| nice > 0) {
            let _ = setpriority_process(None, 0);
        }
    }
    // Nor does it hold the starter's directory. It goes by itself: a child that is to begin elsewhere is forked, and that one waits
    // for the processor of whoever forked it.
    let _ = std::env::set_current_dir("/");
    open_files::raise();
    let said = match begin(home, desk, caller, login) {
        Ok(Some(begun)) => {
            let pid = rustix::process::getpid().as_raw_nonzero().get();
            say(answer, &Startup::Ready { pid })?;
            begun
        }
        Ok(None) => return Ok(say(answer, &Startup::AlreadyRunning)?),
        Err(error) => {
            say(answer, &Startup::Failed { error: error.to_string() })?;
            return Err(error);
        }
    };
    let Begun { lock, noted, listener, mut store, mut dispatcher } = said;
    let done = loop {
        match dispatcher.run(&mut store, &listener, &lock) {
            Err(DispatchError::Store(StoreError::Unreadable(why))) => match anew(dispatcher, &mut store, why) {
                Ok(next) => dispatcher = next,
                Err(error) => break Err(error),
            },
            other => break other,
        }
    };
    noted.end(&lock, done.as_ref().map_or_else(|error| Ended::Failed(error.to_string()), |()| Ended::Left));
    done
}

fn say(answer: &mut dyn Write, startup: &Startup) -> io::Result<()> {
    let line = serde_json::to_string(startup)?;
    // Whoever started us may be gone already; that is no reason not to work.
    let _ = writeln!(answer, "{line}").and_then(|()| answer.flush());
    Ok(())
}

impl DispatchError {
    /// Is it that the disk of the home has no room?
    fn is_full(&self, home: &Home) -> bool {
        match self {
            Self::Store(error) => error.is_full(home),
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            Self::Fenced | Self::Moved(_) | Self::OpenFiles(_) => false,
        }
    }
}

impl Dispatcher {
    fn run(&mut self, store: &mut Store, listener: &UnixListener, lock: &File) -> Result<(), DispatchError> {
        self.wait_for_hello(store, listener)?;
        loop {
            // The database and the lock went with the home; what is made by its path would be made in a place that is none.
            if !start::is_lock_of(&self.home, lock) || !store.is_in_place() {
                return Err(DispatchError::Moved(self.home.clone()));
            }
            self.follow_ssh_command();
            let done = self.round(store).and_then(|leaves| match leaves {
                true => Ok(true),
                false => self.wait(store, listener).map(|()| false),
            });
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if error.is_full(&self.home) => {
                    if self.without_room(store, listener)? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All that is to be done now. True: it leaves.
    fn round(&mut self, store: &mut Store) -> Result<bool, DispatchError> {
        self.turn(store)?;
        // Behind the turn: it gives members to servers whose link is not open yet.
        self.open_links(store)?;
        // One that nobody has use for leaves.
        self.ways.agent = None;
        self.flush();
        self.tend_peers(store)?;
        if (self.leave || self.may_leave()) && self.leave_or_stay(store)? {
            return Ok(true);
        }
        self.keep_reserve();
        Ok(false)
    }

    pub(super) fn hear(&mut self, store: &mut Store, at: usize, message: ToDispatcher) -> Result<(), DispatchError> {
        let (lanes, running) = self.lanes.counts();
        match message {
            ToDispatcher::Wake => self.stirred = true,
            ToDispatcher::Leave => self.leave = true,
            ToDispatcher::Status => {
                let pid = rustix::process::getpid().as_raw_nonzero().get();
                let links = self.links.values().filter(|slot| slot.boot().is_some()).count();
                let links = u32::try_from(links).unwrap_or(0);
                let (epoch, ssh) = (self.epoch.0, self.ways.words_on_login());
                self.callers.all[at].send(&FromDispatcher::Status { pid, epoch, links, lanes, running, ssh });
            }
            ToDispatcher::Watch { task, index } => {
                self.callers.all[at].watch(task, index);
                // An end that is there already is told by a turn, once it is on the disk.
                self.stirred |= turn::has_ended(&store.view(), task, index)?;
                // Who has just committed it waits for its end with no other word.
                self.heed_others(store)?;
                self.urge_links();
            }
            ToDispatcher::Follow { task, index, out, err } => {
                self.callers.all[at].follow(super::callers::Follow { task, index, attempt: None, out, err });
                self.urge_links();
                self.stirred = true;
            }
            ToDispatcher::Read { task, index, number, stream, offset, max } => {
                self.read_for(&store.view(), at, (task, index, number), stream, offset, max)?
            }
            ToDispatcher::Bring { task, index } => self.bring_again(&store.view(), at, task, index)?,
            ToDispatcher::Probe { server } => {
                self.callers.all[at].probe(server);
                if let Some(slot) = self.route_to(server).and_then(|route| self.links.get_mut(&route)) {
                    slot.urge();
                }
                self.stirred = true;
            }
            ToDispatcher::Clear { server } => self.clear_for(at, server),
            ToDispatcher::Discard => self.load_discards(&store.view())?,
            ToDispatcher::Order(order) => self.callers.all[at].order(order),
            ToDispatcher::Cancel { task, index, grace } => {
                self.cancel_unwritten(&store.view(), task, index, grace)?;
                self.callers.all[at].send(&FromDispatcher::CancelTaken);
            }
            ToDispatcher::Login(login) => {
                if let Some(command) = &login.command
                    && store.view().ssh_of_caller()?.as_ref() != Some(command)
                {
                    self.keep_ssh_command(store, command)?;
                }
                if self.ways.learn_session(login.auth_sock) {
                    // What was refused may be opened now.
                    self.links.values_mut().for_each(Slot::try_newest);
                    self.links.values_mut().for_each(Slot::urge);
                }
            }
            ToDispatcher::Ask { ticket, endpoint, question } => {
                self.ask_elsewhere(&store.view(), self.callers.all[at].id, ticket, &endpoint, question)?;
            }
            ToDispatcher::Piece { ticket, bytes } => self.peers.piece(self.callers.all[at].id, ticket, bytes),
            ToDispatcher::Taken { ticket, bytes } => self.peers.taken(self.callers.all[at].id, ticket, bytes),
        }
        Ok(())
    }

    /// A piece of an output that lies on its server, for a caller.
    fn read_for(
        &mut self,
        view: &View<'_>,
        at: usize,
        (task, index, number): (TaskId, Index, u32),
        stream: Stream,
        offset: u64,
        max: u32,
    ) -> Result<(), DispatchError> {
        let attempt = view.task(task)?.map(|row| AttemptId { task: row.uuid, index, number });
        let place = view.place_of(task, index, number)?.map(|(server, host)| Place { server, host });
        let machine = view.member(task, index)?.filter(|m| m.number == number).and_then(|m| m.machine);
        match (attempt, place.and_then(|p| self.route_of(p))) {
            (Some(attempt), Some(route)) => {
                let caller = &mut self.callers.all[at];
                caller.read(attempt, stream, offset);
                caller.ask_later((route, machine), ToAgent::Read { attempt, stream, offset, max });
            }
            _ => self.callers.all[at].gone = true,
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) {
        // Somebody waits for these; waking an agent may cost us the processor.
        for caller in &mut self.callers.all {
            caller.flush();
        }
        self.flush_links();
        self.callers.sweep();
    }

    /// Nothing waits, runs or is to be collected, and nobody is connected.
    pub(super) fn idle(&self) -> bool {
        self.queue.is_empty()
            && self.lanes.is_empty()
            && self.callers.all.is_empty()
            && self.fetches.is_empty()
            && self.bringing.is_empty()
            && !self.has_chores()
    }

    fn may_leave(&mut self) -> bool {
        if !self.idle() {
            self.idle_since = Instant::now();
            return false;
        }
        self.idle_since.elapsed() >= self.idle_exit
    }

    /// Looks once more behind the gate. True: the socket is gone, and whoever commits from now on starts another dispatcher.
    fn leave_or_stay(&mut self, store: &mut Store) -> Result<bool, DispatchError> {
        let forced = self.leave;
        let home = self.home.clone();
        let left = store.write(Durability::Normal, |tx| {
            if !forced && (tx.has_unended()? || !tx.cancels()?.is_empty()) {
                return Ok::<_, StoreError>(false);
            }
            if let Ok((_dir, socket)) = socket_path(&home) {
                let _ = std::fs::remove_file(socket);
            }
            Ok(true)
        })?;
        if !left {
            self.stirred = true;
            self.idle_since = Instant::now();
            return Ok(false);
        }
        // Behind it the log begins anew, in the blocks that it has: the next one waits for neither when it writes its first.
        let log = if store.log_len() > LOG_LEFT { Log::Goes } else { Log::Stays };
        let begun = store.checkpoint(log).and_then(|()| store.write(Durability::Normal, |tx| tx.stamp()));
        if let Err(error) = begun {
            tracing::warn!("the log was not moved into the database, or does not begin anew: {error}");
        }
        Ok(true)
    }
}
