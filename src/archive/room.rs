//! Room on a disk: asked for before anything is written, so that a disk is never filled only to find that it was too small.

use crate::model::resources::Bytes;
use rustix::fd::AsFd;
use rustix::fs::StatVfs;
use std::io;
use std::path::Path;

/// So much of a disk is left to others: databases and records lie there.
pub const RESERVE: u64 = 64 << 20;

/// There is less.
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

/// Is there room for so many bytes where `fd` lies, with `reserve` left? A file system that does not say has room.
pub fn ask(fd: impl AsFd, wanted: u64, reserve: u64, place: &str) -> Result<(), NoRoom> {
    rustix::fs::fstatvfs(fd).map_or(Ok(()), |stat| enough(&stat, wanted, reserve, place))
}

/// The same of a directory.
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

/// Bytes that are free for us, and all of the file system.
pub fn space(dir: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok((free_of(&stat), stat.f_blocks.saturating_mul(stat.f_frsize)))
}

const fn free_of(stat: &StatVfs) -> u64 {
    stat.f_bavail.saturating_mul(stat.f_frsize)
}
