//! The start of a dispatcher: it takes the lock, raises the epoch and listens. A submit that its starter has sent already is
//! handled first: a command waits for it.

use crate::dispatch::attempts::Attempts;
use crate::dispatch::client::start::{self, socket_path};
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::homes::Homes;
use crate::dispatch::links::{Links, connector};
use crate::dispatch::process::activity::Activity;
use crate::dispatch::process::callers::Callers;
use crate::dispatch::process::disk::Disk;
use crate::dispatch::process::instance::Instance;
use crate::dispatch::process::life::{DispatcherEnd, LifeNote, log_file};
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::schedule::Schedule;
use crate::dispatch::sealed;
use crate::dispatch::submits::SubmitHandler;
use crate::dispatch::transfer::Transfers;
use crate::dispatch::turn::Turn;
use crate::link::Link;
use crate::model::ambient::{Ambient, System};
use crate::model::failpoint::failpoint;
use crate::model::filesystem::has_room;
use crate::model::open_files;
use crate::model::settings::{IDLE_EXIT, PEER_TIMEOUT};
use crate::model::ssh::Login;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::ToDispatcher;
use crate::store::{Durability, Home, Log, Store, StoreError, Tx, draining};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;

/// A log of this many bytes has room for the first transaction of a dispatcher.
const LOG_ENOUGH: u64 = 64 << 10;

/// A dispatcher that holds the lock and listens.
pub(in crate::dispatch) struct Begun {
    pub(in crate::dispatch) lock: File,
    pub(in crate::dispatch) life_note: LifeNote,
    pub(in crate::dispatch) listener: UnixListener,
    pub(in crate::dispatch) store: Store,
    pub(in crate::dispatch) dispatcher: Dispatcher,
}

/// What was sent to the dispatcher before it started.
#[derive(Debug, Default)]
struct First {
    callers: Callers,
    logins: Vec<Login>,
    /// The agent of this host, started for the caller's submit.
    agent: Option<Link>,
}

impl First {
    /// Reads what the caller has sent.
    fn read(stream: UnixStream) -> io::Result<Self> {
        let mut first = Self::default();
        let caller = first.callers.add(stream)?;
        for message in caller.receive_all() {
            match message {
                ToDispatcher::Login(login) => first.logins.push(login),
                ToDispatcher::Submitter(submitter) => caller.submitter(submitter),
                ToDispatcher::Submit(submit) => caller.submit(submit),
                // A starter with another request waits until the socket is there.
                _ => {}
            }
        }
        Ok(first)
    }
}

/// Starts the dispatcher of a home. None: another dispatcher holds the lock. `caller` is the connection of the command that
/// started it with a request, `login` is that command's session.
pub(in crate::dispatch) fn begin(
    home: &Home,
    submits: Box<dyn SubmitHandler>,
    caller: Option<UnixStream>,
    login: Login,
) -> Result<Option<Begun>, DispatchError> {
    let lock = start::lock_file(home)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let life_note = LifeNote::begin(&lock, &log_file(home));
    match begin_locked(home, submits, caller, login) {
        Ok((listener, store, dispatcher)) => Ok(Some(Begun { lock, life_note, listener, store, dispatcher })),
        Err(error) => {
            life_note.end(&lock, DispatcherEnd::Failed(error.to_string()));
            Err(error)
        }
    }
}

/// Starts the dispatcher once the lock is held.
fn begin_locked(
    home: &Home,
    submits: Box<dyn SubmitHandler>,
    caller: Option<UnixStream>,
    login: Login,
) -> Result<(UnixListener, Store, Dispatcher), DispatchError> {
    if open_files::may_open() < open_files::LEAST {
        return Err(DispatchError::OpenFiles(open_files::may_open(), open_files::LEAST));
    }
    // Started early, beside the opening of the database: the submit most often runs on this host.
    let agent = caller.as_ref().and_then(|_| connector::agent(home, true).ok());
    let mut store = open(home, caller.is_some())?;
    // What killed commands left: a backup that has no name yet, and servers that are drained.
    store.name_backups();
    if let Err(error) = draining::end_left(&mut store) {
        tracing::warn!("servers stay drained: {error}");
    }
    let mut first = caller.map(First::read).transpose()?.unwrap_or_default();
    first.agent = agent;
    // Before any link is opened, and before the logins that the caller sends.
    first.logins.insert(0, login);
    // The log restarts in the blocks that it has; if they are too few, the reserve is given up.
    if !has_room(home.dir()) && (store.checkpoint(Log::Stays).is_err() || store.log_len() < LOG_ENOUGH) {
        home.give_up_reserve();
    }
    let (mut dispatcher, effects) = sealed::write(&mut store, Durability::Full, |tx| {
        let mut dispatcher = Dispatcher::new(home, submits, Rc::new(System), tx, first)?;
        match dispatcher.adopt_lanes(tx) {
            Err(StoreError::Unreadable(_)) => {
                hold_unreadable(tx)?;
                tx.recount_taken()?;
                dispatcher.adopt_lanes(tx)?;
            }
            other => other?,
        }
        let mut turn = Turn::open(tx, dispatcher.ambient.now());
        let submits = dispatcher.callers.submits();
        if !submits.is_empty() {
            dispatcher.load_servers(tx)?;
            dispatcher.handshake_here();
            dispatcher.schedule.fleets.look_up(tx, turn.now.wall)?;
            dispatcher.handle_submits(&mut turn, submits)?;
        }
        Ok::<_, DispatchError>((dispatcher, turn.effects))
    })?;
    failpoint("dispatcher-begun");
    // Starts are sent before the socket is made: the starter learns of all this once it listens.
    dispatcher.carry_out(effects);
    dispatcher.flush_links();
    let unwritable = |error| StoreError::Unwritable { path: home.run_dir().join("dispatcher.sock"), error };
    let (_dir, socket) = socket_path(home).map_err(unwritable)?;
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(error).into()),
        _ => {}
    }
    let listener = UnixListener::bind(&socket).map_err(unwritable)?;
    listener.set_nonblocking(true)?;
    Ok((listener, store, dispatcher))
}

