//! How often a dispatcher may be lost before that is no accident.

use super::start::StartError;
use crate::store::Home;
use std::path::Path;
use std::time::{Duration, Instant};

/// Dispatchers that somebody waited with and lost. One that dies of what it finds is called again in growing pauses, and not
/// for ever.
#[derive(Debug, Default)]
pub struct Losses {
    count: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Another one. An error once that can be no accident, with the last word of its log.
    pub fn one_more(&mut self, home: &Home) -> Result<(), StartError> {
        const MOST: u32 = 10;
        const APART: Duration = Duration::from_secs(30);
        if self.last.is_some_and(|at| at.elapsed() > APART) {
            self.count = 0;
        }
        self.count += 1;
        if self.count > MOST {
            let log = home.run_dir().join("dispatcher.log");
            return Err(StartError::Failed(format!("it ends each time: {} ({})", last_word(&log), log.display())));
        }
        if self.count > 3 {
            // 0.1 s, 0.2 s .. 2 s: some seven seconds in all.
            std::thread::sleep(Duration::from_millis(50 << (self.count - 3)).min(Duration::from_secs(2)));
        }
        self.last = Some(Instant::now());
        Ok(())
    }
}

pub(super) fn last_word(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().last().unwrap_or("it said nothing").to_owned()
}
