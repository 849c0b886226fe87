//! A child process that speaks frames on its stdio: an agent on this host, or `ssh HOST` with one behind it.

use crate::protocol::agent::MAGIC;
use crate::protocol::frame::{FrameError, Inbox, Outbox};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

/// Noise of a login shell that is skipped before the agent's first line.
const NOISE_MAX: usize = 64 << 10;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the agent went away")]
    Ended,
    #[error(
        "the login shell printed more than 64 KiB and no agent began: does it print when nobody is at the terminal?"
    )]
    Noise,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open link.
#[derive(Debug)]
pub struct Link {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    inbox: Inbox,
    outbox: Outbox,
    /// Bytes before the magic line; None once it was seen.
    noise: Option<Vec<u8>>,
    /// What the far end writes before its first frame.
    magic: &'static [u8],
}

impl Link {
    /// Starts an agent at the far end. Its stderr goes where the caller said.
    pub fn open(command: Command) -> io::Result<Self> {
        Self::open_to(command, MAGIC)
    }

    /// Starts whatever begins with this magic line at the far end.
    pub fn open_to(mut command: Command, magic: &'static [u8]) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a piped child has no pipes"));
        };
        fcntl_setfl(&stdin, fcntl_getfl(&stdin)? | OFlags::NONBLOCK)?;
        fcntl_setfl(&stdout, fcntl_getfl(&stdout)? | OFlags::NONBLOCK)?;
        Ok(Self {
            child,
            stdin: Some(stdin),
            stdout,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            noise: Some(Vec::new()),
            magic,
        })
    }

    /// Queues a message; [`Link::flush`] sends it.
    pub fn send<M: Serialize>(&mut self, message: &M) -> Result<(), LinkError> {
        Ok(self.outbox.push(message)?)
    }

    /// Sends what goes without waiting.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        match &mut self.stdin {
            Some(stdin) => Ok(self.outbox.flush(stdin)?),
            None => Ok(()),
        }
    }

    /// Is there something to be sent?
    pub fn wants_to_write(&self) -> bool {
        self.stdin.is_some() && !self.outbox.is_empty()
    }

    /// Reads what is there. False at the end of the stream.
    pub fn receive(&mut self) -> Result<bool, LinkError> {
        if let Some(noise) = &mut self.noise {
            let mut piece = [0; 4096];
            loop {
                match self.stdout.read(&mut piece) {
                    Ok(0) => return Ok(false),
                    Ok(n) => noise.extend_from_slice(&piece[..n]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(at) = noise.windows(self.magic.len()).position(|w| w == self.magic) {
                let mut rest = &noise[at + self.magic.len()..];
                while !rest.is_empty() {
                    self.inbox.fill(&mut rest)?;
                }
                self.noise = None;
            } else if noise.len() > NOISE_MAX {
                return Err(LinkError::Noise);
            }
            return Ok(true);
        }
        Ok(self.inbox.fill(&mut self.stdout)? != Some(0))
    }

    /// The next whole message.
    pub fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, LinkError> {
        if self.noise.is_some() { Ok(None) } else { Ok(self.inbox.next()?) }
    }

    /// To be polled for reading.
    pub fn read_end(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// To be polled for writing.
    pub fn write_end(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    /// Lets the far end leave by itself and waits for it.
    pub fn close(mut self) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.child.wait()
    }

    /// How the far end left, where it has left already.
    pub fn parting_words(&mut self) -> String {
        match self.child.try_wait() {
            Ok(Some(status)) if !status.success() => format!("it went away: {status}"),
            _ => "it went away".to_owned(),
        }
    }

    /// Gives the far end up. It leaves at the end of its stdin; it is listened to until then, so that it can, and reaped.
    pub fn let_go(mut self) {
        self.stdin = None;
        if let Ok(flags) = fcntl_getfl(&self.stdout) {
            // If this fails, the listening below ends at once, and all the same.
            let _ = fcntl_setfl(&self.stdout, flags - OFlags::NONBLOCK);
        }
        std::thread::spawn(move || {
            let _ = io::copy(&mut self.stdout, &mut io::sink());
            let _ = self.child.wait();
        });
    }

    /// The far end's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stdin = None;
        // It leaves at the end of its stdin; here only the zombie is to be avoided if it already did.
        let _ = self.child.try_wait();
    }
}
