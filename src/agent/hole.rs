//! Holes in output files: the attempts of a run share two files, and the blocks of an output that is no longer needed are freed in place.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::io;

/// Shorter slices are not worth a call: they are removed with their run.
pub const MIN_LENGTH: u64 = 64 << 10;

/// Frees the blocks of `from..to`; no byte outside of it changes, and the file keeps its length. `file` is open for writing. An error:
/// nothing is freed, most often because the file system has no holes.
pub fn punch(file: &File, from: u64, to: u64) -> io::Result<()> {
    if to <= from {
        return Ok(());
    }
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, to - from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn punch_frees_blocks_and_changes_no_byte_of_the_neighbours() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; 100_003]).unwrap();
        file.write_all(&vec![2; 3 << 20]).unwrap();
        file.write_all(&vec![3; 99_997]).unwrap();
        let before = file.metadata().unwrap();
        punch(&file, 100_003, 100_003 + (3 << 20)).unwrap();
        let after = file.metadata().unwrap();
        assert_eq!(before.len(), after.len());
        assert!(after.blocks() * 512 < 300_000, "{} blocks of {}", after.blocks(), before.blocks());
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        let count = |byte: u8| bytes.iter().filter(|b| **b == byte).count();
        assert_eq!((count(1), count(2), count(3)), (100_003, 0, 99_997));
    }

    #[test]
    fn punch_of_a_read_only_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, vec![1; 1 << 20]).unwrap();
        assert!(punch(&File::open(&path).unwrap(), 0, 1 << 20).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), vec![1; 1 << 20]);
    }
}
