//! Wakes, starts, queries and stops the dispatcher, and becomes it.

use super::report::DispatcherStatus;
use super::{Grid, OpsError};
use crate::dispatch::client::start::{self, Connection};
use crate::dispatch::process::life::{self, DispatcherTrouble};
use crate::distributor::fleets::Fleets;
use crate::distributor::registry;
use crate::distributor::tier2::reconsider_unmatched;
use crate::model::ssh::Login;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::Durability;
use crate::store::Home;
use crate::store::draining;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::{dup2_stdin, stdin};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;

/// Wakes the dispatcher after a change, or starts one if there is work. Every command that opened the home ends with this.
pub fn wake(grid: &mut Grid) -> Result<(), OpsError> {
    if draining::may_be_left(grid.store.home())
        && let Err(error) = draining::end_left(&mut grid.store)
    {
        tracing::warn!("servers stay drained: {error}");
    }
    if !grid.store.view().unmatched(1)?.is_empty() {
        // The change may have made waiting tasks fit.
        let home = grid.store.home().clone();
        let reconsidered =
            grid.store.write(Durability::Full, |tx| reconsider_unmatched(tx, &mut Fleets::default(), Timestamp::now()));
        match reconsidered.map_err(super::submit::refusal) {
            // The command itself has succeeded; the classes are marked when there is room.
            Err(OpsError::Store(error)) if error.is_full(&home) => {}
            other => drop(other?),
        }
    }
    // The dispatcher sends reports to first tiers, at the rate that is allowed.
    let to_be_told = registry::is_pending(&grid.store.view(), Timestamp::now())?;
    Ok(start::wake(&grid.store, &grid.login, to_be_told)?)
}

/// The state of the dispatcher, and how much it follows.
pub fn status(grid: &mut Grid) -> Result<DispatcherStatus, OpsError> {
    match Connection::open(grid.store.home())? {
        Some(connection) => ask(connection),
        None => {
            let epoch = grid.store.view().home_row()?.epoch.0;
            Ok(DispatcherStatus { pid: None, epoch, links: 0, lanes: 0, running: 0, ssh: None })
        }
    }
}

/// Why the dispatcher ends again and again, if it does.
pub fn trouble(grid: &Grid) -> Option<String> {
    life::trouble(grid.store.home()).filter(DispatcherTrouble::is_repeated).map(|trouble| trouble.to_string())
}

/// Starts the dispatcher and gives its state.
pub fn start(grid: &mut Grid) -> Result<DispatcherStatus, OpsError> {
    ask(start::connect(grid.store.home(), &grid.login)?)
}

fn ask(mut connection: Connection) -> Result<DispatcherStatus, OpsError> {
    connection.send(&ToDispatcher::Status)?;
    loop {
        match connection.receive()? {
            Some(FromDispatcher::Status { pid, epoch, links, lanes, running, ssh }) => {
                return Ok(DispatcherStatus { pid: Some(pid), epoch, links, lanes, running, ssh });
            }
            Some(_) => {}
            None => return Err(OpsError::Grid("the dispatcher left before it answered".to_owned())),
        }
    }
}

/// Stops the dispatcher and waits until it has stopped; false if none ran. Running tasks keep running under their supervisors.
pub fn stop(grid: &mut Grid) -> Result<bool, OpsError> {
    let Some(connection) = Connection::open(grid.store.home())? else { return Ok(false) };
    let pid = connection.pid;
    connection.stop()?;
    start::wait_until_left(grid.store.home(), Some(pid))?;
    Ok(true)
}

/// Becomes the dispatcher of a home, until it is idle. `asked`: stdin is a socket with a request of the command that started it.
/// `answer` takes the one line for that command, whose session is `login`.
pub fn serve(home: &Home, asked: bool, login: Login, answer: &mut dyn Write) -> Result<(), OpsError> {
    let taken = |error: io::Error| OpsError::Grid(format!("stdin: {error}"));
    let caller = asked.then(caller_on_stdin).transpose().map_err(taken)?;
    crate::dispatch::process::run::serve(home, Box::<super::submit::SubmitService>::default(), caller, login, answer)
        .map_err(|error| OpsError::Grid(error.to_string()))
}

/// Takes the socket away from stdin, which would keep the connection open after a hang-up.
fn caller_on_stdin() -> io::Result<UnixStream> {
    let caller = fcntl_dupfd_cloexec(stdin(), 3)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(UnixStream::from(caller))
}
