//! Reading an archive that may be anybody's: what we would not have packed is refused before it costs anything.

use crate::model::files::{BadPath, RelPath};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tar::{Archive, Entry, EntryType};

/// The longest name or link that is read: more than any system takes.
const NAME_MAX: u64 = 64 << 10;

/// Why an archive is not read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    #[error("{0}")]
    Path(#[from] BadPath),
    #[error("{path}: {what}, which is not taken")]
    Kind { path: String, what: &'static str },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One entry, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    File {
        size: u64,
        mtime: SystemTime,
        mode: u32,
        /// Where its bytes begin in the archive.
        at: u64,
    },
    Dir {
        mode: u32,
    },
    Link {
        target: Vec<u8>,
    },
}

/// Gives every entry with its bytes to `take`, in order.
pub fn entries<E: From<ReadError>>(
    archive: &File,
    mut take: impl FnMut(RelPath, Kind, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    check(archive)?;
    let mut from = archive;
    from.rewind().map_err(ReadError::from)?;
    let mut archive = Archive::new(from);
    for entry in archive.entries_with_seek().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let (path, kind) = understood(&mut entry)?;
        take(path, kind, &mut entry)?;
    }
    Ok(())
}

/// Names are read into memory as they come: long ones are refused by their headers alone.
fn check(archive: &File) -> Result<(), ReadError> {
    let len = archive.metadata()?.len();
    let mut from = archive;
    from.rewind()?;
    let mut archive = Archive::new(from);
    for entry in archive.entries_with_seek().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let plain =
            matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Directory | EntryType::Symlink);
        if !plain && entry.size() > NAME_MAX {
            return Err(ReadError::Damaged(format!("a name of {} bytes", entry.size())));
        }
        if entry.raw_file_position().saturating_add(entry.size()) > len {
            return Err(ReadError::Damaged("it ends too early".to_owned()));
        }
        // Another size or name than the header's would make this look at other entries than those that are read.
        for extension in entry.pax_extensions().map_err(damaged)?.into_iter().flatten() {
            if extension.map_err(damaged)?.key_bytes() != b"mtime" {
                return Err(ReadError::Damaged("an extension that is not ours".to_owned()));
            }
        }
    }
    Ok(())
}

fn damaged(error: io::Error) -> ReadError {
    ReadError::Damaged(error.to_string())
}

fn understood<R: Read>(entry: &mut Entry<'_, R>) -> Result<(RelPath, Kind), ReadError> {
    let path = entry.path_bytes().into_owned();
    let path = RelPath::new(Path::new(OsStr::from_bytes(&path)))?;
    let refused = |what| Err(ReadError::Kind { path: path.to_string(), what });
    if path.is_empty() {
        return refused("an entry without a name");
    }
    let header = entry.header();
    let mode = header.mode().map_err(damaged)? & 0o777;
    let kind = match header.entry_type() {
        EntryType::Regular => {
            let seconds = header.mtime().map_err(damaged)?;
            let (size, at) = (entry.size(), entry.raw_file_position());
            Kind::File { size, mtime: precise(entry)?.unwrap_or_else(|| time(seconds, 0)), mode, at }
        }
        EntryType::Directory => Kind::Dir { mode },
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            if target.is_empty() || target.contains(&0) {
                return refused("a link to nothing");
            }
            Kind::Link { target }
        }
        EntryType::Link => return refused("a hard link"),
        EntryType::Char | EntryType::Block => return refused("a device"),
        EntryType::Fifo => return refused("a FIFO"),
        _ => return refused("neither file, directory nor link"),
    };
    Ok((path, kind))
}

/// The time to the nanosecond, where the archive has it.
fn precise<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<SystemTime>, ReadError> {
    let Some(extensions) = entry.pax_extensions().map_err(damaged)? else { return Ok(None) };
    for extension in extensions {
        let extension = extension.map_err(damaged)?;
        if extension.key_bytes() != b"mtime" {
            continue;
        }
        let Some((seconds, rest)) = extension.value().ok().and_then(|text| text.split_once('.')) else { continue };
        if let (Ok(seconds), Ok(nanos), 9) = (seconds.parse(), rest.parse(), rest.len()) {
            return Ok(Some(time(seconds, nanos)));
        }
    }
    Ok(None)
}

/// A time that the system can keep, whatever the archive says.
fn time(seconds: u64, nanos: u32) -> SystemTime {
    // The year 9999, which every file system and table can tell.
    let seconds = seconds.min(253_402_300_799);
    UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
}
