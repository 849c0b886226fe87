//! The real `crontab` and the real cron of this machine, with a spool and a /run of their own: nobody's table is touched.

use super::{Done, Grid, process, skipped};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A spool that only commands of this test see.
pub struct Crontab {
    spool: PathBuf,
}

impl Crontab {
    /// None, after saying why, where there is no cron, or no right to give it another spool.
    pub fn new(grid: &Grid, test: &str) -> Option<Self> {
        let spool = grid.file("spool");
        let table = Self { spool: spool.clone() };
        let prepare = format!(
            "command -v crontab && mkdir -p {0}/crontabs && chgrp crontab {0}/crontabs && chmod 1730 {0}/crontabs",
            spool.display()
        );
        if grid.sh(&prepare).code() != 0 || table.sh(grid, "crontab -l 2>&1 | grep -q 'no crontab for'").code() != 0 {
            skipped(test, "no crontab here, or no right to give it a spool of the test's");
            return None;
        }
        Some(table)
    }

    /// The words behind `unshare`.
    fn within(&self, line: &str) -> [String; 4] {
        let script = format!("mount --bind '{}' /var/spool/cron && {line}", self.spool.display());
        ["-m".to_owned(), "sh".to_owned(), "-c".to_owned(), script]
    }

    /// A line for a shell that sees the spool.
    #[track_caller]
    pub fn sh(&self, grid: &Grid, line: &str) -> Done {
        process::run(grid.command("unshare").args(self.within(line)))
    }

    /// cron itself; it runs what stands behind `@reboot` at once, and ends with this.
    pub fn boot(&self) -> Cron {
        let mut command = Command::new("unshare");
        command
            .args(self.within("mount -t tmpfs tmpfs /run && exec cron -f"))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Cron(command.spawn().expect("unshare"))
    }
}

/// A running cron.
pub struct Cron(Child);

impl Drop for Cron {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
