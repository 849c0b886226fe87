//! The job to run, as a line for cron and as units for systemd.

use super::{CronEnvironment, Every};
use crate::ops::OpsError;
use crate::store::Home;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Longest command: some crons cut longer ones off.
const LONGEST: usize = 990;

/// `grid refresh` for one home, with absolute paths.
#[derive(Debug)]
pub struct CronJob {
    home: String,
    program: String,
    path: String,
    log: PathBuf,
}

impl CronJob {
    /// Makes the job. Paths must be UTF-8 in one line, as a crontab requires.
    pub fn new(home: &Home, caller: &CronEnvironment) -> Result<Self, OpsError> {
        let text = |what: &str, value: &OsStr| {
            let plain = value.to_str().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned);
            plain.ok_or_else(|| OpsError::Usage(format!("{what} {value:?}: a crontab can't hold such a path")))
        };
        let log = home.run_dir().join("cron.log");
        let job = Self {
            home: text("the home", home.dir().as_os_str())?,
            program: text("the program", caller.program.as_os_str())?,
            path: text("PATH", OsStr::from_bytes(&shortened(&caller.path)))?,
            log,
        };
        let len = job.command().len();
        if len > LONGEST {
            return Err(OpsError::Refused(format!(
                "the line would be {len} bytes long, and cron cuts off after {LONGEST}: try again with a shorter PATH, as in `PATH=/usr/local/bin:/usr/bin:/bin grid cron install`"
            )));
        }
        Ok(job)
    }

    /// The log of the last run.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The mark of this home's block.
    pub fn mark(&self) -> String {
        mark(&self.home)
    }

    /// The command for `sh -c`.
    pub fn command(&self) -> String {
        let [home, path, program, log] =
            [&self.home, &self.path, &self.program, &self.log.to_string_lossy().into_owned()].map(|text| quoted(text));
        format!("GRID_HOME={home} PATH={path} {program} refresh >{log} 2>&1")
    }

    /// The command for a crontab, where a bare % would end it.
    pub fn escaped(&self) -> String {
        self.command().replace('%', r"\%")
    }

    /// The lines: one starts waiting tasks after a reboot, one keeps attributes fresh.
    pub fn lines(&self, every: Every) -> Vec<String> {
        let command = self.escaped();
        vec![format!("{} {command}", every.fields()), format!("@reboot {command}")]
    }

    /// The lines with a comment on what they do.
    pub fn block(&self, every: Every) -> Vec<String> {
        let mut block = vec![
            "# Keeps attributes of servers fresh, and resumes after a reboot. `grid cron remove` removes it."
                .to_owned(),
        ];
        block.extend(self.lines(every));
        block
    }

    /// Units for a person's own systemd (systemd.service(5), systemd.timer(5)), and how to start them.
    pub fn units(&self, every: Every) -> String {
        let word = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%"));
        // In a command line a dollar sign would name a variable.
        let program = word(&self.program).replace('$', "$$");
        format!(
            "# ~/.config/systemd/user/grid-refresh.service\n\
             [Unit]\nDescription=Keeps attributes of servers fresh: {}\n\n\
             [Service]\nType=oneshot\nEnvironment={} {}\nExecStart={program} refresh\n\
             # The dispatcher that it may start stays.\nKillMode=process\n\n\
             # ~/.config/systemd/user/grid-refresh.timer\n\
             [Unit]\nDescription=Every {every}, and at boot: grid refresh\n\n\
             [Timer]\nOnBootSec=1min\nOnUnitActiveSec={every}\n\n\
             [Install]\nWantedBy=timers.target\n\n\
             # Then:\n\
             #   systemctl --user daemon-reload\n\
             #   systemctl --user enable --now grid-refresh.timer\n\
             #   loginctl enable-linger    # also while you are logged out\n",
            self.home.replace('%', "%%"),
            word(&format!("GRID_HOME={}", self.home)),
            word(&format!("PATH={}", self.path)),
        )
    }
}

fn mark(home: &str) -> String {
    format!("grid in {home}")
}

/// The mark of a home's block; None if no crontab can hold its path.
pub fn mark_of(home: &Home) -> Option<String> {
    home.dir().to_str().map(mark)
}

/// PATH without directories that are missing or repeated.
fn shortened(path: &OsStr) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for part in path.as_bytes().split(|b| *b == b':') {
        let dir = Path::new(OsStr::from_bytes(part));
        if dir.is_absolute() && dir.is_dir() && !kept.contains(&part) {
            kept.push(part);
        }
    }
    kept.join(&b':')
}

fn quoted(text: &str) -> String {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "_@+=:,./-".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(home: &str) -> CronJob {
        let caller = CronEnvironment {
            program: "/usr/local/bin/grid".into(),
            path: "/usr/bin:relative:/no/such/dir:/bin:/usr/bin".into(),
            home: "/home/me".into(),
            account: "me".into(),
        };
        CronJob::new(&Home::at(home), &caller).unwrap()
    }

    #[test]
    fn lines_have_absolute_paths_and_escape_percent_signs() {
        let every: Every = "5min".parse().unwrap();
        let plain = "GRID_HOME=/home/me/g PATH=/usr/bin:/bin /usr/local/bin/grid refresh >/home/me/g/run/cron.log 2>&1";
        assert_eq!(job("/home/me/g").lines(every), [format!("*/5 * * * * {plain}"), format!("@reboot {plain}")]);
        let odd = &job("/home/me/it's 5%").lines(every)[1];
        assert!(odd.contains(r"GRID_HOME='/home/me/it'\''s 5\%'"), "{odd}");
    }

    #[test]
    fn units_quote_for_systemd() {
        let units = job("/home/me/a \"b\" 5%").units("1h".parse().unwrap());
        assert!(units.contains(r#"Environment="GRID_HOME=/home/me/a \"b\" 5%%" "PATH=/usr/bin:/bin""#), "{units}");
        assert!(units.contains("OnUnitActiveSec=1h\n") && units.contains("KillMode=process"), "{units}");
    }

    #[test]
    fn path_that_no_crontab_can_hold_is_refused() {
        let caller = CronEnvironment {
            program: "/bin/grid".into(),
            path: "/bin".into(),
            home: "/".into(),
            account: "me".into(),
        };
        assert!(CronJob::new(&Home::at("/home/me/a\nb"), &caller).is_err());
        assert!(CronJob::new(&Home::at(format!("/home/{}", "x".repeat(600))), &caller).is_err());
    }
}
