//! Handles submits within a transaction of the dispatcher.

use super::by_itself::refusal;
use super::request::{SubmitRequest, completed, envelope};
use super::submitted::shown;
use crate::dispatch::submits::SubmitHandler;
use crate::distributor::fleets::Fleets;
use crate::distributor::local_search;
use crate::distributor::principal::Principal;
use crate::model::time::Timestamp;
use crate::ops::OpsError;
use crate::ops::report::Submitted;
use crate::store::{StoreError, Tx};

/// Handles the submits of commands in the dispatcher.
#[derive(Debug)]
pub struct SubmitService;

impl SubmitHandler for SubmitService {
    fn carry_out(
        &mut self,
        tx: &Tx<'_>,
        fleets: &mut Fleets,
        submit: &[u8],
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(submit) = serde_json::from_slice::<SubmitRequest>(submit) else { return Ok(None) };
        match place(tx, fleets, submit, now) {
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
    submit: SubmitRequest,
    now: Timestamp,
) -> Result<Option<Submitted>, OpsError> {
    if let (Some(task), _) = tx.held_by_uuid(submit.uuid)? {
        return shown(tx, task).map(Some);
    }
    let request = completed(tx, submit.draft, submit.client, &submit.me)?;
    let principal = Principal::resident(submit.me);
    let envelope = envelope(submit.uuid, &request)?;
    let placed = local_search::place(tx, fleets, envelope, &principal, now).map_err(refusal)?;
    placed.map(|task| shown(tx, task)).transpose()
}
