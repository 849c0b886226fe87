//! Agents to send to servers: this program, and those for other machines in a known folder.

use crate::link::bootstrap::Binary;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files in the folder are named by this prefix and the machine as `uname -m` says it.
const PREFIX: &str = "grid-";

/// The agents that can be sent; each file is read once while it does not change.
#[derive(Debug, Default)]
pub struct Agents {
    known: HashMap<PathBuf, (Stamp, String)>,
}

/// Identifies an unchanged file.
type Stamp = (u64, u64, u64, i64, i64);

impl Agents {
    /// This program for machines like this one, and `grid-ARCH` files of the folder for others.
    pub fn all(&mut self, folder: &Path) -> io::Result<Vec<Binary>> {
        let arch = rustix::system::uname().machine().to_string_lossy().into_owned();
        let mut all = vec![self.binary(Path::new("/proc/self/exe"), arch.clone())?];
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut others: Vec<(String, PathBuf)> = entries
            .filter_map(|entry| {
                let arch = entry.file_name().to_str()?.strip_prefix(PREFIX)?.to_owned();
                Some((arch, entry.path()))
            })
            .filter(|(other, _)| *other != arch)
            .collect();
        others.sort();
        for (arch, file) in others {
            // An unreadable file counts as missing: the host then says which one it needs.
            all.extend(self.binary(&file, arch));
        }
        Ok(all)
    }

    fn binary(&mut self, file: &Path, arch: String) -> io::Result<Binary> {
        let mut open = File::open(file)?;
        let meta = open.metadata()?;
        let stamp = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let known = self.known.get(file).filter(|(known, _)| *known == stamp).map(|(_, digest)| digest.clone());
        let digest = match known {
            Some(digest) => digest,
            None => {
                let digest = digest(&mut open)?;
                self.known.insert(file.to_owned(), (stamp, digest.clone()));
                digest
            }
        };
        Ok(Binary { arch, file: file.to_owned(), size: meta.len(), digest })
    }
}

fn digest(file: &mut File) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            n => digest.update(&piece[..n]),
        }
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_program_and_those_in_the_folder_are_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("grid-riscv64"), "abc").unwrap();
        std::fs::write(folder.path().join("notes"), "x").unwrap();
        let mut agents = Agents::default();
        let all = agents.all(folder.path()).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].arch, std::env::consts::ARCH);
        assert_eq!(all[1].arch, "riscv64");
        assert_eq!(all[1].digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::write(folder.path().join("grid-riscv64"), "abcd").unwrap();
        assert_ne!(agents.all(folder.path()).unwrap()[1].digest, all[1].digest, "a new file is read anew");
    }
}
