//! Runs a tool of the host with a time limit: some hang on faulty hardware.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// More than any tool prints.
const OUTPUT_MAX: usize = 1 << 20;

/// Runs a tool and gives its stdout; an error is one line.
pub fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    command.env("LC_ALL", "C");
    run_bytes(command, limit).map(|said| String::from_utf8_lossy(&said).into_owned())
}

/// The same in bytes, in the unchanged environment.
pub fn run_bytes(command: &mut Command, limit: Duration) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    let pid = Pid::from_child(&child);
    let mut output = child.stdout.take().map(|out| File::from(OwnedFd::from(out)));
    let until = Instant::now() + limit;
    let mut said = Vec::new();
    let mut in_time = true;
    while let Some(from) = &mut output {
        in_time = ready_before(from, until);
        if !in_time {
            break;
        }
        let mut chunk = [0; 8192];
        match from.read(&mut chunk) {
            Ok(got) if got > 0 && said.len() < OUTPUT_MAX => said.extend_from_slice(&chunk[..got]),
            _ => output = None,
        }
    }
    // It may have closed its stdout and still run.
    if in_time && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        in_time = ready_before(&pidfd, until);
    }
    if !in_time {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    // A tool that hangs in the kernel can't be waited for here: a thread of its own collects it.
    if in_time {
        match child.wait() {
            Ok(status) if !status.success() => return Err(format!("{name}: {status}")),
            _ => {}
        }
    } else {
        std::thread::spawn(move || child.wait());
        return Err(format!("{name} did not answer within {} s", limit.as_secs()));
    }
    Ok(said)
}

fn ready_before(fd: &impl std::os::fd::AsFd, until: Instant) -> bool {
    loop {
        let left = super::limits::timespec(until.saturating_duration_since(Instant::now()));
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.is_ok_and(|n| n > 0),
        }
    }
}

/// Where PATH finds a program.
pub fn on_path(name: &str) -> Option<PathBuf> {
    found_in(&std::env::var_os("PATH")?, name)
}

/// Where this PATH finds a program.
pub fn found_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hanging_tool_is_killed_with_its_children() {
        let began = Instant::now();
        let said = run(Command::new("sh").args(["-c", "echo a; sleep 60 & wait"]), Duration::from_millis(200));
        assert_eq!(said, Err("sh did not answer within 0 s".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(run(Command::new("sh").args(["-c", "echo a"]), Duration::from_secs(20)), Ok("a\n".to_owned()));
        assert!(run(Command::new("false").arg("x"), Duration::from_secs(20)).unwrap_err().starts_with("false: exit"));
    }
}
