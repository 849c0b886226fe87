//! The agents that are installed on a server, one directory for each version: a version in use is locked, and one that nobody used for
//! a month is removed.

use super::clearing::remove_if_ours;
use super::last_use::{is_stale, touch};
use crate::model::filesystem::taken;
use crate::model::time::Timestamp;
use rustix::process::geteuid;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Every program that runs from the directory holds this file's lock; its time is that of the last use.
const IN_USE: &str = "in-use";
/// The length of such a directory's name: hexadecimal digits of a digest.
const NAME_LENGTH: usize = 16;

/// The directory of this program, if the bootstrap of a link has installed it.
fn own() -> Option<PathBuf> {
    let dir = fs::read_link("/proc/self/exe").ok()?.parent()?.to_owned();
    (dir.parent()?.file_name()? == "bin" && is_version(&dir)).then_some(dir)
}

fn is_version(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == NAME_LENGTH && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Marks this program as in use, for as long as the file is open.
pub fn hold() -> Option<File> {
    held(&own()?)
}

/// Marks this program as in use, as [`hold`] does, and removes the versions that are no longer used.
pub fn hold_and_clear(now: Timestamp) -> Option<File> {
    let own = own()?;
    let lock = held(&own);
    clear(&own, now);
    lock
}

fn held(dir: &Path) -> Option<File> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let file = options.open(dir.join(IN_USE)).ok()?;
    // Fails on a full disk, or where there are no locks: then it is used without one.
    let _ = file.lock_shared();
    touch(&file);
    Some(file)
}

/// Removes the other versions that are unused. Where that can't be found out they stay.
fn clear(own: &Path, now: Timestamp) {
    for entry in own.parent().and_then(|bin| fs::read_dir(bin).ok()).into_iter().flatten().flatten() {
        let dir = entry.path();
        if dir != own && is_version(&dir) && is_unused(&dir, now) == Some(true) {
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

/// Removes all unused versions, this one too: the next link sends one again. Gives the bytes that were freed, and what is left.
pub fn remove_unused() -> (u64, Vec<String>) {
    own().as_deref().and_then(Path::parent).map(remove_unused_in).unwrap_or_default()
}

fn remove_unused_in(bin: &Path) -> (u64, Vec<String>) {
    let (mut bytes, mut left) = (0, Vec::new());
    for entry in fs::read_dir(bin).into_iter().flatten().flatten() {
        let dir = entry.path();
        let ours = |meta: fs::Metadata| meta.is_dir() && meta.uid() == geteuid().as_raw();
        if !is_version(&dir) || !fs::symlink_metadata(&dir).is_ok_and(ours) {
            continue;
        }
        // For writing: a network file system gives no exclusive lock otherwise. A version without the file is older than it, and may be
        // in use.
        let lock = OpenOptions::new().read(true).write(true).open(dir.join(IN_USE));
        if !lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            left.push(format!("{} (in use)", dir.display()));
            continue;
        }
        let size = taken(&dir);
        match fs::remove_dir_all(&dir) {
            Ok(()) => bytes += size,
            Err(error) => left.push(format!("{} ({error})", dir.display())),
        }
    }
    // Fails where a version is left.
    let _ = fs::remove_dir(bin);
    bin.parent().iter().for_each(|dir| remove_if_ours(dir));
    (bytes, left)
}

fn is_unused(dir: &Path, now: Timestamp) -> Option<bool> {
    let meta = fs::symlink_metadata(dir).ok()?;
    if !meta.is_dir() || meta.uid() != geteuid().as_raw() {
        return Some(false);
    }
    // Versions from before the lock have only their program.
    let mark = [IN_USE, "grid"].map(|name| dir.join(name)).into_iter().find(|file| file.exists())?;
    if !is_stale(&fs::metadata(&mark).ok()?, now) {
        return Some(false);
    }
    if !mark.ends_with(IN_USE) {
        return Some(true);
    }
    // For writing: a network file system gives no exclusive lock otherwise.
    let lock = OpenOptions::new().read(true).write(true).open(&mark).ok()?;
    Some(lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ambient::Ambient;
    use crate::model::test_clock::TestClock;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn remove_unused_removes_every_version_that_is_not_locked() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let version = |digit: &str| {
            let dir = bin.join(digit.repeat(NAME_LENGTH));
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("grid"), vec![1; 100_000]).unwrap();
            File::create(dir.join(IN_USE)).unwrap();
            dir
        };
        let (used, unused) = (version("1"), version("2"));
        fs::create_dir(bin.join("notes")).unwrap();
        let lock = File::open(used.join(IN_USE)).unwrap();
        lock.lock_shared().unwrap();
        let (bytes, left) = remove_unused_in(&bin);
        assert!((100_000..120_000).contains(&bytes), "{bytes}");
        assert_eq!(left, [format!("{} (in use)", used.display())]);
        assert_eq!((used.exists(), unused.exists(), bin.join("notes").exists()), (true, false, true));
    }

    #[test]
    fn clear_removes_versions_unused_for_a_month_and_keeps_locked_ones() {
        let dir = tempfile::tempdir().unwrap();
        let now = TestClock::new().now().wall;
        let version = |digit: &str, mark: Option<&str>, days: u64| {
            let dir = dir.path().join("bin").join(digit.repeat(NAME_LENGTH));
            fs::create_dir_all(&dir).unwrap();
            let then = now.minus(Duration::from_secs(days * 24 * 3600));
            let then = UNIX_EPOCH + Duration::from_millis(then.0.try_into().unwrap());
            for name in ["grid"].into_iter().chain(mark) {
                File::create(dir.join(name)).unwrap().set_modified(then).unwrap();
            }
            dir
        };
        let own = version("0", Some(IN_USE), 400);
        let (used, fresh) = (version("1", Some(IN_USE), 40), version("2", Some(IN_USE), 20));
        let (old, oldest) = (version("3", Some(IN_USE), 40), version("4", None, 40));
        let other = dir.path().join("bin/notes");
        fs::create_dir(&other).unwrap();
        // A task may run out of it for months.
        let lock = File::open(used.join(IN_USE)).unwrap();
        lock.lock_shared().unwrap();
        clear(&own, now);
        let there = [&own, &used, &fresh, &old, &oldest, &other].map(|dir| dir.exists());
        assert_eq!(there, [true, true, true, false, false, true]);
        drop(lock);
        clear(&own, now);
        assert!(!used.exists());
        let used_at = || fs::metadata(fresh.join(IN_USE)).unwrap().modified().unwrap();
        let before = used_at();
        drop(held(&fresh).unwrap());
        assert_ne!(used_at(), before, "to hold a version is a use");
    }
}
