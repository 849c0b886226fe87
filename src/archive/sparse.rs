//! Files with holes: a hole of a terabyte is sent as a line of text, and unpacked as a hole.
//!
//! In an archive such a file has the PAX format 1.0 of GNU tar: a list of the parts with data, then those parts.

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

/// Least bytes of holes: below that a file is packed plainly, so that a grid of version 0.1.0 can read it.
const WORTH: u64 = 16 << 20;
/// Shortest hole; shorter ones are packed as zeros.
const HOLE_MIN: u64 = 1 << 20;
/// Most parts; with more the shortest holes are packed as zeros.
const PARTS_MAX: usize = 4096;
/// The list of parts is padded to a multiple of this.
pub const BLOCK: u64 = 512;
/// The PAX records of such a file.
pub const KEYS: [&str; 4] = ["GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"];
/// The record of its size.
pub const SIZE: &str = KEYS[3];

/// A part of a file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataPart {
    pub from: u64,
    pub len: u64,
}

impl DataPart {
    /// The offset of its end.
    pub const fn end(self) -> u64 {
        self.from.saturating_add(self.len)
    }
}

/// The parts of a file that hold data. None: there are no holes worth it.
pub fn parts(file: &File) -> io::Result<Option<Vec<DataPart>>> {
    let meta = file.metadata()?;
    let size = meta.len();
    if meta.blocks().saturating_mul(512).saturating_add(WORTH) > size {
        return Ok(None);
    }
    let (mut parts, mut shortest) = (Vec::<DataPart>::new(), HOLE_MIN);
    let mut at = 0;
    while let Some(part) = next(file, at, size)? {
        at = part.end();
        match parts.last_mut() {
            Some(last) if part.from - last.end() < shortest => last.len = part.end() - last.from,
            _ => parts.push(part),
        }
        while parts.len() > PARTS_MAX {
            shortest *= 2;
            merge(&mut parts, shortest);
        }
    }
    let data: u64 = parts.iter().map(|part| part.len).sum();
    Ok((size.saturating_sub(data) >= WORTH).then_some(parts))
}

fn merge(parts: &mut Vec<DataPart>, shortest: u64) {
    parts.dedup_by(|next, last| {
        let close = next.from - last.end() < shortest;
        if close {
            last.len = next.end() - last.from;
        }
        close
    });
}

/// The next part at or after an offset, as the file system reports it.
pub fn next(file: &File, at: u64, size: u64) -> io::Result<Option<DataPart>> {
    if at >= size {
        return Ok(None);
    }
    let from = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(from) => from.min(size),
        Err(Errno::NXIO) => return Ok(None),
        // The file system does not know holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(DataPart { from: at, len: size - at })),
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(from)).unwrap_or(size).clamp(from, size);
    Ok((end > from).then_some(DataPart { from, len: end - from }))
}

/// The list of parts as it is stored in an archive. An empty part at the end marks the end of a last hole.
pub fn list(parts: &[DataPart], size: u64) -> Vec<u8> {
    let end = DataPart { from: size, len: 0 };
    let end = parts.last().is_none_or(|last| last.end() < size).then_some(&end);
    let mut text = format!("{}\n", parts.len() + usize::from(end.is_some()));
    for part in parts.iter().chain(end) {
        text.push_str(&format!("{}\n{}\n", part.from, part.len));
    }
    let mut text = text.into_bytes();
    text.resize(text.len().next_multiple_of(BLOCK as usize), 0);
    text
}

/// Reads the list of parts at the beginning of `from`: the parts of a file of `size` bytes, and the bytes of the list.
pub fn read_list(from: &mut dyn Read, size: u64) -> io::Result<(Vec<DataPart>, u64)> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a list of holes that is none");
    let (mut numbers, mut number, mut taken) = (Vec::<u64>::new(), None::<u64>, 0);
    let mut block = [0; BLOCK as usize];
    while numbers.first().is_none_or(|count| (numbers.len() as u64) < 1 + 2 * count) {
        from.read_exact(&mut block)?;
        taken += BLOCK;
        for byte in block {
            match (byte, number) {
                (b'0'..=b'9', _) => {
                    let next = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                    number = Some(next.ok_or_else(damaged)?);
                }
                (b'\n', Some(done)) => {
                    numbers.push(done);
                    number = None;
                }
                (0, None) => {}
                _ => return Err(damaged()),
            }
        }
        // GNU tar adds one for the end of the file.
        if numbers.first().is_some_and(|count| *count > PARTS_MAX as u64 + 1) {
            return Err(damaged());
        }
    }
    let count = usize::try_from(numbers[0]).map_err(|_| damaged())?;
    let parts: Vec<DataPart> =
        numbers[1..=2 * count].as_chunks().0.iter().map(|&[from, len]| DataPart { from, len }).collect();
    let mut end = 0;
    for part in &parts {
        if part.from < end || part.from.checked_add(part.len).is_none_or(|end| end > size) {
            return Err(damaged());
        }
        end = part.end();
    }
    Ok((parts, taken))
}

/// A reader of the parts of a file, one after the other. It fails if the file has become shorter.
pub struct Parts {
    file: File,
    parts: std::vec::IntoIter<DataPart>,
    now: DataPart,
}

impl Parts {
    /// A reader of these parts.
    pub fn of(file: File, parts: Vec<DataPart>) -> Self {
        Self { file, parts: parts.into_iter(), now: DataPart { from: 0, len: 0 } }
    }
}

