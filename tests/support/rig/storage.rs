//! What can be the matter with a host's home.

use super::{Rig, UID, files};

impl Rig {
    /// The home is a disk of its own from now on, with what the old one held; `limits` as for tmpfs: "size=64m", "nr_inodes=300".
    #[track_caller]
    pub fn small_home(&self, host: &str, limits: &str) {
        let home = home(host);
        let script = format!(
            "set -e; mkdir -p /run/small; mount -t tmpfs -o {limits},mode=755 tmpfs /run/small
             cp -a {home}/. /run/small; chown -R {UID}:{UID} /run/small || :; mount --move /run/small {home}"
        );
        self.root(host, &script).expect(0);
    }

    /// Not a byte more goes into a small home.
    #[track_caller]
    pub fn fill(&self, host: &str) {
        self.root(host, &format!("dd if=/dev/zero of={}/filler bs=4k 2>/dev/null; :", home(host))).ok();
    }

    /// Not a file more goes into a small home.
    #[track_caller]
    pub fn use_up_inodes(&self, host: &str) {
        self.root(
            host,
            &format!("mkdir -p {0}/files; i=0; while : >{0}/files/$i; do i=$((i+1)); done 2>/dev/null; :", home(host)),
        )
        .ok();
    }

    /// There is room again.
    #[track_caller]
    pub fn make_room(&self, host: &str) {
        self.root(host, &format!("rm -rf {0}/filler {0}/files", home(host))).ok();
    }

    /// Nothing is written there, or again.
    #[track_caller]
    pub fn read_only(&self, host: &str, so: bool) {
        let how = if so { "ro" } else { "rw" };
        self.root(host, &format!("mount -o remount,bind,{how} {}", home(host))).expect(0);
    }
}

fn home(host: &str) -> String {
    format!("/home/{}", files::user(host))
}
