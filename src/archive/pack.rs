//! Packing: files, directories and links into an archive, as a stream.

use super::sparse::{self, DataPart, Parts};
use super::walk::Tree;
use super::{Hashing, PIECE};
use crate::model::files::{Digest, RelPath};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// The result of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    pub digest: Digest,
    pub size: u64,
    /// Number of files, directories and links.
    pub files: u64,
}

/// How something was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    Whole,
    /// A file with holes: its length, and the bytes of data in it.
    Sparse {
        size: u64,
        data: u64,
    },
    /// A link that is not packed.
    LeftOut,
}

/// An archive that is being written.
pub struct Packer<W: Write> {
    tar: Builder<BufWriter<Hashing<W>>>,
    files: u64,
}

impl<W: Write> Packer<W> {
    /// An empty archive.
    pub fn new(to: W) -> Self {
        Self { tar: Builder::new(BufWriter::with_capacity(PIECE as usize, Hashing::new(to))), files: 0 }
    }

    /// Adds the file, directory or link at `from`; a directory without its content. Links are not followed: `target` gives the
    /// packed target of a link, or leaves it out.
    pub fn add(
        &mut self,
        path: &RelPath,
        from: &Path,
        target: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>,
    ) -> io::Result<Added> {
        let meta = std::fs::symlink_metadata(from)?;
        if meta.is_symlink() {
            return match target(std::fs::read_link(from)?.into_os_string().into_vec()) {
                Some(target) => self.link(path, &target).map(|()| Added::Whole),
                None => Ok(Added::LeftOut),
            };
        }
        if meta.is_dir() {
            return self.dir(path, &meta).map(|()| Added::Whole);
        }
        if !meta.is_file() {
            return Err(not_packed(&meta));
        }
        self.file(path, open(from)?)
    }

    fn dir(&mut self, path: &RelPath, meta: &Metadata) -> io::Result<()> {
        // Without a time, so that a directory with the same content gives the same bytes.
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
    fn file(&mut self, path: &RelPath, mut file: File) -> io::Result<Added> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(not_packed(&meta));
        }
        let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
        let time = (meta.mtime() >= 0 && meta.mtime_nsec() > 0).then_some(("mtime", time.as_bytes()));
        let mut header = header(EntryType::Regular, meta.mode(), meta.len());
        header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        let Some(parts) = sparse::parts(&file)? else {
            file.rewind()?;
            self.named(&mut header, path, None)?;
            if let Some(time) = time {
                self.tar.append_pax_extensions([time])?;
            }
            return self.append(&header, Exactly { from: file, left: meta.len() }).map(|()| Added::Whole);
        };
        // GNU tar reads these records only in archives of the newer format.
        let mut header = ustar(meta.mode(), header.mtime()?);
        let (list, data) = (sparse::list(&parts, meta.len()), parts.iter().map(|part| part.len).sum::<u64>());
        header.set_size(list.len() as u64 + data);
        self.named(&mut header, path, None)?;
        let size = meta.len().to_string();
        let values = [&b"1"[..], b"0", path.as_bytes(), size.as_bytes()];
        self.tar.append_pax_extensions(sparse::KEYS.into_iter().zip(values).chain(time))?;
        self.append(&header, list.as_slice().chain(Parts::of(file, parts)))?;
        Ok(Added::Sparse { size: meta.len(), data })
    }

    fn append(&mut self, header: &Header, content: impl Read) -> io::Result<()> {
        self.files += 1;
        let mut header = header.clone();
        header.set_cksum();
        self.tar.append(&header, content)
    }

    /// Writes the name of an entry: in the header if it fits, else in an entry before it, as GNU tar does.
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

/// Opens a file to pack.
fn open(from: &Path) -> io::Result<File> {
    // Does not block if the file was replaced by a FIFO meanwhile.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(from, flags, Mode::empty())?))
}

/// The most bytes that an archive of this tree takes, by its present state. Unreadable files count as 0.
pub fn room_for(tree: &Tree) -> u64 {
    let data = |from: &Path| -> io::Result<u64> {
        let meta = std::fs::symlink_metadata(from)?;
        if !meta.is_file() {
            return Ok(0);
        }
        // Only files that take less of the disk than their length can have holes.
        if meta.blocks().saturating_mul(512) >= meta.len() {
            return Ok(meta.len());
        }
        let parts: Option<Vec<DataPart>> = sparse::parts(&open(from)?)?;
        Ok(parts.map_or(meta.len(), |parts| parts.iter().map(|part| part.len).sum()))
    };
    // Headers, names, times, padding.
    const AROUND: u64 = 4 << 10;
    tree.values().map(|from| data(from).unwrap_or(0).saturating_add(AROUND)).fold(0, u64::saturating_add)
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

fn ustar(mode: u32, mtime: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode & 0o777);
    header.set_mtime(mtime);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The error for anything but a file, directory or link.
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

/// Reads exactly as many bytes as the header says, or fails: a file may shrink while it is read.
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
