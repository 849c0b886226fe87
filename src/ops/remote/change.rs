//! Verbs that change tasks, some of this home and some of others: the owners are asked, and the changes merged.

use super::away;
use super::owner::report;
use super::states::refresh;
use crate::ops::report::TaskChange;
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::Verb;
use crate::store::away::Away;
use std::collections::BTreeMap;

/// What was chosen, by the homes that hold it.
#[derive(Debug, Default)]
pub struct Split {
    /// Tasks of this home, still to be changed.
    pub ours: Vec<Chosen>,
    /// Tasks of other homes, as their owners changed them.
    pub theirs: BTreeMap<Chosen, TaskChange>,
}

impl Split {
    /// All changes, in the order in which the tasks were chosen.
    pub fn merge(self, what: &[Chosen], ours: Vec<TaskChange>) -> Vec<TaskChange> {
        let mut ours = ours.into_iter();
        what.iter().filter_map(|chosen| self.theirs.get(chosen).cloned().or_else(|| ours.next())).collect()
    }
}

/// Asks the owners of tasks in other homes to change them, and leaves those of this home. The first owner that does not do it ends
/// this: such a change is not made later.
pub fn ask_owners(grid: &mut Grid, what: &[Chosen], verb: impl Fn(Chosen) -> Verb) -> Result<Split, OpsError> {
    let mut split = Split::default();
    for chosen in what {
        match away(grid, *chosen)? {
            None => split.ours.push(*chosen),
            Some(away) => {
                let change = ask_owner(grid, &away, *chosen, verb(*chosen))?;
                refresh(grid, &[away])?;
                split.theirs.insert(*chosen, change);
            }
        }
    }
    Ok(split)
}

/// Asks the owner of one task to change it.
fn ask_owner(grid: &mut Grid, away: &Away, chosen: Chosen, verb: Verb) -> Result<TaskChange, OpsError> {
    let change: TaskChange = report(grid, away, verb)?;
    Ok(TaskChange { id: chosen.to_string(), ..change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::TaskId;
    use crate::model::task::State;

    #[test]
    fn merge_keeps_the_order_of_the_question() {
        let chosen = |task| Chosen { task: TaskId(task), index: None };
        let change = |task: i64| TaskChange { id: task.to_string(), state: State::Pending, changed: 1, note: None };
        let theirs = [2, 3].map(|task| (chosen(task), change(task))).into();
        let split = Split { ours: vec![chosen(1), chosen(4)], theirs };
        // A task that was chosen twice is reported twice, and takes no other's place.
        let merged = split.merge(&[2, 1, 2, 3, 4].map(chosen), vec![change(1), change(4)]);
        assert_eq!(merged.into_iter().map(|change| change.id).collect::<Vec<_>>(), ["2", "1", "2", "3", "4"]);
    }
}
