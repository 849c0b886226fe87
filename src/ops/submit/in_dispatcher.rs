//! Handles submits within a transaction of the dispatcher.

use super::by_itself::refusal;
use super::inheritance::{EnvironmentRule, LastSubmitter};
use super::request::{SubmitRequest, completed, envelope, profile};
use super::submitted::{shown, shown_here};
use super::venv;
use crate::dispatch::submits::{SubmitHandler, SubmitMessage};
use crate::distributor::fleets::Fleets;
use crate::distributor::local_search;
use crate::distributor::principal::Principal;
use crate::model::time::Timestamp;
use crate::ops::OpsError;
use crate::ops::report::Submitted;
use crate::store::{StoreError, Tx};

/// Handles the submits of commands in the dispatcher.
#[derive(Debug, Default)]
pub struct SubmitService {
    last: LastSubmitter,
}

impl SubmitHandler for SubmitService {
    fn carry_out(
        &mut self,
        tx: &Tx<'_>,
        fleets: &mut Fleets,
        message: &SubmitMessage,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(submit) = serde_json::from_slice::<SubmitRequest>(&message.submit) else { return Ok(None) };
        let from = message.submitter.as_deref().map(|submitter| (submitter, &mut self.last));
        match place(tx, fleets, submit, from, now) {
            Ok(submitted) => Ok(submitted.and_then(|submitted| serde_json::to_vec(&submitted).ok())),
            // An error of the disk or the database concerns all submits of this transaction.
            Err(OpsError::Store(error)) => Err(error),
            // The command runs the same checks, and prints the error.
            Err(_) => Ok(None),
        }
    }
}

/// Submits a task within the dispatcher's transaction; None if it may leave this home: the command submits it then.
fn place(
    tx: &Tx<'_>,
    fleets: &mut Fleets,
    mut submit: SubmitRequest,
    from: Option<(&[u8], &mut LastSubmitter)>,
    now: Timestamp,
) -> Result<Option<Submitted>, OpsError> {
    if let (Some(task), _) = tx.held_by_uuid(submit.uuid)? {
        return shown(tx, task).map(Some);
    }
    let profile = profile(tx, &submit.draft)?;
    let (mut environment, mut notes) = (None, Vec::new());
    if let Some((bytes, last)) = from {
        let rule = EnvironmentRule::of(tx, &submit.draft, profile.as_ref())?;
        let Some(known) = last.see(bytes, rule)? else { return Ok(None) };
        environment = Some(known.row(tx, now)?);
        submit.draft.env = known.inheritance.travelling.clone().with(submit.draft.env);
        notes.extend(tighter(&known.out_of_reach));
    }
    let request = completed(tx, submit.draft, profile.as_ref(), submit.client, &submit.me)?;
    let principal = Principal::resident(submit.me).with(environment);
    let envelope = envelope(submit.uuid, &request)?;
    let placed = local_search::place(tx, fleets, envelope, &principal, now).map_err(refusal)?;
    let Some(task) = placed else { return Ok(None) };
    notes.extend(venv::note(tx, task, &request.launch.env)?);
    Ok(Some(Submitted { notes, ..shown_here(tx, task)? }))
}

/// The note on a dispatcher whose tasks get less than what the submitter has.
fn tighter(out_of_reach: &[String]) -> Option<String> {
    (!out_of_reach.is_empty()).then(|| {
        format!(
            "the dispatcher was started under tighter limits, which its tasks keep to: {}; `grid dispatcher stop`, and the next \
             submit starts one from here (tasks go on)",
            out_of_reach.join(", ")
        )
    })
}
