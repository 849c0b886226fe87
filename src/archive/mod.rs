//! Files as one stream of bytes, named by its content: packed on one side, unpacked below one directory on the other.
//!
//! The stream is a tar archive: files, directories and links with their mode and time, sorted by name, without an owner, so that
//! the same files give the same bytes. An archive of another host is not trusted: [`read`] passes on only what we would pack, and
//! [`root`] writes only below its directory and through no link.

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

/// Bytes of one piece on a link; another message waits for one piece at most.
pub const PIECE: u32 = 256 << 10;
/// Pieces requested ahead, so that latency does not slow a transfer down.
pub const AHEAD: u64 = 8;

/// A writer or reader that passes bytes on and computes their digest.
#[derive(Debug)]
pub struct Hashing<W> {
    to: W,
    hasher: blake3::Hasher,
    len: u64,
}

impl<W> Hashing<W> {
    /// Starts without bytes.
    pub fn new(to: W) -> Self {
        Self { to, hasher: blake3::Hasher::new(), len: 0 }
    }

    /// How many bytes have passed.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// True if no bytes have passed.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }

    /// The inner writer.
    pub const fn inner(&self) -> &W {
        &self.to
    }

    /// Gives the inner writer back.
    pub fn into_inner(self) -> W {
        self.to
    }

    /// Adds bytes that were written before to the digest.
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

/// The digest of all bytes of a reader.
pub fn digest(from: impl Read) -> io::Result<Digest> {
    let mut hashing = Hashing::new(io::sink());
    hashing.take_in(from)?;
    Ok(hashing.digest())
}
