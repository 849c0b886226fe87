//! Reads and writes the person's crontab by `crontab`: changes a block between two marks, and keeps everything else byte for byte.

use crate::ops::OpsError;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

/// The whole crontab.
#[derive(Debug, PartialEq, Eq)]
pub struct Crontab(Vec<u8>);

/// What became of the search for a crontab.
#[derive(Debug, PartialEq, Eq)]
pub enum FoundTable {
    Table(Crontab),
    /// This host has no program for one.
    NoProgram,
    /// This account may not use it, in the program's words.
    Denied(String),
}

fn begin(mark: &str) -> String {
    format!("# begin {mark}")
}

fn end(mark: &str) -> String {
    format!("# end {mark}")
}

impl Crontab {
    /// A crontab from its bytes.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// All of its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the crontab; empty if there is none.
    pub fn read() -> Result<Self, OpsError> {
        Self::listed(list().map_err(absent)?)
    }

    /// Finds the crontab of an account that may have none, or may not have one.
    pub fn find() -> Result<FoundTable, OpsError> {
        Self::found(list())
    }

    fn found(done: io::Result<Output>) -> Result<FoundTable, OpsError> {
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FoundTable::NoProgram),
            Ok(done) if is_denied(&done) => {
                let said = String::from_utf8_lossy(&done.stderr);
                Ok(FoundTable::Denied(said.lines().next().unwrap_or_default().trim().to_owned()))
            }
            done => Self::listed(done.map_err(absent)?).map(FoundTable::Table),
        }
    }

    fn listed(done: Output) -> Result<Self, OpsError> {
        let said = String::from_utf8_lossy(&done.stderr);
        match done.status.code() {
            Some(0) => Ok(Self(done.stdout)),
            _ if said.contains("no crontab for") => Ok(Self(Vec::new())),
            _ => Err(OpsError::Refused(format!("crontab -l: {}", said.trim()))),
        }
    }

    /// Replaces the crontab.
    pub fn write(&self) -> Result<(), OpsError> {
        let mut command = Command::new("crontab");
        command.arg(if self.0.is_empty() { "-r" } else { "-" }).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(absent)?;
        let sent = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(&self.0));
        let done = child.wait_with_output().map_err(absent)?;
        let said = String::from_utf8_lossy(&done.stderr);
        match sent {
            Ok(()) if done.status.success() => Ok(()),
            _ => Err(OpsError::Refused(format!("crontab was not changed: {}", said.trim()))),
        }
    }

    /// The lines of a block, without the marks; None if there is no block.
    pub fn of(&self, mark: &str) -> Option<Vec<String>> {
        let (from, to) = self.place(mark)?;
        let text = String::from_utf8_lossy(&self.0[from..to]).into_owned();
        let marks = [begin(mark), end(mark)];
        Some(text.lines().filter(|line| !marks.iter().any(|mark| mark == line)).map(str::to_owned).collect())
    }

    /// Replaces a block by lines, or appends them; no lines remove the block. True if something changed.
    pub fn put(&mut self, mark: &str, lines: &[String]) -> bool {
        let mut block = String::new();
        if !lines.is_empty() {
            for line in [begin(mark)].iter().chain(lines).chain([&end(mark)]) {
                block += line;
                block.push('\n');
            }
        }
        let mut after = self.0.clone();
        match self.place(mark) {
            Some((from, to)) => drop(after.splice(from..to, block.into_bytes())),
            None => {
                // crontab(1) refuses a last line without a newline.
                if !block.is_empty() && after.last().is_some_and(|byte| *byte != b'\n') {
                    after.push(b'\n');
                }
                after.extend(block.into_bytes());
            }
        }
        let changed = after != self.0;
        self.0 = after;
        changed
    }

    /// The range from the first mark to behind the last one.
    fn place(&self, mark: &str) -> Option<(usize, usize)> {
        let (begin, end) = (begin(mark), end(mark));
        let (mut at, mut from) = (0, None);
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            if text == begin.as_bytes() {
                from = Some(at);
            }
            at += line.len();
            if text == end.as_bytes()
                && let Some(from) = from
            {
                return Some((from, at));
            }
        }
        None
    }
}

