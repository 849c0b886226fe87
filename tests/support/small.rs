//! A small file system of its own, where this account may mount one.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Gone, with what lies on it, when this is dropped.
pub struct Small(PathBuf);

impl Small {
    /// `size` as tmpfs(5) writes it. None where we may not mount.
    pub fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).ok()?;
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|o| o.status.success()).then(|| Self(at.to_owned()))
    }

    /// With other options from now on: `ro`, `rw`, `size=8m`.
    pub fn remount(&self, options: &str) -> bool {
        let options = format!("remount,{options}");
        Command::new("mount").args(["-o", &options]).arg(&self.0).status().is_ok_and(|status| status.success())
    }

    /// Takes all room that is left.
    pub fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        // It ends with "no space left": that is what it is for.
        let _ = std::fs::File::create(&ballast).and_then(|mut file| {
            let block = [0; 4096];
            loop {
                std::io::Write::write_all(&mut file, &block)?;
            }
            #[expect(unreachable_code, reason = "says the type")]
            Ok(())
        });
        ballast
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
