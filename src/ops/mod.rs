//! The spine: one file a verb, each reads from top to bottom as the flow. Nothing here prints; every verb gives a report.

pub mod abandon;
pub mod attributes;
pub mod backup;
pub mod cancel;
pub mod clients;
pub mod cron;
pub mod dispatcher;
pub mod distributors;
pub mod doctor;
pub mod draft;
pub mod error;
pub mod explain;
pub mod expressions;
pub mod fetch;
pub mod follow;
pub mod gc;
pub mod hold;
pub mod home;
pub mod host_doctor;
pub mod import;
pub mod interrupts;
pub mod inventory;
pub mod logs;
pub mod members;
pub mod moving;
pub mod notice;
pub mod output_files;
pub mod profiles;
pub mod reader;
pub mod refresh;
pub mod registry;
pub mod release;
pub mod remote;
pub mod remove;
pub mod report;
pub mod retry;
pub mod selecting;
pub mod serve;
mod server_remarks;
pub mod server_removal;
mod server_way;
pub mod servers;
pub mod settings;
pub mod show;
pub mod sql;
pub mod status;
pub mod submit;
pub mod targets;
pub mod uninstall;
pub mod users;
pub mod wait;

pub use error::OpsError;
pub use home::Grid;

#[cfg(test)]
pub mod fixture;

use crate::model::id::Index;
use crate::model::task::{EndState, Phase, State};
use crate::store::View;
use crate::store::tasks::Shape;
use selecting::Chosen;

/// The state of what was chosen.
fn member_state(view: &View<'_>, what: Chosen) -> Result<State, OpsError> {
    let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    let Some(index) = what.index else { return Ok(row.state()) };
    match view.member(what.task, index)? {
        Some(member) => Ok(member.phase().state()),
        None if row.shape.position_of(index, row.size).is_some() => Ok(row.rest_phase.state()),
        None => Err(OpsError::unknown("task", &what.to_string(), [])),
    }
}

/// The exit code of an end as a shell gives it, and the command's own code.
fn shell_code(view: &View<'_>, what: Chosen) -> Result<(u8, Option<u8>), OpsError> {
    let row = view.task(what.task)?.ok_or_else(|| OpsError::unknown("task", &what.to_string(), []))?;
    let index = what.index.or((row.shape == Shape::Single).then_some(Index(0)));
    let Some(index) = index else { return Ok((row.shell_code.unwrap_or(0), row.exit_code)) };
    Ok(match view.member(what.task, index)? {
        Some(member) => {
            let last = member.last();
            let exit_code = last.and_then(|last| last.exit_code);
            let code = match member.phase().state() {
                State::Timeout => 124,
                State::Lost => 125,
                State::Cancelled | State::Skipped => 130,
                State::OutOfMemory => 137,
                _ => exit_code.or_else(|| last?.signal.map(|s| 128u8.saturating_add(s))).unwrap_or(0),
            };
            (code, exit_code)
        }
        None if row.rest_phase == Phase::Ended(EndState::Cancelled) => (130, None),
        // Of a task elsewhere only the sums are kept.
        None => (row.shell_code.unwrap_or(0), row.exit_code),
    })
}
#[cfg(test)]
mod find_test;
#[cfg(test)]
mod fleets_test;
#[cfg(test)]
mod gone_test;
#[cfg(test)]
mod hosts_test;
#[cfg(test)]
mod reports_test;
#[cfg(test)]
mod transfers_test;
