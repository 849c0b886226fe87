//! Settings that are used for each task: cached, and read again after [`FRESH`] or when a command wakes the dispatcher.

use crate::model::max_output::MaxOutput;
use crate::model::resources::Bytes;
use crate::model::settings::{MAX_OUTPUT, OUTPUT_LIMIT, RETRY_ELSEWHERE};
use crate::store::{StoreError, View};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// The cached settings.
#[derive(Debug, Default)]
pub struct Settings {
    /// When the cache was last emptied.
    since: Option<Instant>,
    max_output: Cell<Option<MaxOutput>>,
    output_limit: Cell<Option<Bytes>>,
    retry_elsewhere: Cell<Option<Duration>>,
}

/// A changed setting takes effect after this time at the latest.
const FRESH: Duration = Duration::from_secs(5);

impl Settings {
    /// Empties the cache if it is too old.
    pub fn refresh(&mut self, now: Instant) {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= FRESH) {
            *self = Self { since: Some(now), ..Self::default() };
        }
    }

    /// How much of an output is kept if its task does not set it.
    pub fn max_output(&self, view: &View<'_>) -> Result<MaxOutput, StoreError> {
        kept(&self.max_output, || view.value_of(&MAX_OUTPUT))
    }

    /// The length above which an output stays on its server.
    pub fn output_limit(&self, view: &View<'_>) -> Result<Bytes, StoreError> {
        kept(&self.output_limit, || view.value_of(&OUTPUT_LIMIT))
    }

    /// How long a retry waits for another server than that on which it failed.
    pub fn retry_elsewhere(&self, view: &View<'_>) -> Result<Duration, StoreError> {
        kept(&self.retry_elsewhere, || view.value_of(&RETRY_ELSEWHERE))
    }
}

fn kept<T: Copy>(kept: &Cell<Option<T>>, read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    if let Some(known) = kept.get() {
        return Ok(known);
    }
    let found = read()?;
    kept.set(Some(found));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_is_read_once_while_it_is_cached() {
        let settings = Settings::default();
        let limit = |read: Option<u64>| kept(&settings.output_limit, || Ok(Bytes(read.unwrap())));
        assert_eq!(limit(Some(7)).unwrap(), Bytes(7));
        assert_eq!(limit(None).unwrap(), Bytes(7));
    }

    #[test]
    fn setting_is_read_again_once_it_is_stale() {
        let (mut settings, now) = (Settings::default(), Instant::now());
        settings.refresh(now);
        settings.output_limit.set(Some(Bytes(7)));
        settings.refresh(now + FRESH / 2);
        assert_eq!(settings.output_limit.get(), Some(Bytes(7)));
        settings.refresh(now + FRESH);
        assert_eq!(settings.output_limit.get(), None);
    }
}
