//! The files of a supervisor: it is started with its pipes and its journal as stdin, stdout and stderr, and gives these three to its
//! commands.

use super::AgentError;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What a supervisor reads and writes.
#[derive(Debug)]
pub struct SupervisorFiles {
    pub requests: File,
    pub reports: File,
    pub journal: File,
    /// `out` and `err` of the run.
    pub outputs: [File; 2],
}

impl SupervisorFiles {
    /// Moves the pipes and the journal aside; /dev/null becomes stdin, the run's outputs become stdout and stderr.
    pub fn take(run_dir: &Path) -> Result<Self, AgentError> {
        let aside = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let failed = |what: &'static str| AgentError::io::<io::Error>(what);
        let requests = aside(io::stdin().as_fd()).map_err(failed("requests"))?;
        let reports = aside(io::stdout().as_fd()).map_err(failed("reports"))?;
        let journal = aside(io::stderr().as_fd()).map_err(failed("journal"))?;
        let output =
            |name: &str| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(run_dir.join(name));
        let outputs = [output("out").map_err(failed("out"))?, output("err").map_err(failed("err"))?];
        let null = File::open("/dev/null").map_err(failed("/dev/null"))?;
        rustix::stdio::dup2_stdin(&null).map_err(AgentError::io("stdin"))?;
        rustix::stdio::dup2_stdout(&outputs[0]).map_err(AgentError::io("stdout"))?;
        rustix::stdio::dup2_stderr(&outputs[1]).map_err(AgentError::io("stderr"))?;
        for pipe in [&requests, &reports] {
            rustix::fs::fcntl_setfl(pipe, rustix::fs::fcntl_getfl(pipe).unwrap_or(OFlags::empty()) | OFlags::NONBLOCK)
                .map_err(AgentError::io("pipes"))?;
        }
        Ok(Self { requests, reports, journal, outputs })
    }
}
