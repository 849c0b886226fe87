//! `grid fetch`, and the end of `run` and `wait`: unpacks the results of a task in the directory where it was submitted.
//! Nothing is written outside that directory, and no file that was changed since the submit is overwritten.

use super::report::{self, FetchedFiles, Landing};
use super::selecting::Chosen;
use super::{Grid, OpsError, member_state, remote};
use crate::archive::unpack::UnpackError;
use crate::dispatch::client::start;
use crate::model::id::{Index, TaskId};
use crate::model::resources::Bytes;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::files::{Fetched, Whereabouts};
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{Durability, View};
use landing::ClientDirectory;
use std::fs::File;
use std::path::{Path, PathBuf};

mod landing;

/// Which results to unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultsToFetch {
    /// Results that are not unpacked yet, and the remarks on the others; no error if there are none.
    New,
    /// All results, also those that were unpacked before; an error if there are none.
    All,
}

/// Unpacks the results of members, each below the directory in which it was submitted, or below `to`.
pub fn fetch(
    grid: &mut Grid,
    what: &[Chosen],
    to: Option<&Path>,
    which: ResultsToFetch,
) -> Result<Vec<FetchedFiles>, OpsError> {
    let mut all = Vec::new();
    for chosen in what {
        let away = match remote::away(grid, *chosen)? {
            None => false,
            Some(away) => {
                let fetches = grid.store.view().files_of(chosen.task)?.1.is_some();
                // Results that arrived earlier can be unpacked.
                if fetches && let Err(error) = remote::files::bring(grid, &away, *chosen) {
                    all.push(failed(chosen.to_string(), &error));
                }
                true
            }
        };
        let view = grid.store.view();
        let row = view.task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.to_string(), []))?;
        let mut brought = match results_of(&view, *chosen, which, away) {
            // With several choices some may have no results.
            Err(OpsError::Refused(_)) if what.len() > 1 && member_state(&view, *chosen)?.ended() => continue,
            found => found?,
        };
        for fetched in brought
            .iter_mut()
            .filter(|f| which == ResultsToFetch::All && !away && matches!(f.lies, Whereabouts::There { .. }))
        {
            *fetched = request_again(grid, row.id, fetched.index)?.unwrap_or_else(|| fetched.clone());
        }
        let view = grid.store.view();
        let Some(fetch) = view.launch_if_readable(chosen.task)?.and_then(|launch| launch.fetch) else { continue };
        let into = match to {
            Some(dir) => dir.to_owned(),
            None if !fetch.into.as_bytes().is_empty() => PathBuf::from(fetch.into.as_os()),
            // A task that was submitted elsewhere is unpacked there.
            None if which == ResultsToFetch::New => continue,
            None => {
                return Err(OpsError::Usage(format!("{chosen} was submitted elsewhere; name a directory with --to")));
            }
        };
        for fetched in brought {
            if which == ResultsToFetch::New && fetched.unpacked_at.is_some() {
                all.push(FetchedFiles { remarks: fetched.remarks, ..FetchedFiles::of(name_of(&row, fetched.index)) });
                continue;
            }
            let done = unpack_results(grid, &row, &fetched, &into)?;
            grid.store.write(Durability::Normal, |tx| match done.not_whole() {
                None => tx.mark_unpacked(row.id, fetched.index, &done.remarks, Timestamp::now()),
                Some(words) => tx.keep_not_unpacked(row.id, fetched.index, &words),
            })?;
            all.push(done);
        }
    }
    Ok(all)
}

/// Requests results again that could not be fetched when the member ended.
fn request_again(grid: &Grid, task: TaskId, index: Index) -> Result<Option<Fetched>, OpsError> {
    let bring = ToDispatcher::Bring { task, index };
    let mut open = start::call(grid.store.home(), &grid.login, &bring)?;
    // None: its server can't be reached, and the last error stays.
    while let Some(word) = open.receive()? {
        if matches!(word, FromDispatcher::Brought { .. }) {
            break;
        }
    }
    Ok(grid.store.view().fetched(task, index)?)
}

fn failed(id: String, error: &OpsError) -> FetchedFiles {
    FetchedFiles { error: Some(format!("its files are not here yet: {error}")), ..FetchedFiles::of(id) }
}