fn list() -> io::Result<Output> {
    Command::new("crontab").arg("-l").env("LC_ALL", "C").stdin(Stdio::null()).output()
}

/// Is this the refusal of an account by cron.allow or cron.deny, as all kinds of cron say it?
fn is_denied(done: &Output) -> bool {
    !done.status.success() && String::from_utf8_lossy(&done.stderr).contains("not allowed to use")
}

fn absent(error: io::Error) -> OpsError {
    OpsError::Refused(format!(
        "crontab: {error}; install cron, or let systemd do it: `grid cron show --systemd` prints the units"
    ))
}

/// A warning if no cron runs; the crontab is written anyway.
pub fn no_daemon() -> Option<String> {
    let name = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).ok();
    let mut all = std::fs::read_dir("/proc").ok()?.flatten().filter_map(name);
    let runs = all.any(|name| ["cron", "crond", "fcron", "dcron", "bcron-sched"].contains(&name.trim()));
    (!runs).then(|| {
        "no cron runs on this host: start it, or let systemd do it: `grid cron show --systemd` prints the units"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: &[u8] = b"MAILTO=me\n# mine, \xff\n\n0 3 * * * /usr/bin/backup 100%% x\n";

    #[test]
    fn other_lines_stay_byte_for_byte() {
        let lines = |text: &str| vec![text.to_owned()];
        for others in [OTHERS, b""] {
            let mut table = Crontab(others.to_vec());
            assert!(table.put("a", &lines("first")));
            assert!(!table.put("a", &lines("first")), "the same again changes nothing");
            assert!(table.0.starts_with(others));
            assert!(table.put("b", &lines("other")));
            table.0.extend(b"# behind\n");
            assert!(table.put("a", &lines("second")));
            assert_eq!(table.of("a"), Some(lines("second")));
            assert_eq!(table.of("b"), Some(lines("other")));
            assert!(table.put("a", &[]) && table.put("b", &[]));
            assert_eq!(table.0, [others, b"# behind\n"].concat());
            assert!(!table.put("a", &[]));
        }
    }

    #[test]
    fn crontab_that_cannot_be_read_is_not_taken_for_none() {
        use std::os::unix::process::ExitStatusExt;
        let said = |code: i32, said: &str| Output {
            status: std::process::ExitStatus::from_raw(code << 8),
            stdout: OTHERS.to_vec(),
            stderr: said.into(),
        };
        let read = |done| Crontab::found(done).map_err(|e| e.to_string());
        let table = |bytes: &[u8]| Ok(FoundTable::Table(Crontab(bytes.to_vec())));
        assert_eq!(read(Err(io::ErrorKind::NotFound.into())), Ok(FoundTable::NoProgram));
        assert_eq!(read(Ok(said(1, "no crontab for me\n"))), table(b""));
        assert_eq!(read(Ok(said(0, ""))), table(OTHERS));
        let denied = "You (me) are not allowed to use this program (crontab)";
        let more = format!("{denied}\nSee crontab(1) for more information\n");
        assert_eq!(read(Ok(said(1, &more))), Ok(FoundTable::Denied(denied.to_owned())));
        assert_eq!(read(Ok(said(1, "no access to the spool\n"))), Err("crontab -l: no access to the spool".to_owned()));
        assert!(read(Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }

    #[test]
    fn mark_without_its_end_is_kept_as_a_foreign_line() {
        let mut table = Crontab(b"# begin a\n0 0 * * * x\n".to_vec());
        assert!(table.put("a", &["y".to_owned()]));
        assert_eq!(table.0, b"# begin a\n0 0 * * * x\n# begin a\ny\n# end a\n");
        assert_eq!(table.of("a"), Some(vec!["y".to_owned()]));
    }
}
