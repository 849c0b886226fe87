//! A home that can't be written, on a file system that is mounted read-only: what it knows can be read.

use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// May anything be written into a directory? A file system that is mounted read-only lets nobody, root neither.
pub(super) fn is_writable(dir: &Path) -> bool {
    !matches!(rustix::fs::access(dir, rustix::fs::Access::WRITE_OK), Err(Errno::ROFS | Errno::ACCESS))
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
