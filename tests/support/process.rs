//! Running processes to their end, with a deadline that only a hang reaches.

use super::Done;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy host; a test that hangs says so instead of stopping all.
pub const HANG: Duration = Duration::from_secs(60);

/// A command as one would type it.
pub fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, with nothing on stdin.
#[track_caller]
pub fn run(command: &mut Command) -> Done {
    run_with(command, None)
}

/// Runs to the end; `input` stands on its stdin.
#[track_caller]
pub fn run_with(command: &mut Command, input: Option<&[u8]>) -> Done {
    let line = line_of(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|e| panic!("{line}: {e}"));
    if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
        // A command that does not read its stdin to the end is no error of the test's.
        let _ = stdin.write_all(bytes);
    }
    finish(child, line)
}

/// Reads both outputs to their end and waits.
#[track_caller]
pub fn finish(mut child: Child, line: String) -> Done {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let out = std::thread::spawn(move || slurp(stdout.as_mut()));
    let err = std::thread::spawn(move || slurp(stderr.as_mut()));
    let Some(status) = wait_for(&mut child, HANG) else {
        let _ = child.kill();
        panic!("`{line}` hangs: no end after {} s", HANG.as_secs());
    };
    let join = |reader: std::thread::JoinHandle<Vec<u8>>| {
        let begun = Instant::now();
        // Somebody who inherited the pipe would keep it open; that is a bug to be told, not to be waited for.
        while !reader.is_finished() {
            assert!(begun.elapsed() < HANG, "`{line}` ended, but its output stays open");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        reader.join().unwrap_or_default()
    };
    Done { line: line.clone(), status, out: join(out), err: join(err) }
}

fn slurp(from: Option<&mut impl Read>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(from) = from {
        let _ = from.read_to_end(&mut all);
    }
    all
}

/// The end of a child, or None after the time given.
pub fn wait_for(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    if let Ok(Some(status)) = child.try_wait() {
        return Some(status);
    }
    let gone = Pid::from_raw(child.id().cast_signed()).is_some_and(|pid| wait_pid_gone(pid, limit));
    if gone { child.wait().ok() } else { None }
}

/// Until a process has ended; false after the time given. One that is gone already has ended.
pub fn wait_pid_gone(pid: Pid, limit: Duration) -> bool {
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&time)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(_) if left.is_zero() => return false,
            Err(_) => {}
        }
    }
}

/// Children that die with the test, also where it is shot.
pub fn busy_loop() -> Child {
    let mut command = Command::new("sh");
    // It computes as long as its test lives, also where that is shot.
    let script = "while [ -d /proc/$0 ]; do i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done; done";
    command.args(["-c", script, &std::process::id().to_string()]).stdin(Stdio::null()).process_group(0);
    command.spawn().expect("sh")
}

/// Is there a process with this id that has not ended?
pub fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|state| state != "Z" && state != "X")
}

/// Asks again until it is so. For what can't be awaited; never for "long enough".
#[track_caller]
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < HANG, "waited {} s in vain for: {what}", HANG.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}
