//! Reading an untrusted archive: entries that we would not have packed are refused before they cost anything.

use super::sparse::{self, DataPart};
use crate::model::files::{BadPath, RelPath};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tar::{Archive, Entry, EntryType};

/// The longest name or target that is read, in bytes: more than any system accepts.
const NAME_MAX: u64 = 64 << 10;

/// Why an archive is refused.
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

/// An entry without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File { mtime: SystemTime, mode: u32, content: Content },
    Dir { mode: u32 },
    Link { target: Vec<u8> },
}

/// The bytes of a file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The size of the file with its holes.
    pub size: u64,
    /// The offset of its data in the archive.
    at: u64,
    /// The parts with data, one after the other in the archive. None: the file has no holes.
    parts: Option<Arc<[DataPart]>>,
}

impl Content {
    /// Bytes of data.
    pub fn data(&self) -> u64 {
        self.parts.as_deref().map_or(self.size, |parts| parts.iter().map(|part| part.len).sum())
    }

    /// The parts of the file: (offset in the file, offset in the archive, length).
    fn pieces(&self) -> Vec<(u64, u64, u64)> {
        let Some(parts) = self.parts.as_deref() else { return vec![(0, self.at, self.size)] };
        let mut at = self.at;
        let place = |part: &DataPart| {
            let piece = (part.from, at, part.len);
            at += part.len;
            piece
        };
        parts.iter().map(place).collect()
    }

    /// True if a file has the same bytes, with zeros for holes.
    pub fn is_in(&self, file: &File, archive: &File) -> io::Result<bool> {
        if file.metadata()?.len() != self.size {
            return Ok(false);
        }
        let mut end = 0;
        for (from, at, len) in self.pieces() {
            let hole = DataPart { from: end, len: from - end };
            if !sparse::is_hole(file, hole)? || !same_bytes(file, from, archive, at, len)? {
                return Ok(false);
            }
            end = from + len;
        }
        sparse::is_hole(file, DataPart { from: end, len: self.size - end })
    }

    /// Writes an empty file. `bytes` are those of the entry.
    pub fn write(&self, file: &mut File, bytes: &mut dyn Read) -> io::Result<()> {
        let Some(parts) = self.parts.as_deref() else { return super::root::fill(file, bytes, self.size) };
        for part in parts {
            file.seek(io::SeekFrom::Start(part.from))?;
            let copied = io::copy(&mut bytes.take(part.len), file)?;
            if copied != part.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        file.set_len(self.size)
    }
}

/// True if both have the same bytes at these offsets.
fn same_bytes(file: &File, from: u64, archive: &File, at: u64, len: u64) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut offset = 0;
    while offset < len {
        let most = usize::try_from(len - offset).unwrap_or(usize::MAX).min(ours.len());
        let got = file.read_at(&mut ours[..most], from + offset)?;
        if got == 0 {
            return Ok(false);
        }
        archive.read_exact_at(&mut theirs[..got], at + offset)?;
        if ours[..got] != theirs[..got] {
            return Ok(false);
        }
        offset += got as u64;
    }
    Ok(true)
}

/// Gives every entry with its bytes to `take`, in order.
pub fn entries<E: From<ReadError>>(
    archive: &File,
    mut take: impl FnMut(RelPath, EntryKind, &mut dyn Read) -> Result<(), E>,
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

/// Checks the headers for long names, which would be read into memory.
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
        // A size or name other than the header's would lead this check to other entries than the reader.
        for extension in entry.pax_extensions().map_err(damaged)?.into_iter().flatten() {
            let extension = extension.map_err(damaged)?;
            let key = extension.key_bytes();
            if key != b"mtime" && !sparse::KEYS.iter().any(|ours| ours.as_bytes() == key) {
                return Err(ReadError::Damaged("an extension that is not ours".to_owned()));
            }
        }
    }
    Ok(())
}

fn damaged(error: io::Error) -> ReadError {
    ReadError::Damaged(error.to_string())
}

fn understood<R: Read>(entry: &mut Entry<'_, R>) -> Result<(RelPath, EntryKind), ReadError> {
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
            let mtime = precise(entry)?.unwrap_or_else(|| time(seconds, 0));
            EntryKind::File { mtime, mode, content: content(entry)? }
        }
        EntryType::Directory => EntryKind::Dir { mode },
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            if target.is_empty() || target.contains(&0) {
                return refused("a link to nothing");
            }
            EntryKind::Link { target }
        }
        EntryType::Link => return refused("a hard link"),
        EntryType::Char | EntryType::Block => return refused("a device"),
        EntryType::Fifo => return refused("a FIFO"),
        _ => return refused("neither file, directory nor link"),
    };
    Ok((path, kind))
}

/// Reads the list of parts of a file with holes; the rest of the entry is data.
fn content<R: Read>(entry: &mut Entry<'_, R>) -> Result<Content, ReadError> {
    let (stored, at) = (entry.size(), entry.raw_file_position());
    let Some(size) = extension(entry, sparse::SIZE)? else { return Ok(Content { size: stored, at, parts: None }) };
    let known = extension(entry, sparse::KEYS[0])?.as_deref() == Some("1");
    let size = size.parse().ok().filter(|size| known && *size <= i64::MAX as u64);
    let size = size.ok_or_else(|| ReadError::Damaged("a file with holes of a kind that is not ours".to_owned()))?;
    let (parts, taken) = sparse::read_list(entry, size).map_err(damaged)?;
    let content = Content { size, at: at + taken, parts: Some(parts.into()) };
    if taken.checked_add(content.data()) != Some(stored) {
        return Err(ReadError::Damaged("a list of holes that does not fit its file".to_owned()));
    }
    Ok(content)
}

/// The time in nanoseconds, if the archive has it.
fn precise<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<SystemTime>, ReadError> {
    let Some(text) = extension(entry, "mtime")? else { return Ok(None) };
    let Some((seconds, rest)) = text.split_once('.') else { return Ok(None) };
    Ok(match (seconds.parse(), rest.parse(), rest.len()) {
        (Ok(seconds), Ok(nanos), 9) => Some(time(seconds, nanos)),
        _ => None,
    })
}

/// A record before an entry.
fn extension<R: Read>(entry: &mut Entry<'_, R>, key: &str) -> Result<Option<String>, ReadError> {
    for extension in entry.pax_extensions().map_err(damaged)?.into_iter().flatten() {
        let extension = extension.map_err(damaged)?;
        if extension.key_bytes() == key.as_bytes() {
            return Ok(extension.value().ok().map(str::to_owned));
        }
    }
    Ok(None)
}

/// A time that the system can store.
fn time(seconds: u64, nanos: u32) -> SystemTime {
    // The year 9999, which every file system and table can show.
    let seconds = seconds.min(253_402_300_799);
    UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
}
