//! The reader of what a command writes. On a pipe or a socket its end is seen at once, not only at the next write.

use super::OpsError;
use super::interrupts::Interrupts;
use crate::dispatch::client::relay::Stop;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Events of a descriptor whose other end is closed. poll(2) always reports both.
const GONE: PollFlags = PollFlags::ERR.union(PollFlags::HUP);

/// The reader of an output of this process.
#[derive(Debug)]
pub struct OutputReader {
    output: OwnedFd,
    /// The controlling terminal, held open since the command began.
    terminal: Option<OwnedFd>,
}

impl OutputReader {
    /// The reader at the other end of `output`.
    pub fn of(output: BorrowedFd<'_>, terminal: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self { output: output.try_clone_to_owned()?, terminal })
    }

    /// True if the reader has closed its end. Always false for a file.
    pub fn has_gone(&self) -> bool {
        closes_within(&[self.output.as_fd()], Duration::ZERO)
    }

    /// True if there was a terminal and it closes within this time. An interrupt stops the wait.
    pub fn terminal_closes_within(&self, limit: Duration, interrupts: &Interrupts) -> bool {
        let Some(terminal) = &self.terminal else { return false };
        if closes_within(&[terminal.as_fd()], Duration::ZERO) {
            return true;
        }
        let mut fds =
            [PollFd::new(terminal, PollFlags::empty()), PollFd::from_borrowed_fd(interrupts.fd(), PollFlags::IN)];
        // A SIGHUP meanwhile ends this process, and the task keeps running.
        let _ = poll(&mut fds, Some(&timespec(limit)));
        fds[0].revents().intersects(GONE)
    }
}

fn closes_within(fds: &[BorrowedFd<'_>], limit: Duration) -> bool {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::empty())).collect();
    poll(&mut fds, Some(&timespec(limit))).is_ok() && fds.iter().any(|fd| fd.revents().intersects(GONE))
}

fn timespec(limit: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX), tv_nsec: limit.subsec_nanos().into() }
}

/// The follower of a task: a person who may interrupt, and the reader of the output. A home that follows for another one has neither.
#[derive(Debug, Default)]
pub struct Follower<'f> {
    pub interrupts: Option<&'f mut Interrupts>,
    pub reader: Option<&'f OutputReader>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The stream can be read.
    Word,
    /// A signal came.
    Interrupt,
    /// The reader has gone.
    ReaderGone,
    /// The time is over.
    Time,
}

impl Follower<'_> {
    /// Waits for input on `stream`, a signal, or the reader's end, at most this long.
    pub fn wait(&self, stream: Option<BorrowedFd<'_>>, limit: Duration) -> Result<Woken, OpsError> {
        let interrupts = self.interrupts.as_deref().map(|i| (Woken::Interrupt, i.fd(), PollFlags::IN));
        let reader = self.reader.map(|r| (Woken::ReaderGone, r.output.as_fd(), PollFlags::empty()));
        let stream = stream.map(|stream| (Woken::Word, stream, PollFlags::IN));
        let of: Vec<_> = [interrupts, reader, stream].into_iter().flatten().collect();
        let mut fds: Vec<PollFd<'_>> = of.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        match poll(&mut fds, Some(&timespec(limit))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(OpsError::Grid(error.to_string())),
        }
        let came = of.iter().zip(&fds).find(|(_, fd)| !fd.revents().is_empty());
        Ok(came.map_or(Woken::Time, |((woken, ..), _)| *woken))
    }

    /// A [`Stop`] of requests to other homes: due at a signal, or at the reader's end.
    pub fn stop(&self) -> Result<Stop, OpsError> {
        let interrupts = self.interrupts.as_deref().map(|i| (i.fd(), PollFlags::IN));
        let reader = self.reader.map(|r| (r.output.as_fd(), PollFlags::empty()));
        let own = |(fd, flags): (BorrowedFd<'_>, PollFlags)| Ok((fd.try_clone_to_owned()?, flags));
        let fds: io::Result<Vec<_>> = [interrupts, reader].into_iter().flatten().map(own).collect();
        Ok(Stop::new(fds.map_err(|error| OpsError::Grid(format!("descriptors can't be watched: {error}")))?))
    }

    /// The error of a write to the reader, if it has gone.
    pub fn reader_gone(&self) -> Result<(), OpsError> {
        match self.reader {
            Some(reader) if reader.has_gone() => Err(closed()),
            _ => Ok(()),
        }
    }
}

/// The error of a write to a pipe without a reader.
pub fn closed() -> OpsError {
    OpsError::Output(io::ErrorKind::BrokenPipe.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn reader_of_a_pipe_a_socket_and_a_file() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let reader = OutputReader::of(write.as_fd(), None).unwrap();
        assert!(!reader.has_gone());
        drop(read);
        assert!(reader.has_gone());

        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let reader = OutputReader::of(ours.as_fd(), None).unwrap();
        ours.write_all(b"unread").unwrap();
        assert!(!reader.has_gone());
        drop(theirs);
        assert!(reader.has_gone());

        let file = tempfile::tempfile().unwrap();
        assert!(!OutputReader::of(file.as_fd(), None).unwrap().has_gone());
    }

    #[test]
    fn follower_is_woken_by_a_reader_that_goes_while_nothing_is_written() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (_quiet, stream) = UnixStream::pair().unwrap();
        let reader = OutputReader::of(write.as_fd(), None).unwrap();
        let follower = Follower { interrupts: None, reader: Some(&reader) };
        let leaves = std::thread::spawn(move || drop(read));
        assert_eq!(follower.wait(Some(stream.as_fd()), Duration::from_secs(60)).unwrap(), Woken::ReaderGone);
        leaves.join().unwrap();
        assert!(matches!(follower.reader_gone(), Err(OpsError::Output(_))));
        assert!(follower.stop().unwrap().is_due());
    }
}
