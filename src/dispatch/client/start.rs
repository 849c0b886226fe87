//! Starting the dispatcher on demand: one starter at a time by lock, a typed handshake, detached from the starter.

use crate::dispatch::client::door::{not_understood, wait_for_hello};
use crate::dispatch::client::losses::{Losses, end_of, note_started};
use crate::dispatch::process::life::log_file;
use crate::model::ssh::Login;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher, VERSION};
use crate::protocol::frame::{self, FrameError};
use crate::store::{Home, Store, StoreError};
use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The answer of a new dispatcher to its starter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Startup {
    /// It holds the lock and listens.
    Ready {
        pid: i32,
    },
    /// Another dispatcher holds the lock.
    AlreadyRunning,
    Failed {
        error: String,
    },
}

/// Why the dispatcher can't be reached.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the dispatcher did not begin: {0}")]
    Failed(String),
    #[error(
        "the dispatcher speaks version {0}, this program {VERSION}: end it with `kill {1}` (tasks go on), and try again"
    )]
    Version(u32, i32),
    #[error(
        "the dispatcher (process {0}) is stopped: `kill -CONT {0}` lets it go on, `kill -9 {0}` ends it; tasks go on, and the next \
         command starts another"
    )]
    Stopped(i32),
    #[error("the dispatcher has not answered for a minute; `run/dispatcher.log` in the home may say why")]
    Silent,
    #[error(
        "what answers at the dispatcher's socket is no dispatcher of this grid: {0}; {1} (tasks go on), and the next command starts \
         a dispatcher"
    )]
    Stranger(FrameError, String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The path of the socket through a descriptor of its directory: a Unix socket's path has at most 107 bytes, a home's may be
/// longer.
pub(in crate::dispatch) fn socket_path(home: &Home) -> io::Result<(OwnedFd, PathBuf)> {
    let dir = open(home.run_dir(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/dispatcher.sock", dir.as_raw_fd()));
    Ok((dir, path))
}

/// Wakes the loop of a home's dispatcher by a connection without a message.
pub(in crate::dispatch) fn wake_loop(home: &Home) {
    if let Ok((_dir, path)) = socket_path(home) {
        // It fails only if the dispatcher is leaving, and then has nothing to check.
        let _ = UnixStream::connect(path);
    }
}

/// A connection to the dispatcher of a home.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// The process id of the dispatcher.
    pub pid: i32,
}

impl Connection {
    /// Connects to a running dispatcher. None if none runs.
    pub fn open(home: &Home) -> Result<Option<Self>, StartError> {
        let Ok((_dir, path)) = socket_path(home) else { return Ok(None) };
        let stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        wait_for_hello(home, &stream)?;
        Self::handshake(stream)
    }

    fn handshake(mut stream: UnixStream) -> Result<Option<Self>, StartError> {
        match frame::read(&mut stream) {
            Ok(Some(FromDispatcher::Hello { version: VERSION, pid })) => Ok(Some(Self { stream, pid })),
            Ok(Some(FromDispatcher::Hello { version, pid })) => Err(StartError::Version(version, pid)),
            // The dispatcher is leaving.
            Ok(_) | Err(FrameError::Io(_)) => Ok(None),
            Err(error) => Err(not_understood(&stream, error)),
        }
    }

    /// Connects and sends messages without waiting for the hello. None if no dispatcher runs. An error if the hello does not come:
    /// the messages may have been received all the same.
    fn ask(home: &Home, words: &[u8], patience: Duration) -> Result<Option<Self>, StartError> {
        let Ok((_dir, path)) = socket_path(home) else { return Ok(None) };
        let Ok(mut stream) = UnixStream::connect(&path) else { return Ok(None) };
        stream.write_all(words)?;
        Self::answered(stream, patience).map(Some)
    }

    /// Waits for the hello after the messages were sent.
    fn answered(stream: UnixStream, patience: Duration) -> Result<Self, StartError> {
        stream.set_read_timeout(Some(patience))?;
        Ok(Self::handshake(stream)?.ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &ToDispatcher) -> Result<(), StartError> {
        Ok(frame::write(&mut self.stream, message)?)
    }

    /// Waits for the next message. None if the dispatcher has closed the connection.
    pub fn receive(&mut self) -> Result<Option<FromDispatcher>, StartError> {
        match frame::read(&mut self.stream) {
            Err(FrameError::Io(error))
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) =>
            {
                Ok(None)
            }
            Err(error @ FrameError::Io(_)) => Err(error.into()),
            Err(error) => Err(not_understood(&self.stream, error)),
            Ok(word) => Ok(word),
        }
    }

    /// Stops the dispatcher and waits until it closes the connection.
    pub fn stop(mut self) -> Result<(), StartError> {
        match self.send(&ToDispatcher::Leave) {
            Ok(()) => while self.receive()?.is_some() {},
            // It is leaving already, or was killed.
            Err(StartError::Frame(FrameError::Io(_))) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The socket, for polling.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

/// Wakes the dispatcher, so that it reads the database. Without a dispatcher it starts one if there is work, here or, with
/// `to_be_told`, reports to first tiers.
pub fn wake(store: &Store, login: &Login, to_be_told: bool) -> Result<(), StartError> {
    let home = store.home();
    if wake_running(home, login)? {
        return Ok(());
    }
    if to_be_told || store.view().has_unended().map_err(|e| StartError::Failed(e.to_string()))? {
        connect(home, login)?.send(&ToDispatcher::Wake)?;
    }
    Ok(())
}

/// Wakes the dispatcher without waiting for an answer. False if none listens. A dispatcher that leaves reads the database once
/// more behind the gate and removes its socket before it opens the gate: a connect after a commit is always noticed.
fn wake_running(home: &Home, login: &Login) -> Result<bool, StartError> {
    let Ok((_dir, path)) = socket_path(home) else { return Ok(false) };
    let Ok(mut stream) = UnixStream::connect(&path) else { return Ok(false) };
    let both = frame::write(&mut stream, &ToDispatcher::Login(login.clone()))
        .and_then(|()| frame::write(&mut stream, &ToDispatcher::Wake));
    match both {
        Ok(()) => Ok(true),
        Err(FrameError::Io(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A connection to the dispatcher, which is started if none runs. It gets the logins of the caller's session.
pub fn connect(home: &Home, login: &Login) -> Result<Connection, StartError> {
    let mut connection = find_or_start(home)?;
    connection.send(&ToDispatcher::Login(login.clone()))?;
    Ok(connection)
}

/// Connects and sends a message. If the dispatcher is killed in between, another one is started.
pub fn call(home: &Home, login: &Login, message: &ToDispatcher) -> Result<Connection, StartError> {
    let mut losses = Losses::default();
    loop {
        match connect(home, login).and_then(|mut open| open.send(message).map(|()| open)) {
            Err(StartError::Frame(FrameError::Io(error)))
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                losses.one_more(home)?;
            }
            other => return other,
        }
    }
}

/// Sends messages to the dispatcher; if none runs, a new one gets them before it does anything else. None: they were not received.
/// An error: they may have been.
pub fn ask(home: &Home, words: &[ToDispatcher], patience: Duration) -> Result<Option<Connection>, StartError> {
    let mut bytes = Vec::with_capacity(1024);
    words.iter().try_for_each(|word| frame::encode(word, &mut bytes))?;
    if let Some(connection) = Connection::ask(home, &bytes, patience)? {
        return Ok(Some(connection));
    }
    if !home.exists() {
        return Ok(None);
    }
    let Ok(_lock) = lock_start(home) else { return Ok(None) };
    if let Some(connection) = Connection::ask(home, &bytes, patience)? {
        return Ok(Some(connection));
    }
    let (mut ours, theirs) = UnixStream::pair()?;
    // Nothing reads yet. If the messages do not fit, the caller does the work by itself.
    ours.set_nonblocking(true)?;
    if ours.write_all(&bytes).is_err() {
        return Ok(None);
    }
    ours.set_nonblocking(false)?;
    match spawn(home, Some(theirs))? {
        Startup::Ready { .. } => Connection::answered(ours, patience).map(Some),
        Startup::AlreadyRunning => Ok(None),
        Startup::Failed { error } => Err(StartError::Failed(error)),
    }
}

fn find_or_start(home: &Home) -> Result<Connection, StartError> {
    let mut losses = Losses::default();
    loop {
        if let Some(connection) = Connection::open(home)? {
            return Ok(connection);
        }
        if !home.exists() {
            return Err(gone(home).into());
        }
        let _lock = lock_start(home)?;
        if let Some(connection) = Connection::open(home)? {
            return Ok(connection);
        }
        match spawn(home, None)? {
            Startup::Ready { .. } => {}
            // It holds the lock and does not listen: it is leaving or starting.
            Startup::AlreadyRunning => wait_until_left(home, None)?,
            Startup::Failed { error } => return Err(StartError::Failed(error)),
        }
        losses.one_more(home)?;
    }
}

/// Locks the start of dispatchers: one starter at a time, and the next one finds the dispatcher running.
fn lock_start(home: &Home) -> Result<File, StoreError> {
    let path = home.run_dir().join("start.lock");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let locked = opened.and_then(|lock| lock.lock().map(|()| lock));
    locked.map_err(|error| if home.exists() { StoreError::Unwritable { path, error } } else { gone(home) })
}

fn gone(home: &Home) -> StoreError {
    StoreError::Gone { home: home.dir().to_owned() }
}

/// The name of the lock file in a home's `run/`.
pub(in crate::dispatch) const LOCK: &str = "dispatcher.lock";

/// Opens the lock that a dispatcher holds while it runs.
pub(in crate::dispatch) fn lock_file(home: &Home) -> Result<File, StoreError> {
    let path = home.run_dir().join(LOCK);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    opened.map_err(|error| StoreError::Unwritable { path, error })
}

/// True if this is the lock of the home at the path, or if that can't be found out.
pub(in crate::dispatch) fn is_lock_of(home: &Home, lock: &File) -> bool {
    let place = |meta: &Metadata| (meta.dev(), meta.ino());
    match (std::fs::metadata(home.run_dir().join(LOCK)), lock.metadata()) {
        (Ok(there), Ok(ours)) => place(&there) == place(&ours),
        (Err(error), _) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        (_, Err(_)) => true,
    }
}

/// Waits until the dispatcher with this process id (None: any) has released the lock, or another one listens: a command that waits
/// for a task may have started it.
pub fn wait_until_left(home: &Home, pid: Option<i32>) -> Result<(), StartError> {
    let lock = lock_file(home)?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        if Connection::open(home)?.is_some_and(|other| Some(other.pid) != pid) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Stops the dispatcher as long as that is `needed`. None can start while the returned lock is held.
pub fn retire(home: &Home, needed: &mut dyn FnMut() -> bool) -> Result<Option<File>, StartError> {
    let lock = lock_file(home)?;
    while needed() {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {}
        }
        match Connection::open(home)? {
            Some(connection) => connection.stop()?,
            // It holds the lock and does not listen: it is starting or leaving.
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Ok(None)
}

/// Starts a dispatcher; `caller` is the far end of a connection with requests. It inherits the caller's GRID_SSH_COMMAND, and
/// reads it before it opens its first link.
fn spawn(home: &Home, caller: Option<UnixStream>) -> Result<Startup, StartError> {
    const LOG_MAX: u64 = 1 << 20;
    let path = log_file(home);
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let log = opened.map_err(|error| StoreError::Unwritable { path, error })?;
    let mut log_from = log.metadata()?.len();
    if log_from > LOG_MAX {
        log.set_len(0)?;
        log_from = 0;
    }
    // Inherited descriptors (a caller's lock file, a pipe of `$(..)`) must not stay open in the dispatcher.
    close_fds::set_fds_cloexec(3, &[]);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("grid").args(["dispatcher", "serve", "--home"]).arg(home.dir());
    match caller {
        Some(caller) => command.arg("--asked").stdin(OwnedFd::from(caller)),
        None => command.stdin(Stdio::null()),
    };
    let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
    drop(command);
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    match serde_json::from_str(&said) {
        Ok(startup) => {
            note_started(child);
            Ok(startup)
        }
        Err(_) => Ok(Startup::Failed { error: end_of(home, child.wait()?, log_from) }),
    }
}