/// Opens the home, and upgrades or restores it unless a caller waits: that command does so, and says it.
fn open(home: &Home, called: bool) -> Result<Store, StoreError> {
    loop {
        match Store::open(home) {
            Err(StoreError::Older { .. }) if !called => drop(Store::upgrade(home, Timestamp::now())?),
            Err(StoreError::Backup { .. } | StoreError::Copy { .. }) if !called => {
                return Store::restore(home, Timestamp::now());
            }
            other => return other,
        }
    }
}

/// Holds the tasks that can't be read. False: all of them were held before.
fn hold_unreadable(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let held = tx.hold_unreadable(Timestamp::now())?;
    for (task, why) in &held {
        tracing::error!("task {task} is held: its row can't be read ({why})");
    }
    Ok(!held.is_empty())
}

/// Replaces a dispatcher that met an unreadable row: the task of that row is held, and the new dispatcher is built from the
/// database, without the old one's memory.
pub(in crate::dispatch) fn rebuild(
    before: Dispatcher,
    store: &mut Store,
    why: String,
) -> Result<Dispatcher, DispatchError> {
    let Dispatcher { home, submits, ambient, links, .. } = before;
    // The key agents of the old dispatcher's callers open links as before.
    let login = |session| Login { auth_sock: Some(session), command: None };
    let logins = links.connector.into_sessions().into_iter().map(login).collect();
    let first = First { logins, ..First::default() };
    sealed::write(store, Durability::Full, |tx| {
        if !hold_unreadable(tx)? {
            return Err(StoreError::Unreadable(why).into());
        }
        let mut dispatcher = Dispatcher::new(&home, submits, ambient, tx, first)?;
        dispatcher.adopt_lanes(tx)?;
        Ok(dispatcher)
    })
}

/// A dispatcher without a lock and a socket, for tests.
#[cfg(test)]
pub(in crate::dispatch) fn without_socket(
    home: &Home,
    store: &mut Store,
    submits: Box<dyn SubmitHandler>,
    ambient: Rc<dyn Ambient>,
) -> Result<Dispatcher, DispatchError> {
    sealed::write(store, Durability::Full, |tx| {
        let mut dispatcher = Dispatcher::new(home, submits, ambient, tx, First::default())?;
        dispatcher.adopt_lanes(tx)?;
        Ok(dispatcher)
    })
}

impl Dispatcher {
    /// A dispatcher with a new epoch.
    fn new(
        home: &Home,
        submits: Box<dyn SubmitHandler>,
        ambient: Rc<dyn Ambient>,
        tx: &Tx<'_>,
        first: First,
    ) -> Result<Self, StoreError> {
        let row = tx.raise_epoch()?;
        tx.recount_taken()?;
        let (now, clock) = (ambient.now(), ambient.moment());
        let mut links = Links::new(home, &row, Rc::clone(&ambient));
        links.connector.agent = first.agent;
        for login in first.logins {
            links.connector.learn_session(login.auth_sock);
            if let Some(command) = &login.command {
                links.connector.keep_command(tx, command)?;
            }
        }
        let mut dispatcher = Self {
            home: home.clone(),
            instance: Instance {
                epoch: row.epoch,
                restored: row.restored_epoch,
                owner: tx.owner()?,
                began_at: now.wall,
            },
            ambient,
            links,
            callers: first.callers,
            submits,
            schedule: Schedule::new(now.mono),
            attempts: Attempts::new(now.mono),
            transfers: Transfers::default(),
            homes: Homes::new(tx.value_of(&PEER_TIMEOUT)?),
            disk: Disk::new(now.mono),
            activity: Activity {
                dirty: true,
                data_version: 0,
                idle_since: now.mono,
                idle_exit: tx.value_of(&IDLE_EXIT)?,
                clock,
                leave: false,
            },
        };
        dispatcher.adopt_retries(tx, now)?;
        dispatcher.adopt_remembered(tx, now.mono)?;
        Ok(dispatcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame;

    #[test]
    fn long_submit_is_read_whole() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        frame::write(&mut ours, &ToDispatcher::Login(Login { auth_sock: Some("/agent".into()), ..Login::default() }))
            .unwrap();
        frame::write(&mut ours, &ToDispatcher::Submit(vec![7; 60 << 10])).unwrap();
        let mut first = First::read(theirs).unwrap();
        assert_eq!(first.logins.len(), 1);
        assert_eq!(
            first.callers.submits().into_iter().map(|(_, message)| message.submit.len()).collect::<Vec<_>>(),
            [60 << 10]
        );
    }
}
