//! `grid fetch`, and the end of `run` and `wait`: what a task brought home is unpacked where it was submitted.
//! Nothing is written outside of that directory, and no file that was changed here since is overwritten.

use super::report::{self, FetchedFiles, Landed, Landing};
use super::selecting::Chosen;
use super::{Grid, OpsError, elsewhere, files_elsewhere, member_state};
use crate::archive::read::{self, Kind, ReadError};
use crate::archive::root::{self, Root};
use crate::archive::select::{Asked, same_bytes};
use crate::dispatch::start::{self, StartError};
use crate::model::files::RelPath;
use crate::model::id::{Index, TaskId};
use crate::model::resources::Bytes;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::files::{Fetched, Whereabouts};
use crate::store::tasks::{Shape, TaskRow};
use crate::store::{Durability, View};
use rustix::fs::FileType;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Which of what was brought home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What nobody has unpacked yet; nothing is no fault.
    New,
    /// All of it, again if need be; that there is nothing is to be told.
    All,
}

/// Unpacks what these brought home, each member's below the directory in which it was submitted, or below `to`.
pub fn fetch(grid: &mut Grid, what: &[Chosen], to: Option<&Path>, which: Which) -> Result<Vec<FetchedFiles>, OpsError> {
    let mut all = Vec::new();
    for chosen in what {
        let away = match elsewhere::away(grid, *chosen)? {
            None => false,
            Some(away) => {
                let fetches = grid.store.view().files_of(chosen.task)?.1.is_some();
                // What has come before can be unpacked all the same.
                if fetches && let Err(error) = files_elsewhere::bring(grid, &away, *chosen) {
                    all.push(failed(chosen.to_string(), &error));
                }
                true
            }
        };
        let view = grid.store.view();
        let row = view.task(chosen.task)?.ok_or_else(|| OpsError::unknown("task", &chosen.to_string(), []))?;
        let mut brought = match brought(&view, *chosen, which, away) {
            // Of several some may bring nothing.
            Err(OpsError::Refused(_)) if what.len() > 1 && member_state(&view, *chosen)?.ended() => continue,
            found => found?,
        };
        for fetched in
            brought.iter_mut().filter(|f| which == Which::All && !away && matches!(f.lies, Whereabouts::There { .. }))
        {
            *fetched = once_more(grid, row.id, fetched.index)?.unwrap_or_else(|| fetched.clone());
        }
        let view = grid.store.view();
        let Some(fetch) = view.launch(chosen.task)?.and_then(|launch| launch.fetch) else { continue };
        let into = match to {
            Some(dir) => dir.to_owned(),
            None if !fetch.into.as_bytes().is_empty() => PathBuf::from(fetch.into.as_os()),
            // It was submitted elsewhere, and is unpacked there.
            None if which == Which::New => continue,
            None => {
                return Err(OpsError::Usage(format!("{chosen} was submitted elsewhere; name a directory with --to")));
            }
        };
        for fetched in brought {
            let done = one(grid, &row, &fetched, &into)?;
            grid.store.write(Durability::Normal, |tx| {
                Ok::<_, OpsError>(tx.mark_unpacked(row.id, fetched.index, Timestamp::now())?)
            })?;
            all.push(done);
        }
    }
    Ok(all)
}

/// What could not be brought home at the end is asked for again.
fn once_more(grid: &Grid, task: TaskId, index: Index) -> Result<Option<Fetched>, OpsError> {
    let failed = |error: StartError| OpsError::Grid(error.to_string());
    let bring = ToDispatcher::Bring { task, index };
    let mut open = start::call(grid.store.home(), &grid.login, &bring).map_err(failed)?;
    // None: its server can't be reached, and the words of the last time stand.
    while let Some(word) = open.receive().map_err(failed)? {
        if matches!(word, FromDispatcher::Brought { .. }) {
            break;
        }
    }
    Ok(grid.store.view().fetched(task, index)?)
}

