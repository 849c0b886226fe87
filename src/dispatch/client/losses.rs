//! How many dispatchers a waiting command may lose before it gives up.

use crate::dispatch::client::start::StartError;
use crate::dispatch::process::life::{last_line_since, log_file, trouble};
use crate::store::Home;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts the dispatchers that a command has lost while it waited. A dispatcher that crashes is restarted with backoff, and not
/// for ever.
#[derive(Debug, Default)]
pub struct Losses {
    count: u32,
    last: Option<Instant>,
    /// How the last dispatcher that this process started has ended.
    status: Option<ExitStatus>,
}

impl Losses {
    /// Counts a loss and waits for the backoff. After too many it gives an error with what is known of the last one.
    pub fn one_more(&mut self, home: &Home) -> Result<(), StartError> {
        const MOST: u32 = 10;
        const APART: Duration = Duration::from_secs(30);
        if self.last.is_some_and(|at| at.elapsed() > APART) {
            self.count = 0;
        }
        self.count += 1;
        if self.count > MOST {
            let by = self.status.and_then(|status| status.signal()).map(|_| how(self.status));
            let known = by.or_else(|| trouble(home).map(|trouble| trouble.last));
            let known = known.unwrap_or_else(|| "it said nothing".to_owned());
            let log = log_file(home);
            return Err(StartError::Failed(format!("it keeps crashing: {known} ({})", log.display())));
        }
        if self.count > 3 {
            // 0.1 s, 0.2 s .. 2 s: some seven seconds in all.
            std::thread::sleep(Duration::from_millis(50 << (self.count - 3)).min(Duration::from_secs(2)));
        }
        // After the pause: a killed process closes its connections shortly before its parent can reap it.
        self.status = started_ended().or(self.status);
        self.last = Some(Instant::now());
        Ok(())
    }
}

/// The dispatcher that this process started last.
static STARTED: Mutex<Option<Child>> = Mutex::new(None);

/// Notes the dispatcher that this process has started.
pub(in crate::dispatch) fn note_started(child: Child) {
    *STARTED.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
}

/// How that dispatcher has ended, if it has.
fn started_ended() -> Option<ExitStatus> {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    started.as_mut()?.try_wait().ok().flatten()
}

/// How a process has ended, with the last line of its log after an offset in bytes.
pub(in crate::dispatch) fn end_of(home: &Home, status: ExitStatus, log_from: u64) -> String {
    match last_line_since(&log_file(home), log_from) {
        Some(word) => format!("{}: {word}", how(Some(status))),
        None => format!("{}, without a word in {}", how(Some(status)), log_file(home).display()),
    }
}

fn how(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.signal(), status)) {
        // `signal: 9 (SIGKILL)`.
        Some((Some(_), status)) => format!("killed by {}", status.to_string().replacen("signal: ", "signal ", 1)),
        Some((None, status)) => status.to_string(),
        None => "it ended".to_owned(),
    }
}
