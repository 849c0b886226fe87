//! The process that answers at the dispatcher's socket in `run/`.

use crate::dispatch::client::start::StartError;
use crate::protocol::frame::FrameError;
use crate::store::Home;
use crate::store::waiting::holder;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Waits for the first message of the dispatcher. A stopped dispatcher sends none, a busy one may take a while.
pub(super) fn wait_for_hello(home: &Home, stream: &UnixStream) -> Result<(), StartError> {
    const LOOK: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
    const PATIENCE: Duration = Duration::from_secs(60);
    let begun = Instant::now();
    loop {
        match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&LOOK)) {
            Ok(0) => {}
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(io::Error::from(error).into()),
        }
        if let Some(pid) = process_at(stream)?.filter(|pid| is_stopped(*pid)) {
            return Err(StartError::Stopped(pid));
        }
        // The dispatcher waits while another process has the database locked, and so does its caller.
        if begun.elapsed() > PATIENCE && holder(home).is_none() {
            return Err(StartError::Silent);
        }
    }
}

/// The process at the other end. None if it is in another namespace.
fn process_at(stream: &UnixStream) -> io::Result<Option<i32>> {
    let pid = getsockopt(stream, PeerCredentials).map_err(io::Error::from)?.pid();
    Ok((pid > 0).then_some(pid))
}

/// The error for a process at the socket that can't be understood.
pub(super) fn not_understood(stream: &UnixStream, error: FrameError) -> StartError {
    match process_at(stream) {
        Ok(Some(pid)) => StartError::Stranger(error, format!("`kill {pid}` ends it")),
        Ok(None) => StartError::Stranger(error, "end it where it runs".to_owned()),
        Err(error) => error.into(),
    }
}

/// True if the process is stopped by a signal or a debugger. proc(5): the state follows the name in parentheses.
fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}
