//! Packs the results of an attempt: the files that patterns name and those that changed, with links that lead to the same place on any host.

use super::workdirs::SpoolDirs;
use crate::archive::links::{self, Leads, LinkSource};
use crate::archive::pack::{self, Added, Packed, Packer};
use crate::archive::pattern::Patterns;
use crate::archive::read::{self, EntryKind, ReadError};
use crate::archive::remarks::Remarks;
use crate::archive::room::{self, RESERVE};
use crate::archive::select;
use crate::archive::walk::{Tree, Walk};
use crate::model::files::{Fetch, RelPath, Workplace};
use crate::model::id::AttemptId;
use crate::model::resources::Bytes;
use crate::model::task::Launch;
use crate::protocol::agent::Packing;
use std::collections::HashMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Packs the results of an attempt, as long as they are `wanted`. If it fails, nothing of the archive is left.
pub fn pack(
    dirs: &SpoolDirs,
    attempt: AttemptId,
    launch: &Launch,
    wanted: &dyn Fn() -> bool,
) -> Result<Packing, String> {
    let dir = dirs.of(attempt);
    let (root, below) = match &launch.workplace {
        Workplace::Own(sent) => (dir.join("root"), sent.below.clone()),
        Workplace::There => (PathBuf::from(launch.cwd.as_os()), RelPath::default()),
    };
    let Some(fetch) = &launch.fetch else { return Err("nothing is wanted of it".to_owned()) };
    let source = LinkSource::new(&root, RelPath::default()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{} is gone", root.display()),
        _ => format!("{}: {error}", root.display()),
    })?;
    let sent = launch.workplace.sent().map(|_| dir.join("sent"));
    let mut remarks = Remarks::default();
    let tree = select(&root, &below, fetch, sent.as_deref(), wanted, &mut remarks)?;
    let to = dir.join("packed");
    let _ = DirBuilder::new().mode(0o700).create(&dir);
    let packed = write(&to, &tree, source, sent.as_deref(), wanted, &mut remarks).inspect_err(|_| {
        let _ = std::fs::remove_file(&to);
    })?;
    Ok(Packing { digest: packed.digest, size: packed.size, files: packed.files, remarks: remarks.into_lines() })
}

/// Selects the files to pack.
fn select(
    root: &Path,
    below: &RelPath,
    fetch: &Fetch,
    sent: Option<&Path>,
    wanted: &dyn Fn() -> bool,
    remarks: &mut Remarks,
) -> Result<Tree, String> {
    let patterns = Patterns::new(&fetch.patterns).map_err(|error| format!("--fetch {error}"))?;
    let mut search = Walk::bounded(wanted);
    let mut tree = Tree::new();
    if !patterns.is_empty() {
        let matched = select::matching(&root.join(below.as_path()), &patterns, &mut search);
        let matched = matched.map_err(|error| format!("--fetch: {error}"))?;
        for pattern in matched.without {
            remarks.add(format!("--fetch {}: nothing there", fetch.patterns[pattern]));
        }
        tree.extend(matched.tree.into_iter().map(|(path, from)| (below.join(&path), from)));
    }
    if let Some(sent) = sent.filter(|_| fetch.changed) {
        let sent = File::open(sent).map_err(|error| format!("{}: {error}", sent.display()))?;
        tree.extend(select::changed(root, &sent, &mut search).map_err(|error| error.to_string())?);
    }
    search.into_remarks().into_lines().into_iter().for_each(|line| remarks.add(line));
    Ok(tree)
}

/// Writes the archive.
fn write(
    to: &Path,
    tree: &Tree,
    source: LinkSource,
    sent: Option<&Path>,
    wanted: &dyn Fn() -> bool,
    remarks: &mut Remarks,
) -> Result<Packed, String> {
    let dir = to.parent().unwrap_or(to);
    room::ask_in(dir, pack::room_for(tree), RESERVE).map_err(|error| error.to_string())?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let file = file.map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut packer = Packer::new(Wanted { file, wanted });
    let mut links = OutwardLinks { sources: [source], sent, known: None };
    for (path, from) in tree {
        let mut out = None;
        let added = packer.add(path, from, |target| match links::leads(&links.sources, path, from, &target) {
            Leads::Inside { target } => Some(target),
            Leads::Out => {
                out = Some(target);
                None
            }
        });
        match added {
            Ok(Added::Whole) => {}
            Ok(Added::Sparse { size, data }) => {
                remarks.add(format!("{path}: {} long, with {} of data", Bytes(size), Bytes(data)))
            }
            // It is as it was sent: the client has it.
            Ok(Added::LeftOut) if out.as_ref().is_some_and(|target| links.was_sent(path, target)) => {}
            Ok(Added::LeftOut) => {
                let target = out.unwrap_or_default();
                let target = String::from_utf8_lossy(&target);
                remarks.add(format!("{path}: a link to {target}, which leads out of the task's directory; left out"));
            }
            // Found out before anything of it was written.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
                ) =>
            {
                remarks.add(format!("{path}: {error}; left out"));
            }
            Err(error) => return Err(format!("{path}: {error}")),
        }
    }
    let (_, packed) = packer.finish().map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(packed)
}

/// Links that lead out of the directory, and those that were sent.
struct OutwardLinks<'a> {
    sources: [LinkSource; 1],
    sent: Option<&'a Path>,
    /// Of what was sent; read when the first link leads out.
    known: Option<HashMap<RelPath, Vec<u8>>>,
}

impl OutwardLinks<'_> {
    fn was_sent(&mut self, path: &RelPath, target: &[u8]) -> bool {
        let Some(sent) = self.sent else { return false };
        self.known.get_or_insert_with(|| targets(sent).unwrap_or_default()).get(path).is_some_and(|sent| sent == target)
    }
}

fn targets(sent: &Path) -> Result<HashMap<RelPath, Vec<u8>>, ReadError> {
    let mut all = HashMap::new();
    read::entries(&File::open(sent)?, |path, kind, _| {
        if let EntryKind::Link { target } = kind {
            all.insert(path, target);
        }
        Ok::<_, ReadError>(())
    })?;
    Ok(all)
}

/// A file that is written as long as it is wanted.
struct Wanted<'a> {
    file: File,
    wanted: &'a dyn Fn() -> bool,
}

impl Write for Wanted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !(self.wanted)() {
            return Err(io::Error::other("given up: it is not wanted any more"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
