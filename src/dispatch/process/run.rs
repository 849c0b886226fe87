//! The dispatcher's process: its loop over all messages, and its exit. A lock allows one for each home.

use crate::dispatch::client::start::{self, Startup, socket_path};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::homes::peers::{CallerTicket, PeerQuestion};
use crate::dispatch::links::link_state::LinkState;
use crate::dispatch::process::begin::{Begun, begin, rebuild};
use crate::dispatch::process::life::DispatcherEnd;
use crate::dispatch::process::requests::Follow;
use crate::dispatch::process::watches;
use crate::dispatch::sealed;
use crate::dispatch::settings::Settings;
use crate::dispatch::submits::SubmitHandler;
use crate::matching::Place;
use crate::model::attempt::Stream;
use crate::model::id::{AttemptKey, MemberKey};
use crate::model::open_files;
use crate::model::process_attributes;
use crate::model::ssh::Login;
use crate::protocol::agent::ToAgent;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::protocol::distributor::ToServe;
use crate::store::{Durability, Home, Log, Store, StoreError, View};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};

/// Why a dispatcher failed.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(
        "it may have {0} files open at once, and needs {1}: raise the limit (`ulimit -n 1024`, or /etc/security/limits.conf) \
         where it is started"
    )]
    OpenFiles(u64, u64),
    #[error("a newer dispatcher has taken over")]
    Fenced,
    /// The home is not at its path any more, or another home is.
    #[error(
        "{}: the home is not here any more: it was moved or removed; this dispatcher ends, and the next command where the home lies \
         now starts another (tasks go on)",
        .0.dir().display()
    )]
    Moved(Home),
}

/// Longest log in bytes that a dispatcher leaves behind.
const LOG_LEFT: u64 = 4 << 20;

/// Runs the dispatcher of a home until it exits. The one line for its starter goes to `answer`; `login` is the starter's session;
/// `caller` is the starter's connection, if it has sent a request already. `submits` handles the submits of commands.
pub fn serve(
    home: &Home,
    submits: Box<dyn SubmitHandler>,
    caller: Option<UnixStream>,
    login: Login,
    answer: &mut dyn Write,
) -> Result<(), DispatchError> {
    // Leaves the starter's terminal and its Ctrl-C. Only a group leader fails, and it has done that already.
    if rustix::process::setsid().is_ok() {
        // What a task gets depends on its submit and its server, not on who started the dispatcher.
        process_attributes::shed();
    }
    // The starter's directory is not kept busy. chdir is done here: to spawn a child in another directory takes a fork, and the
    // fork waits for its parent's processor.
    let _ = std::env::set_current_dir("/");
    open_files::raise();
    let begun = match begin(home, submits, caller, login) {
        Ok(Some(begun)) => {
            let pid = rustix::process::getpid().as_raw_nonzero().get();
            send_startup(answer, &Startup::Ready { pid })?;
            begun
        }
        Ok(None) => return Ok(send_startup(answer, &Startup::AlreadyRunning)?),
        Err(error) => {
            send_startup(answer, &Startup::Failed { error: error.to_string() })?;
            return Err(error);
        }
    };
    let Begun { lock, life_note, listener, mut store, mut dispatcher } = begun;
    let done = loop {
        match dispatcher.run(&mut store, &listener, &lock) {
            Err(DispatchError::Store(StoreError::Unreadable(why))) => match rebuild(dispatcher, &mut store, why) {
                Ok(next) => dispatcher = next,
                Err(error) => break Err(error),
            },
            other => break other,
        }
    };
    life_note.end(
        &lock,
        done.as_ref().map_or_else(|error| DispatcherEnd::Failed(error.to_string()), |()| DispatcherEnd::Left),
    );
    done
}

fn send_startup(answer: &mut dyn Write, startup: &Startup) -> io::Result<()> {
    let line = serde_json::to_string(startup)?;
    // The starter may be gone already; the dispatcher works all the same.
    let _ = writeln!(answer, "{line}").and_then(|()| answer.flush());
    Ok(())
}

impl DispatchError {
    /// True if the disk of the home has no room.
    fn is_full(&self, home: &Home) -> bool {
        match self {
            Self::Store(error) => error.is_full(home),
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            Self::Fenced | Self::Moved(_) | Self::OpenFiles(..) => false,
        }
    }
}

