//! Unpacking a whole archive into a new directory.

use super::read::{self, EntryKind, ReadError};
use super::room::NoRoom;
use super::root::{self, Root};
use std::fs::File;
use std::io;

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("{path}: {error}")]
    Write { path: String, error: io::Error },
}

/// The bytes of data in an archive.
pub fn room_for(archive: &File) -> Result<u64, ReadError> {
    let mut sum = 0u64;
    read::entries(archive, |_, kind, _| {
        if let EntryKind::File { content, .. } = kind {
            sum = sum.saturating_add(content.data());
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(sum)
}

/// Unpacks all entries. Links are kept as they are, wherever they lead, and never written through.
pub fn unpack(archive: &File, into: &Root) -> Result<(), UnpackError> {
    read::entries(archive, |path, kind, bytes| {
        let done = match &kind {
            EntryKind::Dir { mode } => into.dir(&path, *mode),
            EntryKind::Link { target } => into.link(&path, target),
            EntryKind::File { mode, mtime, content } => into.create(&path, *mode).and_then(|mut file| {
                content.write(&mut file, bytes)?;
                root::finish(&file, *mode, *mtime)
            }),
        };
        done.map_err(|error| UnpackError::Write { path: path.to_string(), error })
    })
}
