//! Links: a child process with frames on its stdio, either an agent on this host or `ssh HOST` with one behind it.

pub mod bootstrap;
pub mod trouble;

use crate::protocol::agent::MAGIC;
use crate::protocol::border::Message;
use crate::protocol::frame::{FrameError, Inbox, Outbox};
use bootstrap::{Bootstrap, find};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, SealFlags, fcntl_add_seals, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use serde::Serialize;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use trouble::Trouble;

/// Most bytes of a login shell's noise before the agent's first line.
const NOISE_MAX: usize = 64 << 10;
/// Bytes at the end of stderr that are searched for a reason.
const STDERR_LOOK: usize = 8 << 10;
/// Bytes of stderr that are kept, from its beginning.
const STDERR_MAX: u64 = 1 << 20;
/// Most reads of the remaining output of an ended child.
const READS_MAX: u32 = 4096;
/// How long a child may take to exit after its stdout has ended.
const END_WAIT: Duration = Duration::from_millis(500);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the agent went away")]
    Ended,
    #[error("{0}")]
    Trouble(Trouble),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An open link.
#[derive(Debug)]
pub struct Link {
    /// None: the far end is in this process.
    child: Option<Child>,
    stdin: Option<File>,
    stdout: File,
    /// The stderr of ssh and the far side. A file never blocks its writers; a pipe would have to be read.
    stderr: Option<File>,
    inbox: Inbox,
    outbox: Outbox,
    /// None once the agent's magic line was received.
    greeting: Option<Greeting>,
    /// Something was sent or received in the handshake since the last [`Link::take_progress`].
    progressed: bool,
    /// The line before the far end's first frame.
    magic: &'static [u8],
}

/// The output before the agent's first frame.
#[derive(Debug)]
struct Greeting {
    came: Vec<u8>,
    looked: usize,
    bootstrap: Option<Bootstrap>,
}

/// What is sent goes into one file, what is received comes from the other.
#[derive(Debug)]
pub struct LinkEnds {
    pub send: File,
    pub receive: File,
}

impl Link {
    /// Starts an agent on this host. The command says where its stderr goes.
    pub fn open(command: Command) -> io::Result<Self> {
        Self::begin(command, None, None, MAGIC)
    }

    /// Starts ssh with the bootstrap script.
    pub fn open_through(mut command: Command, bootstrap: Bootstrap) -> io::Result<Self> {
        let stderr = scratch(c"grid ssh stderr", STDERR_MAX)?;
        command.stderr(stderr.try_clone()?);
        Self::begin(command, Some(bootstrap), Some(stderr), MAGIC)
    }

    /// Starts a command whose output begins with this magic line. `through_ssh`: its stderr is ssh's, and is searched for the
    /// trouble.
    pub fn open_to(mut command: Command, magic: &'static [u8], through_ssh: bool) -> io::Result<Self> {
        let mut complaints = None;
        if through_ssh {
            let stderr = scratch(c"grid ssh stderr", STDERR_MAX)?;
            command.stderr(stderr.try_clone()?);
            complaints = Some(stderr);
        }
        Self::begin(command, None, complaints, magic)
    }

