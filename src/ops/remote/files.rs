//! Files of a task in another home: sent there once it was taken, and brought here once it has ended, over the link by which
//! it was submitted.

use super::owner::{report, send_verb};
use crate::archive::Hashing;
use crate::archive::room::{self, RESERVE};
use crate::distributor::members::words_of;
use crate::distributor::peers::silently;
use crate::model::files::{Digest, Sent};
use crate::model::id::{Index, TaskId};
use crate::ops::selecting::Chosen;
use crate::ops::{Grid, OpsError};
use crate::protocol::distributor::{Answer, PIECE_MAX, Verb};
use crate::store::away::Away;
use crate::store::files::{Fetched, Whereabouts};
use crate::store::{Durability, Home};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The results of a member that its own home has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteResults {
    pub index: Index,
    pub number: u32,
    /// With its size and the number of files; None: nothing.
    pub archive: Option<(Digest, u64, u64)>,
    pub error: Option<String>,
    pub remarks: Vec<String>,
}

/// Sends the files of a task to the home that took it, from the offset that an earlier try reached.
pub fn send(grid: &mut Grid, away: &Away) -> Result<(), OpsError> {
    let Some(sent) = grid.store.view().files_of(away.task)?.0.sent().cloned() else { return Ok(()) };
    let mut piece = Verb::Send { offset: 0, bytes: Vec::new() };
    let mut before = None;
    loop {
        let have = match send_verb(grid, away, piece, &mut silently)? {
            Answer::Have { bytes } => bytes,
            other => return Err(OpsError::Refused(words_of(other))),
        };
        if have >= sent.size {
            return Ok(());
        }
        if before.replace(have).is_some_and(|before| before >= have) {
            return Err(OpsError::Refused("the other home takes no more of its files".to_owned()));
        }
        let bytes = read(grid.store.home(), &sent, have)?;
        piece = Verb::Send { offset: have, bytes };
    }
}

fn read(home: &Home, sent: &Sent, offset: u64) -> Result<Vec<u8>, OpsError> {
    let path = home.sent_file(sent.bundle);
    let left = usize::try_from(sent.size - offset).unwrap_or(usize::MAX);
    let mut bytes = vec![0; left.min(PIECE_MAX)];
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, offset));
    read.map_err(|error| OpsError::Grid(format!("{}: {error}", path.display())))?;
    Ok(bytes)
}

/// Brings the results of a task's members here from its own home. They are unpacked as if it had run here.
pub fn bring(grid: &mut Grid, away: &Away, what: Chosen) -> Result<(), OpsError> {
    let all: Vec<RemoteResults> = report(grid, away, Verb::Fetched { index: what.index })?;
    for there in all {
        let known = grid.store.view().fetched(what.task, there.index)?.filter(|f| f.number == there.number);
        if known.is_some_and(|f| !matches!(f.lies, Whereabouts::There { .. })) {
            continue;
        }
        let lies = match (there.error, there.archive) {
            (Some(error), _) => Whereabouts::There { error },
            (None, None) => Whereabouts::Nothing,
            (None, Some((digest, size, files))) => {
                match stream(grid, away, &RemoteArchive { task: what.task, index: there.index, digest, size }) {
                    Ok(()) => Whereabouts::Here { digest, size, files },
                    Err(error) => Whereabouts::There { error: error.to_string() },
                }
            }
        };
        let RemoteResults { index, number, remarks, .. } = there;
        let fetched = Fetched { index, number, lies, remarks, unpacked_at: None, not_unpacked: None, dropped_at: None };
        grid.store.write(Durability::Full, |tx| Ok::<_, OpsError>(tx.keep_fetched(what.task, &fetched)?))?;
    }
    Ok(())
}

/// A member's results, in its own home.
struct RemoteArchive {
    /// The task's id here.
    task: TaskId,
    index: Index,
    digest: Digest,
    size: u64,
}

/// Brings one archive, from the offset that an earlier try reached.
fn stream(grid: &mut Grid, away: &Away, archive: &RemoteArchive) -> Result<(), OpsError> {
    let &RemoteArchive { task, index, digest, size } = archive;
    let to = grid.store.home().fetched_file(task, index);
    let part = to.with_file_name(format!("{task}.{index}.part"));
    let failed = |error: io::Error| OpsError::Grid(format!("{}: {error}", part.display()));
    for _ in 0..2 {
        let mut hashing = opened(&part, size).map_err(failed)?;
        if hashing.len() == size && hashing.digest() != digest {
            // Its home would take the question from the end on for a word that all has come.
            hashing.inner().set_len(0).map_err(failed)?;
            hashing = opened(&part, size).map_err(failed)?;
        }
        if let Err(error) = room::ask(hashing.inner(), size.saturating_sub(hashing.len()), RESERVE, "here") {
            let _ = std::fs::remove_file(&part);
            return Err(OpsError::Grid(error.to_string()));
        }
        let mut written = Ok(());
        let verb = Verb::Fetch { index, offset: hashing.len() };
        let said = send_verb(grid, away, verb, &mut |word| {
            if let Answer::Output { bytes, .. } = word {
                written = match hashing.len() + bytes.len() as u64 {
                    len if len > size => Err(io::Error::other("more came than its home said")),
                    _ => hashing.write_all(&bytes),
                };
            }
            written.is_ok()
        });
        // What is there of it would only take room.
        written.inspect_err(|_| drop(std::fs::remove_file(&part))).map_err(failed)?;
        match said? {
            Answer::Done => {}
            other => return Err(OpsError::Refused(words_of(other))),
        }
        if hashing.digest() == digest {
            hashing.inner().sync_all().and_then(|()| std::fs::rename(&part, &to)).map_err(failed)?;
            return Ok(grid.store.home().settle(&grid.store.home().fetched())?);
        }
        // What was left of an earlier try may have been another attempt's.
        hashing.inner().set_len(0).map_err(failed)?;
    }
    Err(OpsError::Grid("it came damaged".to_owned()))
}

fn opened(part: &Path, size: u64) -> io::Result<Hashing<File>> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(part)?;
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    let mut hashing = Hashing::new(file.try_clone()?);
    hashing.take_in(&file)?;
    Ok(hashing)
}
