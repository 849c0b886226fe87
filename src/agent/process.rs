//! Identity of processes: a pid alone is reused, a pid with its start time (and boot id) is not.

use crate::model::attempt::ProcessId;
use crate::model::id::AttemptId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, io};

/// A process as /proc/PID/stat describes it.
#[derive(Debug, Clone)]
pub struct Stat {
    pub id: ProcessId,
    pub parent: i32,
    pub zombie: bool,
    /// Resident pages.
    pub rss_pages: u64,
}

/// Reads /proc/PID/stat.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The same for a process that may be gone: a file that can't be read for another reason is an error.
fn stat_if_there(pid: i32) -> io::Result<Option<Stat>> {
    Ok(read_if_there(&format!("/proc/{pid}/stat"))?.and_then(|text| parse_stat(pid, &text)))
}

/// A file of /proc; None if its process is gone, or we may not read it.
fn read_if_there(path: &str) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name in parentheses may itself hold blanks and parentheses: fields are counted after the last one.
fn parse_stat(pid: i32, text: &[u8]) -> Option<Stat> {
    let close = text.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        id: ProcessId { pid, start_time: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        rss_pages: fields.get(21)?.parse().unwrap_or(0),
    })
}

/// The identity of a running process.
pub fn identity(pid: i32) -> Option<ProcessId> {
    stat(pid).map(|s| s.id)
}

/// This process.
pub fn myself() -> ProcessId {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    identity(pid).unwrap_or(ProcessId { pid, start_time: 0 })
}

/// A descriptor for exactly this process, or None if it is gone. An error: that can't be found out, for want of descriptors for example.
/// The start time is read after the pidfd is open: from then on the pid can't go to another.
pub fn open(id: &ProcessId) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(id.pid) else { return Ok(None) };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        // The last two, by kernels old and new: the number is now a thread's, or still that of a group or session.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(stat_if_there(id.pid)?.filter(|s| s.id == *id && !s.zombie).map(|_| fd))
}

/// Sends a signal to exactly this process; nothing if it is gone.
pub fn signal(id: &ProcessId, signal: Signal) {
    if let Ok(Some(fd)) = open(id) {
        let _ = pidfd_send_signal(fd, signal);
    }
}

/// Has the process of this pidfd ended?
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|n| n > 0)
}

/// All processes of this host that are visible to us.
pub fn all() -> Vec<Stat> {
    pids().unwrap_or_default().into_iter().filter_map(stat).collect()
}

fn pids() -> io::Result<Vec<i32>> {
    let entries = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.iter().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
}

/// The children of a process, by the lists of its threads; how many these are is added to `threads`. None: it is gone, or the kernel has
/// no such lists (they came with Linux 4.2, as an option).
pub fn children(pid: i32, threads: &mut usize) -> Option<Vec<i32>> {
    let mut all = None;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        *threads += 1;
        let Ok(list) = fs::read_to_string(thread.path().join("children")) else { continue };
        let pids = list.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        all.get_or_insert_with(Vec::new).extend(pids);
    }
    all
}

/// The processes whose environment names this attempt, the oldest first. An error says that there may be others.
pub fn marked(attempt: AttemptId) -> io::Result<Vec<ProcessId>> {
    let found = pids()?.into_iter().filter_map(|pid| if_marked(pid, attempt).transpose());
    let mut found = found.collect::<io::Result<Vec<_>>>()?;
    found.sort_by_key(|id| (id.start_time, id.pid));
    Ok(found)
}

/// Sends a signal to the visible ones of them.
pub fn signal_marked(attempt: AttemptId, sent: Signal) {
    for pid in pids().unwrap_or_default() {
        if let Ok(Some(id)) = if_marked(pid, attempt) {
            signal(&id, sent);
        }
    }
}

fn if_marked(pid: i32, attempt: AttemptId) -> io::Result<Option<ProcessId>> {
    let mark = format!("GRID_ATTEMPT_ID={attempt}");
    let environment = read_if_there(&format!("/proc/{pid}/environ"))?.unwrap_or_default();
    if !environment.split(|b| *b == 0).any(|pair| pair == mark.as_bytes()) || is_ours(pid) {
        return Ok(None);
    }
    Ok(stat_if_there(pid)?.filter(|stat| !stat.zombie).map(|stat| stat.id))
}

/// A grid process of its own: a task may submit to another home, whose dispatcher and tasks must not die with it.
pub fn is_ours(pid: i32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let verb = line.split(|b| *b == 0).nth(1).unwrap_or_default();
    if !matches!(verb, b"dispatcher" | b"agent" | b"supervise") {
        return false;
    }
    let same = |a: &str, b: &str| fs::read_link(a).ok().zip(fs::read_link(b).ok()).is_some_and(|(a, b)| a == b);
    same(&format!("/proc/{pid}/exe"), "/proc/self/exe")
}

/// Closes what this process was given besides stdin, stdout and stderr: a lock or a pipe of the caller of the
/// first command must not live as long as a task does. To be called before anything else is opened.
pub fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The descriptor of the listing itself is among them and already closed: that error is expected.
        let _ = nix::unistd::close(fd);
    }
}

/// Undoes that our parent ignored signals (nohup, `trap ''`): ignoring is inherited, and an ignored CHLD
/// makes waiting fail. A handler that does nothing is not inherited. PIPE is left to Rust, which restores it.
pub fn unignore_signals() -> io::Result<()> {
    use signal_hook::consts::{FORBIDDEN, SIGPIPE};
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap_or("0").trim(), 16).unwrap_or(0);
    let nothing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    for signal in (1..=31).filter(|s| ignored >> (s - 1) & 1 == 1 && *s != SIGPIPE && !FORBIDDEN.contains(s)) {
        let _ = signal_hook::flag::register(signal, nothing.clone());
    }
    Ok(())
}

/// Handlers, not "ignore": what is ignored or blocked would be inherited by commands, what is handled is not.
pub fn handle_signals() -> io::Result<std::os::unix::net::UnixStream> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2] {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    unignore_signals()?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_fields_are_counted_after_a_name_with_parentheses_and_blanks() {
        let text = b"42 (a) b (c) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 8192 33 184";
        let stat = parse_stat(42, text).unwrap();
        assert_eq!((stat.id.start_time, stat.parent, stat.rss_pages, stat.zombie), (987_654, 7, 33, false));
    }

    #[test]
    fn process_with_a_reused_pid_is_not_opened() {
        let me = myself();
        assert!(open(&me).unwrap().is_some());
        let (says, said) = std::sync::mpsc::channel();
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            says.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = end.recv();
        });
        let number = ProcessId { pid: said.recv().unwrap(), start_time: 0 };
        assert!(open(&number).unwrap().is_none(), "a thread is no process");
        drop(ends);
        thread.join().unwrap();
        assert!(open(&ProcessId { start_time: me.start_time + 1, ..me }).unwrap().is_none());
    }
}