impl Read for Parts {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.now.len == 0 {
            let Some(next) = self.parts.next() else { return Ok(0) };
            self.now = next;
        }
        let most = usize::try_from(self.now.len).unwrap_or(usize::MAX).min(bytes.len());
        let got = self.file.read_at(&mut bytes[..most], self.now.from)?;
        if got == 0 && most > 0 {
            return Err(io::Error::other("became shorter while it was read"));
        }
        (self.now.from, self.now.len) = (self.now.from + got as u64, self.now.len - got as u64);
        Ok(got)
    }
}

/// True if a file has only zeros in this part.
pub fn is_hole(file: &File, hole: DataPart) -> io::Result<bool> {
    let mut bytes = vec![0; 64 << 10];
    let mut at = hole.from;
    while let Some(part) = next(file, at, hole.end())? {
        at = part.from;
        while at < part.end() {
            let most = usize::try_from(part.end() - at).unwrap_or(usize::MAX).min(bytes.len());
            let got = file.read_at(&mut bytes[..most], at)?;
            if got == 0 || bytes[..got].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += got as u64;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::pack::{Added, Packed, Packer, room_for};
    use crate::archive::read::{self, EntryKind, ReadError};
    use crate::archive::root::Root;
    use crate::archive::unpack;
    use crate::archive::walk::Tree;
    use crate::model::files::RelPath;
    use std::path::Path;

    /// Makes a file with these bytes at these offsets.
    fn with(path: &Path, size: u64, data: &[(u64, &[u8])]) {
        let file = File::create(path).unwrap();
        file.set_len(size).unwrap();
        data.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
    }

    fn packed(path: &Path) -> (File, Packed, Added) {
        let mut packer = Packer::new(tempfile::tempfile().unwrap());
        let added = packer.add(&RelPath::new(Path::new("f")).unwrap(), path, Some).unwrap();
        let (file, packed) = packer.finish().unwrap();
        (file, packed, added)
    }

    #[test]
    fn hole_of_a_terabyte_is_unpacked_as_a_hole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for data in [vec![], vec![(0, &b"first"[..])], vec![(1 << 39, &b"middle"[..]), ((1 << 40) - 4, &b"last"[..])]] {
            with(&path, 1 << 40, &data);
            let (archive, packed, added) = packed(&path);
            assert!(
                packed.size < 1 << 20 && matches!(added, Added::Sparse { size: 0x100_0000_0000, .. }),
                "{packed:?}"
            );
            assert!(room_for(&Tree::from([(RelPath::default(), path.clone())])) < 1 << 20);
            assert!(unpack::room_for(&archive).unwrap() < 1 << 20);
            let to = tempfile::tempdir().unwrap();
            unpack::unpack(&archive, &Root::open(to.path()).unwrap()).unwrap();
            let file = File::open(to.path().join("f")).unwrap();
            let meta = file.metadata().unwrap();
            assert_eq!(meta.len(), 1 << 40);
            assert!(meta.blocks() * 512 < 1 << 20, "its holes are holes");
            // The comparison is quick, and finds each difference.
            let is_in = |file: &File| {
                let mut is_in = None;
                read::entries(&archive, |_, kind, _| {
                    let EntryKind::File { content, .. } = kind else { panic!("{kind:?}") };
                    is_in = Some(content.is_in(file, &archive)?);
                    Ok::<_, ReadError>(())
                })
                .unwrap();
                is_in.unwrap()
            };
            assert!(is_in(&file));
            let other = File::options().write(true).read(true).open(to.path().join("f")).unwrap();
            other.write_all_at(b"x", (1 << 38) + 7).unwrap();
            assert!(!is_in(&other), "something in a hole");
        }
    }

    #[test]
    fn file_with_few_holes_is_packed_plainly_for_older_readers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        with(&path, WORTH - 1, &[]);
        let (archive, packed, added) = packed(&path);
        assert_eq!(added, Added::Whole);
        assert!(packed.size > WORTH - 1);
        let mut types = Vec::new();
        for entry in tar::Archive::new(&archive).entries().unwrap().raw(true) {
            types.push(entry.unwrap().header().entry_type());
        }
        assert!(
            types.iter().all(|kind| matches!(kind, tar::EntryType::Regular | tar::EntryType::XHeader)),
            "{types:?}"
        );
    }

    #[test]
    fn parts_above_the_limit_are_joined() {
        let mut parts: Vec<DataPart> =
            (0..3 * PARTS_MAX as u64).map(|n| DataPart { from: n << 21, len: 1 << 12 }).collect();
        let size = parts.last().unwrap().end();
        merge(&mut parts, 1 << 22);
        assert_eq!(parts, [DataPart { from: 0, len: size }]);
    }

    #[test]
    fn list_of_parts_beyond_its_file_is_refused() {
        let read = |text: &str, size| {
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(bytes.len().next_multiple_of(512).max(512), 0);
            read_list(&mut bytes.as_slice(), size)
        };
        let parts = [DataPart { from: 5, len: 3 }, DataPart { from: 9, len: 1 }];
        let (back, taken) = read_list(&mut list(&parts, 10).as_slice(), 10).unwrap();
        assert_eq!((back.as_slice(), taken), (parts.as_slice(), 512));
        for (text, size) in [
            ("1\n0\n11\n", 10),
            ("2\n5\n3\n7\n1\n", 10),
            ("1\n18446744073709551615\n2\n", u64::MAX),
            ("99999999999999999999\n", 10),
            ("1000000\n", 10),
            ("-1\n", 10),
            ("1\n", 10),
            ("", 10),
        ] {
            assert!(read(text, size).is_err(), "{text:?}");
        }
        let mut endless = io::repeat(b'1');
        assert!(read_list(&mut endless, 10).is_err());
    }
}