    fn begin(
        mut command: Command,
        bootstrap: Option<Bootstrap>,
        stderr: Option<File>,
        magic: &'static [u8],
    ) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a piped child has no pipes"));
        };
        let ends = LinkEnds { send: OwnedFd::from(stdin).into(), receive: OwnedFd::from(stdout).into() };
        let mut link = Self::over(ends, magic)?;
        (link.child, link.stderr) = (Some(child), stderr);
        link.greeting = Some(Greeting { came: Vec::new(), looked: 0, bootstrap });
        Ok(link)
    }

    /// A link over two open ends: messages are sent to the first and received from the second.
    pub fn over(LinkEnds { send: stdin, receive: stdout }: LinkEnds, magic: &'static [u8]) -> io::Result<Self> {
        fcntl_setfl(&stdin, fcntl_getfl(&stdin)? | OFlags::NONBLOCK)?;
        fcntl_setfl(&stdout, fcntl_getfl(&stdout)? | OFlags::NONBLOCK)?;
        Ok(Self {
            child: None,
            stdin: Some(stdin),
            stdout,
            stderr: None,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            greeting: Some(Greeting { came: Vec::new(), looked: 0, bootstrap: None }),
            progressed: false,
            magic,
        })
    }

    /// Queues a message; [`Link::flush`] sends it.
    pub fn send<M: Serialize>(&mut self, message: &M) -> Result<(), LinkError> {
        Ok(self.outbox.push(message)?)
    }

    /// Writes as much as the link takes. During a bootstrap, messages wait for the agent.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        let Some(stdin) = &mut self.stdin else { return Ok(()) };
        match &mut self.greeting {
            Some(Greeting { bootstrap: Some(bootstrap), .. }) => match bootstrap.flush(stdin) {
                Ok(true) => {
                    self.progressed = true;
                    Ok(())
                }
                Ok(false) => Ok(()),
                // The script ended before it had read everything: its reason follows.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.stdin = None;
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            before => match self.outbox.flush(stdin) {
                // The child ended before it wrote anything: the reason is known once its output has ended.
                Err(error) if before.is_some() && error.kind() == io::ErrorKind::BrokenPipe => {
                    self.stdin = None;
                    Ok(())
                }
                other => Ok(other?),
            },
        }
    }

    /// True if there is something to send.
    pub fn wants_to_write(&self) -> bool {
        let waiting = match &self.greeting {
            Some(Greeting { bootstrap: Some(bootstrap), .. }) => bootstrap.wants_to_write(),
            _ => !self.outbox.is_empty(),
        };
        self.stdin.is_some() && waiting
    }

    /// Reads what has arrived. False at the end of the stream.
    pub fn receive(&mut self) -> Result<bool, LinkError> {
        let Some(greeting) = &mut self.greeting else {
            return Ok(self.inbox.fill(&mut self.stdout)? != Some(0));
        };
        let mut piece = [0; 4096];
        let mut open = true;
        // Bounded, for a shell may print faster than this reads.
        while greeting.came.len() <= NOISE_MAX {
            match self.stdout.read(&mut piece) {
                Ok(0) => {
                    open = false;
                    break;
                }
                Ok(n) => {
                    greeting.came.extend_from_slice(&piece[..n]);
                    self.progressed = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(bootstrap) = &mut greeting.bootstrap {
            greeting.looked = bootstrap.receive(&greeting.came, greeting.looked).map_err(LinkError::Trouble)?;
        }
        if let Some(at) = find(&greeting.came, self.magic) {
            let mut rest = &greeting.came[at + self.magic.len()..];
            while !rest.is_empty() {
                self.inbox.fill(&mut rest)?;
            }
            self.greeting = None;
            // Messages that waited for the agent.
            self.flush()?;
        } else if greeting.came.len() > NOISE_MAX {
            return Err(LinkError::Trouble(Trouble::Noise));
        }
        Ok(open)
    }

    /// The next complete message.
    pub fn next<M: Message>(&mut self) -> Result<Option<M>, LinkError> {
        if self.greeting.is_some() { Ok(None) } else { Ok(self.inbox.next()?) }
    }

    /// True once the far side has answered: the login is done.
    pub fn answered(&self) -> bool {
        self.greeting.as_ref().is_none_or(|g| g.bootstrap.as_ref().is_none_or(Bootstrap::answered))
    }

    /// True if the handshake has made progress since the last call.
    pub const fn take_progress(&mut self) -> bool {
        std::mem::replace(&mut self.progressed, false)
    }

    /// The end to poll for reading.
    pub fn read_end(&self) -> BorrowedFd<'_> {
        self.stdout.as_fd()
    }

    /// The end to poll for writing.
    pub fn write_end(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(AsFd::as_fd)
    }

    /// Closes the link and waits until the child exits.
    pub fn close(mut self) -> io::Result<()> {
        self.stdin = None;
        self.child.as_mut().map_or(Ok(()), |child| child.wait().map(drop))
    }

    /// Kills the child. True: everything that it wrote was read, and there is no complete message in it.
    pub fn end_mute<M: Message>(&mut self) -> bool {
        self.end();
        // Its output is in the pipe, which another process may hold open.
        let heard = (0..READS_MAX).any(|_| matches!(self.receive(), Ok(false)));
        heard && !matches!(self.next::<M>(), Ok(Some(_)))
    }

    /// Kills the child. Gives why the link ended: the child's own reason, or `error`.
    pub fn give_up(mut self, error: LinkError) -> LinkError {
        self.stdin = None;
        if matches!(error, LinkError::Ended) {
            self.wait_briefly();
        }
        // Nothing is lost: the agent exits when its stdin ends, and its state is in its spool.
        let status = self.end();
        match (error, &self.stderr) {
            (LinkError::Ended, Some(_)) => LinkError::Trouble(self.trouble(status)),
            (error, _) => error,
        }
    }

    /// Kills the child, if there is one.
    fn end(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let _ = child.kill();
        child.wait().ok()
    }

    fn wait_briefly(&self) {
        let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(END_WAIT.subsec_nanos()) };
        let Some(child) = &self.child else { return };
        if let Ok(pidfd) = pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
        }
    }

    fn trouble(&mut self, status: Option<ExitStatus>) -> Trouble {
        let code = status.and_then(|s| s.code());
        // Of a home nothing was heard before its magic line.
        let heard = self.greeting.as_ref().is_none_or(|g| g.bootstrap.as_ref().is_some_and(Bootstrap::answered));
        let mut trouble = Trouble::classify(&self.complaints(), code, heard);
        if self.greeting.as_ref().is_some_and(|greeting| greeting.bootstrap.is_none()) {
            // There was no script between the login and grid.
            trouble = trouble.of_grid(code);
        }
        let noise = self.greeting.as_ref().map(|g| String::from_utf8_lossy(&g.came).into_owned()).unwrap_or_default();
        trouble.with_noise(&noise)
    }

    /// The end of what ssh and the far side wrote to stderr.
    fn complaints(&mut self) -> String {
        let Some(file) = &mut self.stderr else { return String::new() };
        let text = written(file).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(STDERR_LOOK)..]).into_owned()
    }

    /// The process of the far end, if it is a child.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stdin = None;
        // It exits at the end of its stdin, which may take a while: a thread waits for it.
        if let Some(child) = &mut self.child
            && let Ok(None) = child.try_wait()
        {
            let pid = Pid::from_child(child);
            let _ = std::thread::Builder::new().spawn(move || waitpid(Some(pid), WaitOptions::empty()));
        }
    }
}

