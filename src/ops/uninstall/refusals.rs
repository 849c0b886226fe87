//! Why a home stays, in words.

use super::{Unheard, UninstallReport};
use crate::ops::OpsError;
use crate::store::{StoreError, View};

impl UninstallReport {
    /// Why the home stays, and what to do; None: nothing keeps it.
    pub fn refusal(&self) -> Option<String> {
        words(self.unended, self.unheard.as_ref(), "nothing was removed")
    }
}

/// The first task of which another home has yet to hear: of a cancel, or of a search that ended here.
pub(super) fn unheard(view: &View<'_>) -> Result<Option<Unheard>, OpsError> {
    Ok(view.away_open(1)?.first().map(|away| Unheard { task: away.task, home: away.asked.to_string() }))
}

pub(super) fn refuse_unended(view: &View<'_>) -> Result<(), OpsError> {
    refuse(view, "nothing was removed")
}

/// Something came since the first look.
pub(super) fn refuse_late(view: &View<'_>) -> Result<(), OpsError> {
    refuse(view, "the home stays")
}

fn refuse(view: &View<'_>, what: &str) -> Result<(), OpsError> {
    match words(view.remains()?.unended, unheard(view)?.as_ref(), what) {
        Some(words) => Err(OpsError::Refused(words)),
        None => Ok(()),
    }
}

fn words(unended: u64, unheard: Option<&Unheard>, what: &str) -> Option<String> {
    let lost = |unheard: &Unheard| {
        let Unheard { task, home } = unheard;
        format!("if that home is lost for good, `grid cancel --forget {task}` gives task {task} up ({home})")
    };
    let tasks = match (unended, unheard) {
        (0, None) => return None,
        (0, Some(unheard)) => {
            return Some(format!(
                "{} has not heard yet of task {}, which was cancelled here, so {what}: the dispatcher tells it as soon as it answers; try \
                 again then; {}",
                unheard.home,
                unheard.task,
                lost(unheard)
            ));
        }
        (1, _) => "1 task has".to_owned(),
        (count, _) => format!("{count} tasks have"),
    };
    let remedy = unheard.map_or_else(String::new, |unheard| {
        format!("; task {} waits for an answer of another home: {}", unheard.task, lost(unheard))
    });
    Some(format!(
        "{tasks} not ended, so {what}: `grid wait all` waits for them, `grid cancel --everyone all` cancels them{remedy}"
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
    use crate::model::id::TaskId;

    #[test]
    fn late_refusal_does_not_say_that_nothing_was_removed() {
        let refused = OpsError::Refused(words(2, None, "the home stays").unwrap());
        let said = with_words(refused, &["the lines in the crontab are gone".to_owned()]).to_string();
        assert!(said.starts_with("2 tasks have not ended, so the home stays"), "{said}");
        assert!(said.ends_with("the lines in the crontab are gone"), "{said}");
    }

    #[test]
    fn cancel_that_another_home_has_not_heard_is_no_task_to_wait_for_and_can_be_given_up() {
        let unheard = Unheard { task: TaskId(7), home: "h2:/g".to_owned() };
        let said = words(0, Some(&unheard), "nothing was removed").unwrap();
        assert!(said.starts_with("h2:/g has not heard yet of task 7") && !said.contains("grid wait"), "{said}");
        assert!(said.contains("`grid cancel --forget 7`"), "{said}");
        let said = words(2, Some(&unheard), "nothing was removed").unwrap();
        assert!(said.starts_with("2 tasks have not ended") && said.contains("`grid cancel --forget 7`"), "{said}");
        assert!(!words(2, None, "nothing was removed").unwrap().contains("--forget"));
    }

    #[test]
    fn look_at_an_older_home_tells_what_it_needs() {
        let said = changed_first(StoreError::Older { path: "grid.db".into(), found: 3, known: 6 }).to_string();
        assert!(said.contains("run another command first"), "{said}");
    }
}