impl Dispatcher {
    fn run(&mut self, store: &mut Store, listener: &UnixListener, lock: &File) -> Result<(), DispatchError> {
        self.wait_for_hello(store, listener)?;
        loop {
            // The database and the lock moved with the home; files made at the old path would belong to no home.
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
                    if self.wait_for_room(store, listener)? {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does everything that is due. True: the dispatcher exits.
    fn round(&mut self, store: &mut Store) -> Result<bool, DispatchError> {
        self.turn(store)?;
        // After the turn: it places members on servers whose link is not open yet.
        self.open_links(store)?;
        // The agent exits if nothing uses it.
        self.links.connector.agent = None;
        self.flush();
        self.run_peers(store)?;
        if (self.activity.leave || self.may_leave()) && self.try_to_leave(store)? {
            return Ok(true);
        }
        self.keep_reserve();
        Ok(false)
    }

    pub(in crate::dispatch) fn handle(
        &mut self,
        store: &mut Store,
        at: usize,
        message: ToDispatcher,
    ) -> Result<(), DispatchError> {
        let (lanes, running) = self.attempts.lanes.counts();
        match message {
            ToDispatcher::Wake => {
                self.activity.dirty = true;
                self.attempts.settings = Settings::default();
            }
            ToDispatcher::Leave => self.activity.leave = true,
            ToDispatcher::Status => {
                let pid = rustix::process::getpid().as_raw_nonzero().get();
                let links = self.links.slots.values().filter(|slot| slot.boot().is_some()).count();
                let links = u32::try_from(links).unwrap_or(0);
                let (epoch, ssh) = (self.instance.epoch.0, self.links.connector.words_on_login());
                self.callers.all[at].send(&FromDispatcher::Status { pid, epoch, links, lanes, running, ssh });
            }
            ToDispatcher::Watch { task, index } => {
                self.callers.all[at].watch(task, index);
                // A turn sends an end that has already happened, once it is on the disk.
                self.activity.dirty |= watches::has_ended(&store.view(), task, index)?;
                // A command may commit and wait for the end without a wake.
                self.notice_other_writers(store)?;
                self.retry_links_now();
            }
            ToDispatcher::Follow { task, index, out, err } => {
                self.callers.all[at].follow(Follow { task, index, attempt: None, out, err });
                self.retry_links_now();
                self.activity.dirty = true;
            }
            ToDispatcher::Read { task, index, number, stream, offset, max } => {
                let key = AttemptKey { task, index, number };
                self.read_for(&store.view(), at, key, stream, offset, max)?
            }
            ToDispatcher::Bring { task, index } => {
                self.request_results_again(&store.view(), at, MemberKey { task, index })?;
            }
            ToDispatcher::Probe { server } => {
                self.callers.all[at].probe(server, self.ambient.now().mono);
                if let Some(slot) = self.route_to(server).and_then(|route| self.links.slots.get_mut(&route)) {
                    slot.retry_now();
                }
                self.activity.dirty = true;
            }
            ToDispatcher::Clear { server } => self.clear_for(at, server),
            ToDispatcher::Discard => self.load_discards(&store.view())?,
            ToDispatcher::Submitter(submitter) => self.callers.all[at].submitter(submitter),
            ToDispatcher::Submit(submit) => self.callers.all[at].submit(submit),
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
                if self.links.connector.learn_session(login.auth_sock) {
                    // A login that was refused may succeed now.
                    self.links.slots.values_mut().for_each(LinkState::retry_newest_session);
                    self.links.slots.values_mut().for_each(LinkState::retry_now);
                }
            }
            ToDispatcher::Ask { ticket, endpoint, question, soon } => {
                let of = CallerTicket { caller: self.callers.all[at].id, ticket };
                self.ask_elsewhere(&store.view(), &endpoint, PeerQuestion { of, question, soon })?;
            }
            ToDispatcher::Piece { ticket, bytes } => {
                let caller = self.callers.all[at].id;
                self.homes.peers.piece(CallerTicket { caller, ticket }, bytes);
            }
            ToDispatcher::Taken { ticket, bytes } => {
                let caller = self.callers.all[at].id;
                self.homes.peers.pass_on(CallerTicket { caller, ticket }, |ticket| ToServe::Taken { ticket, bytes });
            }
            ToDispatcher::Go { ticket } => {
                let caller = self.callers.all[at].id;
                self.homes.peers.pass_on(CallerTicket { caller, ticket }, |ticket| ToServe::Go { ticket });
            }
        }
        Ok(())
    }

    /// Requests a chunk of an output on its server for a caller.
    fn read_for(
        &mut self,
        view: &View<'_>,
        at: usize,
        key: AttemptKey,
        stream: Stream,
        offset: u64,
        max: u32,
    ) -> Result<(), DispatchError> {
        let attempt = view.task(key.task)?.map(|row| key.id(row.uuid));
        let place = view.place_of(key)?.map(|(server, host)| Place { server, host });
        let machine = view.member(key.task, key.index)?.filter(|m| m.key() == key).and_then(|m| m.machine());
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

    pub(in crate::dispatch) fn flush(&mut self) {
        // Callers first: a command waits for them, and waking an agent may cost the processor.
        for caller in &mut self.callers.all {
            caller.flush();
        }
        self.flush_links();
        self.callers.sweep();
    }

    /// True if nothing waits, runs or is in transfer, and no caller is connected.
    pub(in crate::dispatch) fn idle(&self) -> bool {
        self.schedule.queue.is_empty()
            && self.attempts.lanes.is_empty()
            && self.callers.all.is_empty()
            && self.transfers.outputs.is_empty()
            && self.transfers.results.is_empty()
            && !self.has_chores()
    }

    fn may_leave(&mut self) -> bool {
        if !self.idle() {
            self.activity.idle_since = self.ambient.now().mono;
            return false;
        }
        self.ambient.now().since(self.activity.idle_since) >= self.activity.idle_exit
    }

    /// Checks for work once more behind the write gate. True: the socket is removed, and the next commit starts another
    /// dispatcher.
    fn try_to_leave(&mut self, store: &mut Store) -> Result<bool, DispatchError> {
        let forced = self.activity.leave;
        let home = self.home.clone();
        let left = sealed::write(store, Durability::Normal, |tx| {
            // Who has announced periodic reports sends them.
            if !forced && (tx.has_unended()? || !tx.cancels()?.is_empty() || tx.reports_periodically()?) {
                return Ok::<_, StoreError>(false);
            }
            if let Ok((_dir, socket)) = socket_path(&home) {
                let _ = std::fs::remove_file(socket);
            }
            Ok(true)
        })?;
        if !left {
            self.activity.dirty = true;
            self.activity.idle_since = self.ambient.now().mono;
            return Ok(false);
        }
        // A log that restarts in the blocks that it has makes the next dispatcher's first write faster.
        let log = if store.log_len() > LOG_LEFT { Log::Goes } else { Log::Stays };
        let begun = store.checkpoint(log).and_then(|()| sealed::write(store, Durability::Normal, |tx| tx.stamp()));
        if let Err(error) = begun {
            tracing::warn!("the log was not moved into the database, or was not restarted: {error}");
        }
        Ok(true)
    }
}
