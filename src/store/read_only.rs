//! A home that can't be written, on a file system that is mounted read-only: what it knows can be read.

use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};

/// Can a directory be written to? On a file system that is mounted read-only it cannot, not by root either.
pub fn is_writable(dir: &Path) -> bool {
    !matches!(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK), Err(Errno::ROFS | Errno::ACCESS))
}

/// Why nothing may be written into a directory.
pub(super) fn refusal(dir: &Path) -> Option<io::Error> {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).err().map(io::Error::from)
}

/// What to do where something can't be written for this reason.
pub(super) fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::ROFS) => {
            "that file system is mounted read-only: mount it to be written (it may be so for an error of its disk: see dmesg), or set GRID_HOME \
             to a directory on another"
        }
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit (`ulimit -n 1024`, or /etc/security/limits.conf)",
        Some(Errno::NOSPC | Errno::DQUOT) => "free some space and try again",
        _ => "check the permissions, or set GRID_HOME to a directory of yours",
    }
}

/// The name under which SQLite reads a database that can't be written and has nothing in its log; it can't make the memory that it
/// would share with writers, and there are none.
pub(super) fn name(path: &Path) -> Option<String> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(PathBuf::from(name)).ok()
    };
    if beside("-shm").is_some() || beside("-wal").is_some_and(|log| log.len() > 0) {
        return None;
    }
    let dir = path.parent()?;
    if is_writable(dir) {
        return None;
    }
    let text = path.to_str()?.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    Some(format!("file:{text}?immutable=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_is_that_of_the_error() {
        let of = |errno: Errno| remedy(&io::Error::from(errno));
        assert!(of(Errno::ROFS).contains("read-only") && !of(Errno::ROFS).contains("permissions"));
        assert!(of(Errno::MFILE).contains("ulimit -n"));
        assert!(of(Errno::ACCESS).contains("permissions"));
        assert!(remedy(&io::Error::other("any")).contains("permissions"));
    }
}
