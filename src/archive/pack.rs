//! Packing: files, directories and links into an archive, as a stream.

use super::{Hashing, PIECE};
use crate::model::files::{Digest, RelPath};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// What an archive came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    pub digest: Digest,
    pub size: u64,
    /// Files, directories and links.
    pub files: u64,
}

/// An archive that is being written.
pub struct Packer<W: Write> {
    tar: Builder<BufWriter<Hashing<W>>>,
    files: u64,
}

impl<W: Write> Packer<W> {
    /// An empty one.
    pub fn new(to: W) -> Self {
        Self { tar: Builder::new(BufWriter::with_capacity(PIECE as usize, Hashing::new(to))), files: 0 }
    }

    /// Adds what lies at `from`, whatever it is; a directory without what is in it. Links are not followed.
    pub fn add(&mut self, path: &RelPath, from: &Path) -> io::Result<()> {
        let meta = std::fs::symlink_metadata(from)?;
        if meta.is_symlink() {
            return self.link(path, std::fs::read_link(from)?.as_os_str().as_bytes());
        }
        if meta.is_dir() {
            return self.dir(path, &meta);
        }
        if !meta.is_file() {
            return Err(not_packed(&meta));
        }
        // Not waiting where somebody puts a FIFO there between the two calls.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(from, flags, Mode::empty())?);
        self.file(path, file)
    }

    fn dir(&mut self, path: &RelPath, meta: &Metadata) -> io::Result<()> {
        // Without a time: what is in a directory says more, and making the same again gives the same.
        let mut header = header(EntryType::Directory, meta.mode(), 0);
        self.named(&mut header, path, None)?;
        self.append(&header, io::empty())
    }

    fn link(&mut self, path: &RelPath, target: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        self.named(&mut header, path, Some(target))?;
        self.append(&header, io::empty())
    }

    /// Adds an open file from its beginning.
    fn file(&mut self, path: &RelPath, file: File) -> io::Result<()> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(not_packed(&meta));
        }
        let mut header = header(EntryType::Regular, meta.mode(), meta.len());
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        self.named(&mut header, path, None)?;
        if meta.mtime() >= 0 && meta.mtime_nsec() > 0 {
            let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
            self.tar.append_pax_extensions([("mtime", time.as_bytes())])?;
        }
        self.append(&header, Exactly { from: file, left: meta.len() })
    }

    fn append(&mut self, header: &Header, content: impl Read) -> io::Result<()> {
        self.files += 1;
        let mut header = header.clone();
        header.set_cksum();
        self.tar.append(&header, content)
    }

    /// Names an entry: in the header where it fits, else in an entry before it, as GNU tar does.
    fn named(&mut self, header: &mut Header, path: &RelPath, target: Option<&[u8]>) -> io::Result<()> {
        let old = header.as_old_mut();
        for (field, bytes, kind) in [
            (&mut old.name, path.as_bytes(), EntryType::GNULongName),
            (&mut old.linkname, target.unwrap_or_default(), EntryType::GNULongLink),
        ] {
            let fits = bytes.len().min(field.len());
            field[..fits].copy_from_slice(&bytes[..fits]);
            if bytes.len() > fits {
                let mut long = self::header(kind, 0o644, bytes.len() as u64 + 1);
                long.set_cksum();
                self.tar.append(&long, bytes.chain(&b"\0"[..]))?;
            }
        }
        Ok(())
    }

    /// Ends the archive.
    pub fn finish(self) -> io::Result<(W, Packed)> {
        let files = self.files;
        let mut hashing = self.tar.into_inner()?.into_inner()?;
        hashing.flush()?;
        let packed = Packed { digest: hashing.digest(), size: hashing.len(), files };
        Ok((hashing.into_inner(), packed))
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o777);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Neither file, directory nor link.
fn not_packed(meta: &Metadata) -> io::Error {
    let kind = meta.file_type();
    let what = if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device"
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} can't be packed"))
}

/// As many bytes as the header has promised, or an error: a file may shrink while it is read.
struct Exactly {
    from: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let got = self.from.read(&mut bytes[..most])?;
        self.left -= got as u64;
        if got == 0 && most > 0 {
            return Err(io::Error::other("became shorter while it was read"));
        }
        Ok(got)
    }
}
