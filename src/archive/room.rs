//! Room on a disk: checked before anything is written, so that a transfer does not fill the disk before it fails.

use crate::model::resources::Bytes;
use rustix::fd::AsFd;
use rustix::fs::StatVfs;
use std::io;
use std::path::Path;

/// Bytes left free on disks with databases and spools.
pub const RESERVE: u64 = 64 << 20;

/// There is not enough room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no room for {wanted}{reserve} {place}: {free} are free", wanted = Bytes(*wanted), free = Bytes(*free), reserve = kept(*reserve))]
pub struct NoRoom {
    wanted: u64,
    free: u64,
    reserve: u64,
    /// `here`, `in /some/directory`.
    place: String,
}

fn kept(reserve: u64) -> String {
    if reserve == 0 { String::new() } else { format!(" beside {} that are kept free", Bytes(reserve)) }
}

/// Checks that the file system of `fd` has room for so many bytes, with `reserve` bytes left. A file system that does not tell has
/// room.
pub fn ask(fd: impl AsFd, wanted: u64, reserve: u64, place: &str) -> Result<(), NoRoom> {
    rustix::fs::fstatvfs(fd).map_or(Ok(()), |stat| enough(&stat, wanted, reserve, place))
}

/// Checks the file system of a directory.
pub fn ask_in(dir: &Path, wanted: u64, reserve: u64) -> Result<(), NoRoom> {
    let place = format!("in {}", dir.display());
    rustix::fs::statvfs(dir).map_or(Ok(()), |stat| enough(&stat, wanted, reserve, &place))
}

fn enough(stat: &StatVfs, wanted: u64, reserve: u64, place: &str) -> Result<(), NoRoom> {
    let free = free_of(stat);
    if free >= wanted.saturating_add(reserve) {
        return Ok(());
    }
    Err(NoRoom { wanted, free, reserve, place: place.to_owned() })
}

/// Free bytes for this user, and all bytes of the file system.
pub fn space(dir: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok((free_of(&stat), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

const fn free_of(stat: &StatVfs) -> u64 {
    stat.f_bavail.saturating_mul(stat.f_frsize)
}