/// The results of the chosen members.
fn results_of(view: &View<'_>, chosen: Chosen, which: ResultsToFetch, away: bool) -> Result<Vec<Fetched>, OpsError> {
    let mut found = view.fetched_of(chosen.task)?;
    found.retain(|f| chosen.index.is_none_or(|index| index == f.index));
    // Results of an earlier attempt do not count while another attempt runs.
    let ended = |f: &Fetched| view.member(chosen.task, f.index).map(|m| away || m.is_some_and(|m| m.has_ended()));
    let ended = found.iter().map(ended).collect::<Result<Vec<_>, _>>()?;
    let mut ended = ended.into_iter();
    found.retain(|_| ended.next().unwrap_or(false));
    if which == ResultsToFetch::New {
        found.retain(|f| f.unpacked_at.is_none() || !f.remarks.is_empty());
        return Ok(found);
    }
    if found.is_empty() {
        let fetches = view.launch_if_readable(chosen.task)?.is_some_and(|launch| launch.fetch.is_some());
        let state = member_state(view, chosen)?;
        return Err(OpsError::Refused(if !fetches {
            format!("{chosen} brings nothing back: it was submitted without --fetch and --dir")
        } else if state.ended() {
            format!("{chosen} brought nothing back ({state})")
        } else {
            format!("{chosen} is {state}: its files come when it has ended")
        }));
    }
    Ok(found)
}

fn unpack_results(grid: &Grid, row: &TaskRow, fetched: &Fetched, into: &Path) -> Result<FetchedFiles, OpsError> {
    let id = name_of(row, fetched.index);
    let mut done = FetchedFiles {
        directory: into.to_string_lossy().into_owned(),
        remarks: fetched.remarks.clone(),
        ..FetchedFiles::of(id.clone())
    };
    match &fetched.lies {
        Whereabouts::Nothing => {}
        Whereabouts::There { error } => {
            let server = server_of(&grid.store.view(), row, fetched.index)?;
            done.error = Some(format!(
                "its files could not be brought home: {error}; they are still on {server}, `grid fetch {id}` asks again"
            ));
        }
        Whereabouts::Here { .. } => match unpack_archive(grid, row, fetched, into, &id)? {
            Ok(files) => {
                let left_out = files.iter().filter_map(|file| match &file.landing {
                    Landing::LeftOut { why } => Some(format!("{}: {why}; left out", file.path)),
                    _ => None,
                });
                let new: Vec<String> = left_out.filter(|remark| !done.remarks.contains(remark)).collect();
                done.remarks.extend(new);
                done.files = files;
            }
            Err(error) => done.error = Some(error),
        },
    }
    Ok(done)
}

/// Unpacks one archive. The inner error says why nothing was unpacked, and what to do.
fn unpack_archive(
    grid: &Grid,
    row: &TaskRow,
    fetched: &Fetched,
    into: &Path,
    id: &str,
) -> Result<Result<Vec<report::Landed>, String>, OpsError> {
    let home = grid.store.home();
    let path = home.fetched_file(row.id, fetched.index);
    let archive = match File::open(&path) {
        Ok(archive) => archive,
        Err(error) => return Ok(Err(why_gone(fetched, &format!("{}: {error}", path.display())))),
    };
    let Some(launch) = grid.store.view().launch(row.id)? else { return Ok(Ok(Vec::new())) };
    let sent = launch.workplace.sent().and_then(|sent| File::open(home.sent_file(sent.bundle)).ok());
    Ok(match ClientDirectory::open(into, id, row.submitted_at, sent) {
        Ok(client) => match client.check(&launch, &archive) {
            Ok(()) => client.unpack(&archive).map_err(|error| match error {
                UnpackError::NoRoom(_) => format!("{}: {error}; `grid fetch {id}` tries again", into.display()),
                _ => format!("refused: {error}; its results are kept in {}", path.display()),
            }),
            Err(error) => Err(format!("refused: {error}; its results are kept in {}", path.display())),
        },
        Err(error) => Err(format!("{}: {error}; `grid fetch {id} --to DIR` unpacks it elsewhere", into.display())),
    })
}

