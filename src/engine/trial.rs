//! One run of ssh, to its end or to a limit, with all its output.

use crate::link;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// Most bytes of output.
const OUTPUT_MAX: u64 = 1 << 20;

/// The output of a command.
#[derive(Debug)]
pub struct TrialOutput {
    pub out: String,
    pub err: String,
    /// None: it was killed at the limit.
    pub status: Option<ExitStatus>,
}

/// Runs a command to its end or to the limit, with this stdin. Its output goes to files, so it never blocks.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<TrialOutput> {
    let mut files = Vec::new();
    for name in [c"out", c"err"] {
        files.push(link::scratch(name, OUTPUT_MAX)?);
    }
    command.stdin(Stdio::piped()).stdout(files[0].try_clone()?).stderr(files[1].try_clone()?);
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // The script fits into a pipe; a command that has ended reports its own reason.
        let _ = stdin.write_all(input);
    }
    let time = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) };
    let ended = match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(pidfd) => poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&time)).is_ok_and(|n| n > 0),
        Err(_) => true,
    };
    if !ended {
        child.kill()?;
    }
    let status = child.wait()?;
    let mut text =
        |at: usize| -> io::Result<String> { Ok(String::from_utf8_lossy(&link::written(&mut files[at])?).into_owned()) };
    Ok(TrialOutput { out: text(0)?, err: text(1)?, status: ended.then_some(status) })
}
