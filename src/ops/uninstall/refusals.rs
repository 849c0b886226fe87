//! Why a home stays, in words.

use super::UninstallReport;
use crate::ops::OpsError;
use crate::store::{StoreError, View};

impl UninstallReport {
    /// Why the home stays, and what to do; None: nothing keeps it.
    pub fn refusal(&self) -> Option<String> {
        words(self.unended, self.unheard.as_deref(), "nothing was removed")
    }
}

/// The home that has yet to hear of a cancel, or of a search that ended here: the first of them.
pub(super) fn unheard(view: &View<'_>) -> Result<Option<String>, OpsError> {
    Ok(view.away_open(1)?.first().map(|away| away.asked.to_string()))
}

pub(super) fn refuse_unended(view: &View<'_>) -> Result<(), OpsError> {
    refuse(view, "nothing was removed")
}

/// Something came since the first look.
pub(super) fn refuse_late(view: &View<'_>) -> Result<(), OpsError> {
    refuse(view, "the home stays")
}

fn refuse(view: &View<'_>, what: &str) -> Result<(), OpsError> {
    match words(view.remains()?.unended, unheard(view)?.as_deref(), what) {
        Some(words) => Err(OpsError::Refused(words)),
        None => Ok(()),
    }
}

fn words(unended: u64, unheard: Option<&str>, what: &str) -> Option<String> {
    let tasks = match (unended, unheard) {
        (0, None) => return None,
        (0, Some(home)) => {
            return Some(format!(
                "{home} has not heard yet of a task that was cancelled here, so {what}: the dispatcher tells it as soon as it answers; \
                 try again then"
            ));
        }
        (1, _) => "1 task has".to_owned(),
        (count, _) => format!("{count} tasks have"),
    };
    Some(format!(
        "{tasks} not ended, so {what}: `grid wait all` waits for them, `grid cancel --everyone all` cancels them"
    ))
}

/// A look changes nothing.
pub(super) fn changed_first(error: StoreError) -> OpsError {
    match error {
        StoreError::Older { .. } | StoreError::Backup { .. } | StoreError::Copy { .. } => OpsError::Refused(format!(
            "{error}; --dry-run changes nothing: run another command first, such as `grid status`"
        )),
        error => error.into(),
    }
}

/// An error, and what else the person is to know.
pub(super) fn with_words(error: OpsError, more: &[String]) -> OpsError {
    let all = |words: String| [&[words], more].concat().join("\n  ");
    match error {
        _ if more.is_empty() => error,
        OpsError::Refused(words) => OpsError::Refused(all(words)),
        error => OpsError::Grid(all(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_refusal_does_not_say_that_nothing_was_removed() {
        let refused = OpsError::Refused(words(2, None, "the home stays").unwrap());
        let said = with_words(refused, &["the lines in the crontab are gone".to_owned()]).to_string();
        assert!(said.starts_with("2 tasks have not ended, so the home stays"), "{said}");
        assert!(said.ends_with("the lines in the crontab are gone"), "{said}");
    }

    #[test]
    fn cancel_that_another_home_has_not_heard_is_no_task_to_wait_for() {
        let said = words(0, Some("h2:/g"), "nothing was removed").unwrap();
        assert!(said.starts_with("h2:/g has not heard yet") && !said.contains("grid wait"), "{said}");
    }

    #[test]
    fn look_at_an_older_home_tells_what_it_needs() {
        let said = changed_first(StoreError::Older { path: "grid.db".into(), found: 3, known: 6 }).to_string();
        assert!(said.contains("run another command first"), "{said}");
    }
}