/// Why an archive is gone.
pub(super) fn why_gone(fetched: &Fetched, error: &str) -> String {
    match fetched.dropped_at {
        Some(at) => format!(
            "its results are gone: gc removed them at {}: results are kept as long as outputs (`grid config get keep_outputs`)",
            at.local()
        ),
        None => format!("its results are gone: {error}"),
    }
}

/// The server on which a member ran last.
fn server_of(view: &View<'_>, row: &TaskRow, index: Index) -> Result<String, OpsError> {
    let server = view.member(row.id, index)?.and_then(|member| member.server());
    let name = server.map_or(Ok(None), |server| view.server_name(server))?;
    Ok(name.map_or_else(|| format!("its server in {}", row.holder()), |name| name.to_string()))
}

/// The reason in `status` for an ended task whose files are not all here.
pub(super) fn not_whole(view: &View<'_>, row: &TaskRow) -> Result<Option<String>, OpsError> {
    let Some((fetched, of)) = view.not_brought_whole(row.id)? else { return Ok(None) };
    let id = name_of(row, fetched.index);
    let words = match (fetched.lies, fetched.not_unpacked) {
        (Whereabouts::There { error }, _) => {
            let server = server_of(view, row, fetched.index)?;
            format!("its files are still on {server}: {error}; `grid fetch {id}` asks again")
        }
        (_, Some(words)) => format!("its files are not all here: {words}"),
        _ => fetched.remarks.into_iter().next().unwrap_or_default(),
    };
    Ok(Some(if of > 1 { format!("{id}: {words}; and {} members more", of - 1) } else { words }))
}

/// The files of a task, or of one member, for `show`.
pub(super) fn files(
    view: &View<'_>,
    row: &TaskRow,
    index: Option<Index>,
    launch: &Launch,
) -> Result<Option<report::Files>, OpsError> {
    let (sent, fetch) = (launch.workplace.sent(), launch.fetch.as_ref());
    if sent.is_none() && fetch.is_none() {
        return Ok(None);
    }
    Ok(Some(report::Files {
        sent: sent.map(|sent| report::Archive {
            digest: sent.bundle.to_string(),
            size: Bytes(sent.size),
            files: sent.files,
        }),
        fetch: fetch.map(|f| f.patterns.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        changed: fetch.is_some_and(|f| f.changed),
        fetched: results_here(view, row, index)?,
    }))
}

/// The results that this home has.
fn results_here(view: &View<'_>, row: &TaskRow, index: Option<Index>) -> Result<Vec<report::ResultsReport>, OpsError> {
    let fetched = view.fetched_of(row.id)?.into_iter().filter(|f| index.is_none_or(|index| index == f.index));
    let brought = |f: Fetched| {
        let (size, files, error) = match f.lies {
            Whereabouts::Nothing => (0, 0, None),
            Whereabouts::Here { size, files, .. } => (size, files, None),
            Whereabouts::There { error } => (0, 0, Some(error)),
        };
        report::ResultsReport {
            id: name_of(row, f.index),
            size: Bytes(size),
            files,
            error,
            unpacked_at: f.unpacked_at,
            not_unpacked: f.not_unpacked,
            remarks: f.remarks,
        }
    };
    Ok(fetched.map(brought).collect())
}

/// Changes the owner's report of files to this home's ids, and its results to this home's state of them.
pub(super) fn as_ours(
    view: &View<'_>,
    row: &TaskRow,
    index: Option<Index>,
    files: Option<&mut report::Files>,
    theirs: TaskId,
) -> Result<(), OpsError> {
    let Some(files) = files else { return Ok(()) };
    let here = results_here(view, row, index)?;
    for brought in &mut files.fetched {
        if let Some(index) = brought.id.strip_prefix(&theirs.to_string()) {
            brought.id = format!("{}{index}", row.id);
        }
        if let Some(ours) = here.iter().find(|ours| ours.id == brought.id) {
            *brought = ours.clone();
        }
    }
    Ok(())
}

fn name_of(row: &TaskRow, index: Index) -> String {
    if row.shape == Shape::Single { row.id.to_string() } else { format!("{}.{index}", row.id) }
}
