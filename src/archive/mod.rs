//! Files as one stream of bytes, named by its content: packed on one side, unpacked below one directory on the other.
//!
//! The stream is a tar archive: files, directories and links with their mode and time, sorted by name, of nobody in
//! particular, so that the same files give the same bytes. What comes from another host is believed in nothing: [`read`]
//! passes on only what we would pack, and [`root`] writes only below its directory, through no link.

pub mod links;
pub mod names;
pub mod pack;
pub mod pattern;
pub mod read;
pub mod remarks;
pub mod room;
pub mod root;
pub mod select;
pub mod sparse;
pub mod unpack;
pub mod walk;

use crate::model::files::Digest;
use std::io::{self, Read, Write};

/// One piece on its way over a link; other messages wait no longer than for this.
pub const PIECE: u32 = 256 << 10;
/// Pieces that are asked for ahead, so that a long way does not make it slow.
pub const AHEAD: u64 = 8;

/// Passes bytes on and works out their digest.
#[derive(Debug)]
pub struct Hashing<W> {
    to: W,
    hasher: blake3::Hasher,
    len: u64,
}

impl<W> Hashing<W> {
    /// Begins with nothing.
    pub fn new(to: W) -> Self {
        Self { to, hasher: blake3::Hasher::new(), len: 0 }
    }

    /// Bytes so far.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// No bytes so far.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// What the bytes went to.
    pub const fn inner(&self) -> &W {
        &self.to
    }

    /// The same, to be used on.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Counts bytes that are there already.
    pub fn take_in(&mut self, mut from: impl Read) -> io::Result<()> {
        let mut piece = vec![0; PIECE as usize];
        loop {
            match from.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(got) => {
                    self.hasher.update(&piece[..got]);
                    self.len += got as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The digest of everything that a reader gives.
pub fn digest(from: impl Read) -> io::Result<Digest> {
    let mut hashing = Hashing::new(io::sink());
    hashing.take_in(from)?;
    Ok(hashing.digest())
}
