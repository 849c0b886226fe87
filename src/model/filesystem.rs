//! Detects network file systems (locks and shared memory of a database are not safe there) and full ones; measures and removes trees.

use rustix::fs::statfs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Magic number of FUSE; the type behind it is in the mount table.
const FUSE: u64 = 0x6573_5546;

/// The network file system under a path (or under its nearest existing parent), if it is one: statfs(2) magic numbers,
/// and for FUSE the type in the mount table.
pub fn network_fs(path: &Path) -> Option<&'static str> {
    #[cfg(feature = "failpoints")]
    if let Some(under) = std::env::var_os("GRID_TEST_NETWORK_FS") {
        return path.starts_with(under).then_some("NFS");
    }
    let existing = path.ancestors().find(|p| p.exists())?;
    match statfs(existing).ok()?.f_type as u64 & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("SMB"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x00c3_6400 => Some("Ceph"),
        0x0102_1997 => Some("9p"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x1983_0326 => Some("BeeGFS"),
        0x2003_0528 => Some("OrangeFS"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636f => Some("OCFS2"),
        0x7375_7245 => Some("Coda"),
        0xaad7_aaea => Some("PanFS"),
        FUSE => {
            let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
            fuse_network(kind_of(&table, &existing.canonicalize().ok()?)?)
        }
        _ => None,
    }
}

/// True if a path is on a file system in user space, whose files may get other inode numbers at each look.
pub fn is_fuse(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.f_type as u64 & 0xffff_ffff == FUSE)
}

/// Is this open file still the one at this path? Only who holds the lock of a lock file removes it.
pub fn is_at(file: &std::fs::File, path: &Path) -> bool {
    let inode = |of: io::Result<std::fs::Metadata>| of.ok().map(|meta| (meta.dev(), meta.ino()));
    inode(file.metadata()).is_some_and(|held| inode(std::fs::metadata(path)) == Some(held))
}

/// True if there is any room, or it can't be determined.
pub fn has_room(path: &Path) -> bool {
    const A_LITTLE: u64 = 64 << 10;
    rustix::fs::statvfs(path).map_or(true, |stat| stat.f_bavail * stat.f_frsize >= A_LITTLE)
}

/// True if there is room for this many bytes and a reserve for other writes, or it can't be determined.
pub fn has_room_for(path: &Path, bytes: u64) -> bool {
    const LEFT: u64 = 64 << 20;
    rustix::fs::statvfs(path).map_or(true, |stat| {
        let [free, all] = [stat.f_bavail, stat.f_blocks].map(|blocks| blocks.saturating_mul(stat.f_frsize));
        free >= bytes.saturating_add(LEFT.min(all / 16))
    })
}

/// Bytes that a file, or a directory with all in it, takes on the disk.
pub fn taken(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| taken(&entry.path())).sum()
        }
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    }
}

/// Removes a directory with everything that tasks made in it, if it exists.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(_) if dir.exists() => {
            // It has directories that their owner may not write to: as `chmod -R u+rwX` would.
            open_up(dir);
            std::fs::remove_dir_all(dir)
        }
        _ => Ok(()),
    }
}

fn open_up(dir: &Path) {
    let _ = std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The type of the mount of a path: the last one in the table with the longest mount point above it (proc(5)).
fn kind_of<'t>(table: &'t str, path: &Path) -> Option<&'t str> {
    let mounts = table.lines().filter_map(|line| {
        let at = unescaped(line.split(' ').nth(4)?);
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        path.starts_with(&at).then_some((at.len(), kind))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// Decodes the octal numbers for space, tab, newline and backslash in the table.
fn unescaped(point: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(point.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The name of a FUSE file system on other hosts; None for local ones (overlays, encryption, disks).
fn fuse_network(kind: &str) -> Option<&'static str> {
    Some(match kind.strip_prefix("fuse.")? {
        "sshfs" => "sshfs",
        "glusterfs" => "GlusterFS",
        "ceph-fuse" | "ceph" => "Ceph",
        "juicefs" => "JuiceFS",
        "rclone" => "rclone",
        "s3fs" | "goofys" | "mount-s3" => "S3",
        "gcsfuse" => "Google Cloud Storage",
        "blobfuse" | "blobfuse2" => "Azure Blob Storage",
        "davfs" | "davfs2" => "WebDAV",
        "curlftpfs" => "FTP",
        "smbnetfs" => "SMB",
        "mfs" | "moosefs" | "lizardfs" => "MooseFS",
        "seaweedfs" => "SeaweedFS",
        "cvmfs2" => "CernVM-FS",
        "nfs-ganesha" | "fuse-nfs" => "NFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 254:0 / / rw,relatime - ext4 /dev/root rw
40 21 0:35 / /home/me/far\\040away rw,nosuid - fuse.sshfs lab: rw,user_id=1000
41 21 0:36 / /home/me/safe rw,nosuid - fuse.gocryptfs /home/me/.safe rw
42 40 0:37 / /home/me/far\\040away/here rw shared:1 - tmpfs tmpfs rw";

    #[test]
    fn the_deepest_mount_counts() {
        let kind = |path: &str| kind_of(TABLE, Path::new(path));
        assert_eq!(kind("/home/me/x"), Some("ext4"));
        assert_eq!(kind("/home/me/far away/x/y"), Some("fuse.sshfs"));
        assert_eq!(kind("/home/me/far away/here"), Some("tmpfs"));
        assert_eq!(kind("/home/me/far away2"), Some("ext4"));
        assert_eq!(kind("/home/me/safe"), Some("fuse.gocryptfs"));
    }

    #[test]
    fn only_fuse_types_of_other_hosts_are_network() {
        assert_eq!(fuse_network("fuse.sshfs"), Some("sshfs"));
        assert_eq!(fuse_network("fuse.gocryptfs"), None);
        assert_eq!(fuse_network("ext4"), None);
    }
}
