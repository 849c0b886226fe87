//! Files of tasks that other homes submitted: received after the commit, and sent back once the task has ended.

use super::tasks::OpenQuestion;
use crate::archive::{self, room};
use crate::model::attempt::Stream;
use crate::model::files::Sent;
use crate::model::id::{Index, TaskId};
use crate::model::time::Timestamp;
use crate::ops::remote::files::RemoteResults;
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError, dispatcher, fetch};
use crate::protocol::distributor::{Answer, PIECE_MAX};
use crate::store::files::Whereabouts;
use crate::store::ledger::Ledger;
use crate::store::{Durability, StoreError};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// So much of the home's disk is left free.
const RESERVE: u64 = 256 << 20;

/// Receives a piece of a task's files. The answer says how much is here; with all of it the task may start.
pub fn take(grid: &mut Grid, what: Chosen, offset: u64, bytes: &[u8]) -> Result<Answer, OpsError> {
    let (workplace, _) = grid.store.view().files_of(what.task)?;
    let Some(sent) = workplace.sent() else {
        return Err(OpsError::Refused("this task is sent without files".to_owned()));
    };
    if grid.store.view().has_bundle(sent.bundle)? {
        arrived(grid, sent, None)?;
        return Ok(Answer::Have { bytes: sent.size });
    }
    let taken = take_piece(grid, sent, offset, bytes);
    // Its task may have ended meanwhile: what came counts for nobody any more.
    drop_part(grid, sent)?;
    taken
}

/// Removes the received part of files that no task waits for.
pub fn drop_part(grid: &Grid, sent: &Sent) -> Result<(), OpsError> {
    let part = part_of(grid, sent);
    if part.exists() && !grid.store.view().is_awaited(sent.bundle)? {
        // Somebody else may have been faster.
        let _ = std::fs::remove_file(part);
    }
    Ok(())
}

fn part_of(grid: &Grid, sent: &Sent) -> PathBuf {
    grid.store.home().sent().join(format!("{}.part", sent.bundle))
}

fn take_piece(grid: &mut Grid, sent: &Sent, offset: u64, bytes: &[u8]) -> Result<Answer, OpsError> {
    if !grid.store.view().is_awaited(sent.bundle)? {
        return Err(OpsError::Refused("its files are not waited for any more: it has ended".to_owned()));
    }
    let path = part_of(grid, sent);
    let failed = |error: io::Error| OpsError::Refused(format!("its files can't be taken: {error}"));
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path).map_err(failed)?;
    // Several tasks may be sent with the same.
    file.lock().map_err(failed)?;
    let have = file.metadata().map_err(failed)?.len();
    // With each piece: several may have begun with the same room in view.
    if let Err(error) = room::ask(&file, sent.size - have.min(sent.size), RESERVE, "in this home") {
        // What is there of it would only take room.
        let _ = std::fs::remove_file(&path);
        return Err(OpsError::Refused(error.to_string()));
    }
    if offset != have || bytes.is_empty() || have + bytes.len() as u64 > sent.size {
        return Ok(Answer::Have { bytes: have });
    }
    file.write_all(bytes).inspect_err(|_| drop(std::fs::remove_file(&path))).map_err(failed)?;
    let have = have + bytes.len() as u64;
    if have < sent.size {
        return Ok(Answer::Have { bytes: have });
    }
    let whole = File::open(&path).and_then(archive::digest).map_err(failed)?;
    if whole != sent.bundle {
        file.set_len(0).map_err(failed)?;
        return Err(OpsError::Refused("its files came damaged".to_owned()));
    }
    file.sync_all().map_err(failed)?;
    arrived(grid, sent, Some(&path))?;
    Ok(Answer::Have { bytes: have })
}

/// The files are whole: tasks that wait for them may start.
fn arrived(grid: &mut Grid, sent: &Sent, part: Option<&std::path::Path>) -> Result<(), OpsError> {
    let (home, now) = (grid.store.home().clone(), Timestamp::now());
    let freed = grid.store.write(Durability::Full, |tx| {
        if let Some(part) = part {
            let to = home.sent_file(sent.bundle);
            tx.keep_bundle(sent, now, || {
                std::fs::rename(part, &to).map_err(|error| StoreError::Unwritable { path: to.clone(), error })?;
                home.settle(&home.sent())
            })?;
        }
        let mut ledger = Ledger::open(tx, now);
        let freed = ledger.files_came(sent.bundle)?;
        ledger.close()?;
        Ok::<_, OpsError>(freed)
    })?;
    if freed > 0 { dispatcher::wake(grid) } else { Ok(()) }
}

/// The results that the members of a task brought home.
pub fn list(grid: &Grid, what: Chosen) -> Result<Answer, OpsError> {
    let fetched = grid.store.view().fetched_of(what.task)?;
    let fetched = fetched.into_iter().filter(|f| what.index.is_none_or(|index| index == f.index));
    let all: Vec<RemoteResults> = fetched
        .map(|f| {
            let (archive, error) = match f.lies {
                Whereabouts::Nothing => (None, None),
                Whereabouts::Here { digest, size, files } => (Some((digest, size, files)), None),
                Whereabouts::There { error } => (None, Some(error)),
            };
            RemoteResults { index: f.index, number: f.number, archive, error, remarks: f.remarks }
        })
        .collect();
    let text = serde_json::to_string(&all).map_err(|error| OpsError::Grid(error.to_string()))?;
    Ok(Answer::Report(text))
}

/// A member's results, from an offset on.
#[derive(Debug, Clone, Copy)]
pub struct Rest {
    pub task: TaskId,
    pub index: Index,
    pub offset: u64,
}

/// Sends a member's results. `theirs`: to the task's client, which has all of them at the end.
pub fn give(asked: &OpenQuestion<'_>, grid: &mut Grid, rest: Rest, theirs: bool) -> Result<Answer, OpsError> {
    let &OpenQuestion { session, ticket, .. } = asked;
    let Rest { task, index, mut offset } = rest;
    let path = grid.store.home().fetched_file(task, index);
    let gone = |error: io::Error| OpsError::Refused(format!("what it brought is gone from its home: {error}"));
    let fetched = grid.store.view().fetched(task, index)?;
    let file = match (File::open(path), fetched) {
        (Err(error), Some(fetched)) => return Err(OpsError::Refused(fetch::why_gone(&fetched, &error.to_string()))),
        (opened, _) => opened.map_err(gone)?,
    };
    // Who was cut behind the last byte asks from the end on; behind the end nobody has come by reading.
    let marks = theirs && offset <= file.metadata().map_err(gone)?.len();
    let mut piece = vec![0; PIECE_MAX];
    while !session.is_dropped(ticket) {
        match file.read_at(&mut piece, offset) {
            Ok(0) if !marks => break,
            Ok(0) => {
                // Its client has all of it.
                let now = Timestamp::now();
                grid.store.write::<_, OpsError>(Durability::Normal, |tx| {
                    let remarks = tx.fetched(task, index)?.map(|fetched| fetched.remarks).unwrap_or_default();
                    Ok(tx.mark_unpacked(task, index, &remarks, now)?)
                })?;
                break;
            }
            Ok(got) => {
                let bytes = piece[..got].to_vec();
                session.pour(ticket, Answer::Output { index, stream: Stream::Out, bytes });
                offset += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(gone(error)),
        }
    }
    Ok(Answer::Done)
}