/// A file in memory for the output of an untrusted program: after `max` bytes its writes fail.
pub fn scratch(name: &CStr, max: u64) -> io::Result<File> {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(max)?;
    fcntl_add_seals(&file, SealFlags::GROW)?;
    Ok(file)
}

/// The content of such a file. The writer shares its position, and has ended.
pub fn written(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.stream_position()?;
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_mute_tells_whether_a_message_is_unread() {
        let mut whole = Vec::new();
        crate::protocol::frame::encode(&"hello", &mut whole).unwrap();
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:03o}")).collect::<String>();
        // Nothing, a magic line, half a message, an unread complete one; and a child that keeps running.
        for (says, mute) in [
            (Vec::new(), true),
            (b"magic\n".to_vec(), true),
            ([b"magic\n", &whole[..whole.len() - 1]].concat(), true),
            ([b"magic\n", &whole[..]].concat(), false),
        ] {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("printf '{}'; kill -STOP $$", escaped(&says))]);
            let mut link = Link::open_to(command, b"magic\n", false).unwrap();
            let child = Pid::from_child(link.child.as_ref().unwrap());
            waitpid(Some(child), WaitOptions::UNTRACED).unwrap();
            assert_eq!(link.end_mute::<String>(), mute, "{says:?}");
        }
    }

    #[test]
    fn child_that_ends_before_the_hello_reports_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo sh: grid: not found >&2; exit 127"]);
        let mut link = Link::open_to(command, b"magic\n", true).unwrap();
        let pidfd = pidfd_open(Pid::from_child(link.child.as_ref().unwrap()), PidfdFlags::empty()).unwrap();
        poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
        link.send(&"hello").unwrap();
        link.flush().unwrap();
        assert!(!link.receive().unwrap());
        let error = link.give_up(LinkError::Ended);
        assert!(matches!(error, LinkError::Trouble(Trouble::NoGrid(_))), "{error:?}");
    }
}