fn failed(id: String, error: &OpsError) -> FetchedFiles {
    let error = Some(format!("its files are not here yet: {error}"));
    FetchedFiles { id, directory: String::new(), files: Vec::new(), remarks: Vec::new(), error }
}

/// What the chosen members brought.
fn brought(view: &View<'_>, chosen: Chosen, which: Which, away: bool) -> Result<Vec<Fetched>, OpsError> {
    let mut found = view.fetched_of(chosen.task)?;
    found.retain(|f| chosen.index.is_none_or(|index| index == f.index));
    // Those of an earlier attempt are not what one waits for while there is another.
    let ended =
        |f: &Fetched| view.member(chosen.task, f.index).map(|m| away || m.is_some_and(|m| m.phase.state().ended()));
    let ended = found.iter().map(ended).collect::<Result<Vec<_>, _>>()?;
    let mut ended = ended.into_iter();
    found.retain(|_| ended.next().unwrap_or(false));
    if which == Which::New {
        found.retain(|f| f.unpacked_at.is_none());
        return Ok(found);
    }
    if found.is_empty() {
        let fetches = view.launch(chosen.task)?.is_some_and(|launch| launch.fetch.is_some());
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

fn one(grid: &Grid, row: &TaskRow, fetched: &Fetched, into: &Path) -> Result<FetchedFiles, OpsError> {
    let id = name_of(row, fetched.index);
    let mut done = FetchedFiles {
        id: id.clone(),
        directory: into.to_string_lossy().into_owned(),
        files: Vec::new(),
        remarks: fetched.remarks.clone(),
        error: None,
    };
    match &fetched.lies {
        Whereabouts::Nothing => {}
        Whereabouts::There { error } => done.error = Some(format!("its files could not be brought home: {error}")),
        Whereabouts::Here { .. } => {
            let home = grid.store.home();
            let path = home.fetched_file(row.id, fetched.index);
            let archive = match File::open(&path) {
                Ok(archive) => archive,
                Err(error) => {
                    done.error = Some(format!("what it brought is gone: {}: {error}", path.display()));
                    return Ok(done);
                }
            };
            let Some(launch) = grid.store.view().launch(row.id)? else { return Ok(done) };
            let sent = launch.workplace.sent().and_then(|sent| File::open(home.sent_file(sent.bundle)).ok());
            match Client::open(into, &id, row.submitted_at, sent) {
                Ok(client) => match client.check(&launch, &archive).and_then(|()| client.unpack(&archive)) {
                    Ok(files) => done.files = files,
                    Err(error) => done.error = Some(format!("refused: {error}")),
                },
                Err(error) => done.error = Some(format!("{}: {error}; name another one with --to", into.display())),
            }
        }
    }
    Ok(done)
}

/// What `show` tells of the files of a task, or of one member.
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
    let fetched = view.fetched_of(row.id)?.into_iter().filter(|f| index.is_none_or(|index| index == f.index));
    let brought = |f: Fetched| {
        let (size, files, error) = match f.lies {
            Whereabouts::Nothing => (0, 0, None),
            Whereabouts::Here { size, files, .. } => (size, files, None),
            Whereabouts::There { error } => (0, 0, Some(error)),
        };
        report::Brought { id: name_of(row, f.index), size: Bytes(size), files, error, unpacked_at: f.unpacked_at }
    };
    Ok(Some(report::Files {
        sent: sent.map(|sent| report::Archive {
            digest: sent.bundle.to_string(),
            size: Bytes(sent.size),
            files: sent.files,
        }),
        fetch: fetch.map(|f| f.patterns.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        changed: fetch.is_some_and(|f| f.changed),
        fetched: fetched.map(brought).collect(),
    }))
}

fn name_of(row: &TaskRow, index: Index) -> String {
    if row.shape == Shape::Single { row.id.to_string() } else { format!("{}.{index}", row.id) }
}

/// The directory of a client, and what it held at the submit.
struct Client {
    root: Root,
    /// Of files that have to land beside others.
    suffix: String,
    submitted_at: Timestamp,
    sent: HashMap<RelPath, Kind>,
    /// What was sent, whole.
    archive: Option<File>,
}

impl Client {
    fn open(into: &Path, id: &str, submitted_at: Timestamp, sent: Option<File>) -> Result<Self, io::Error> {
        let root = Root::open(into)?;
        let mut known = HashMap::new();
        if let Some(sent) = &sent {
            read::entries(sent, |path, kind, _| {
                known.insert(path, kind);
                Ok::<_, ReadError>(())
            })
            .map_err(io::Error::other)?;
        }
        Ok(Self { root, suffix: format!(".grid-{id}"), submitted_at, sent: known, archive: sent })
    }

    /// Is all of it what was asked for? With `--dir` that is whatever is new or changed, but nothing of a repository's own.
    fn check(&self, launch: &Launch, archive: &File) -> Result<(), ReadError> {
        let Some(fetch) = &launch.fetch else { return Ok(()) };
        let root = RelPath::default();
        let below = launch.workplace.sent().map_or(&root, |sent| &sent.below);
        let asked = Asked::new(fetch, below).map_err(io::Error::other)?;
        let changed = |path: &RelPath| path.names().all(|name| name != ".git") || self.sent.contains_key(path);
        read::entries(archive, |path, _, _| match asked.names(&path) || fetch.changed && changed(&path) {
            true => Ok(()),
            false => Err(ReadError::Kind { path: path.to_string(), what: "something that was not asked for" }),
        })
    }

    /// Unpacks everything, or refuses the whole before anything is written.
    fn unpack(&self, archive: &File) -> Result<Vec<Landed>, ReadError> {
        read::entries(archive, |path, kind, _| match kind {
            Kind::Link { target } if !stays_inside(&path, &target) => {
                Err(ReadError::Kind { path: path.to_string(), what: "a link that leads out of its directory" })
            }
            _ => Ok(()),
        })?;
        let mut files = Vec::new();
        read::entries(archive, |path, kind, bytes| {
            let landing = match &kind {
                Kind::Dir { mode } => self.root.dir(&path, *mode).map(|()| None),
                Kind::Link { target } => self.link(&path, target).map(Some),
                Kind::File { .. } => self.file(&path, &kind, archive, bytes).map(Some),
            };
            let landing = landing.unwrap_or_else(|error| Some(Landing::Refused { why: error.to_string() }));
            files.extend(landing.map(|landing| Landed { path: path.to_string(), landing }));
            Ok::<_, ReadError>(())
        })?;
        Ok(files)
    }

    fn link(&self, path: &RelPath, target: &[u8]) -> io::Result<Landing> {
        let Some(there) = self.root.look(path)? else {
            return self.root.link(path, target).map(|()| Landing::Written);
        };
        if root::kind(&there) == FileType::Symlink && self.root.read_link(path)? == target {
            return Ok(Landing::Same);
        }
        let new = self.new_name(path);
        if self.is_unchanged(path, &there)? {
            self.root.link(&new, target)?;
            return self.put(&new, path).map(|()| Landing::Written);
        }
        self.beside(path, |beside| self.root.link(beside, target), |_| Ok(false))
    }

    fn file(&self, path: &RelPath, kind: &Kind, archive: &File, bytes: &mut dyn Read) -> io::Result<Landing> {
        let Kind::File { size, mtime, mode, at } = kind else { return Ok(Landing::Same) };
        let write = |to: &RelPath, bytes: &mut dyn Read| {
            let mut file = self.root.create(to, *mode)?;
            let written = root::fill(&mut file, bytes, *size).and_then(|()| root::finish(&file, *mode, *mtime));
            // Half a file would be taken for a whole one.
            written.inspect_err(|_| drop(self.root.remove(to)))
        };
        let is_same = |path: &RelPath, there: &rustix::fs::Stat| -> io::Result<bool> {
            Ok(root::kind(there) == FileType::RegularFile
                && u64::try_from(there.st_size).ok() == Some(*size)
                && same_bytes(&self.root.read(path)?, archive, *at, *size)?)
        };
        let new = self.new_name(path);
        let Some(there) = self.root.look(path)? else {
            write(&new, bytes)?;
            return self.put(&new, path).map(|()| Landing::Written);
        };
        if is_same(path, &there)? && (there.st_mode & 0o111 == 0) == (mode & 0o111 == 0) {
            return Ok(Landing::Same);
        }
        if self.is_unchanged(path, &there)? {
            write(&new, bytes)?;
            return self.put(&new, path).map(|()| Landing::Written);
        }
        self.beside(
            path,
            |beside| write(beside, bytes),
            |beside| match self.root.look(beside)? {
                Some(there) => is_same(beside, &there),
                None => Ok(false),
            },
        )
    }

    /// A name that nobody has, in the same directory.
    fn new_name(&self, path: &RelPath) -> RelPath {
        path.beside(&format!("{}.new-{}", self.suffix, std::process::id()))
    }

    fn put(&self, new: &RelPath, path: &RelPath) -> io::Result<()> {
        self.root.rename(new, path).inspect_err(|_| drop(self.root.remove(new)))
    }

    /// Is what lies there still what was sent, or older than the submit?
    fn is_unchanged(&self, path: &RelPath, there: &rustix::fs::Stat) -> io::Result<bool> {
        let kind = root::kind(there);
        Ok(match self.sent.get(path) {
            // Times can be set, and are: what is to be overwritten is compared.
            Some(Kind::File { size, at, .. }) => {
                let is_one = kind == FileType::RegularFile && u64::try_from(there.st_size).ok() == Some(*size);
                is_one
                    && self
                        .archive
                        .as_ref()
                        .map_or(Ok(false), |sent| same_bytes(&self.root.read(path)?, sent, *at, *size))?
            }
            Some(Kind::Link { target }) => kind == FileType::Symlink && self.root.read_link(path)? == *target,
            Some(Kind::Dir { .. }) => false,
            // It was not sent: the time of its last change, which no program sets back, says it.
            None => {
                let changed =
                    there.st_ctime.saturating_mul(1000) + i64::try_from(there.st_ctime_nsec).unwrap_or(0) / 1_000_000;
                kind != FileType::Directory && changed < self.submitted_at.0
            }
        })
    }

    /// Lands beside what was changed here: `NAME.grid-ID`.
    fn beside(
        &self,
        path: &RelPath,
        write: impl FnOnce(&RelPath) -> io::Result<()>,
        is_there: impl Fn(&RelPath) -> io::Result<bool>,
    ) -> io::Result<Landing> {
        for number in 1..1000 {
            let more = if number == 1 { String::new() } else { format!(".{number}") };
            let name = path.beside(&format!("{}{more}", self.suffix));
            if self.root.look(&name)?.is_none() {
                write(&name)?;
                return Ok(Landing::Beside { name: name.to_string() });
            }
            if is_there(&name)? {
                return Ok(Landing::Beside { name: name.to_string() });
            }
        }
        Err(io::Error::other("a thousand of its kind lie there already"))
    }
}

/// Does a link at this path lead to a place below the directory? Only `..` at its beginning, and not too many:
/// then this holds wherever other such links lead on the way.
fn stays_inside(path: &RelPath, target: &[u8]) -> bool {
    let depth = path.names().count().saturating_sub(1);
    let absolute = target.starts_with(b"/");
    let mut names = target.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let up = names.by_ref().take_while(|name| *name == b"..").count();
    // `take_while` has eaten the first other name, which is no `..`.
    !absolute && up <= depth && names.all(|name| name != b"..")
}

#[cfg(test)]
mod tests;
