//! Which file a home's database is, and where it lies: nothing is written to one that was removed, moved or replaced while it was
//! open, and a copy is told from the home that it was copied from.

use super::{Home, Result, Store, StoreError};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A file as its file system knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: (u32, u32),
    pub(super) inode: u64,
    /// When it was made, in nanoseconds; `None` where the file system doesn't say. A copy has a time of its own.
    pub(super) born: Option<i64>,
}

impl FileId {
    /// The file at a path now.
    pub(super) fn at(path: &Path) -> std::result::Result<Self, Errno> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = match statx(CWD, path, AtFlags::STATX_SYNC_AS_STAT, wanted) {
            // Kernels before 4.11.
            Err(Errno::NOSYS) => return Self::without_birth(path),
            found => found?,
        };
        let born = found.stx_btime.tv_sec.checked_mul(1_000_000_000);
        Ok(Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            born: born
                .and_then(|born| born.checked_add(i64::from(found.stx_btime.tv_nsec)))
                .filter(|_| found.stx_mask & StatxFlags::BTIME.bits() != 0),
        })
    }

    fn without_birth(path: &Path) -> std::result::Result<Self, Errno> {
        let found = rustix::fs::stat(path)?;
        let device = (rustix::fs::major(found.st_dev), rustix::fs::minor(found.st_dev));
        Ok(Self { device, inode: found.st_ino, born: None })
    }

    /// Is it one file under two names? Both must be there at once.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The database file that is open, and where it lay when it was opened.
#[derive(Debug)]
pub(super) struct OpenFile {
    path: PathBuf,
    pub(super) id: FileId,
}

impl OpenFile {
    /// Notes the file at a path. Call it before the file is opened: one that is replaced in between is refused then, not mistaken.
    pub(super) fn note(path: PathBuf) -> Result<Self> {
        match FileId::at(&path) {
            Ok(id) => Ok(Self { path, id }),
            Err(error) => Err(StoreError::Unwritable { path, error: error.into() }),
        }
    }

    /// Is the file that was opened still at its path? True where that can't be seen.
    pub(super) fn is_in_place(&self) -> bool {
        match FileId::at(&self.path) {
            Ok(there) => there.is(&self.id),
            Err(error) => !matches!(error, Errno::NOENT | Errno::NOTDIR),
        }
    }

    /// An error where it does not.
    pub(super) fn check(&self, home: &Home) -> Result<()> {
        if self.is_in_place() { Ok(()) } else { Err(StoreError::Gone { home: home.dir().to_owned() }) }
    }
}

/// Where a home's database lay when that was noted last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotedPlace {
    dir: String,
    inode: i64,
    born: Option<i64>,
}

/// What is at the place that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileThere {
    /// No database, or that of another home.
    Another,
    /// The very file that was opened, by another path.
    Itself,
    /// A database of this home, or one that can't be looked at.
    TheHome,
}

/// Whether a database that was opened is the home that it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PlaceState {
    /// It is where it was.
    Kept,
    /// Its place was never noted, or the file was moved: note the place.
    New,
    /// It is a copy; `lives`: the home that it was copied from is still there.
    Copy { of: PathBuf, lives: bool },
}

impl NotedPlace {
    /// Columns of the home's row, from this one on.
    pub(super) fn read(row: &rusqlite::Row<'_>, from: usize) -> rusqlite::Result<Option<Self>> {
        let Some(dir) = row.get(from)? else { return Ok(None) };
        Ok(Some(Self { dir, inode: row.get(from + 1)?, born: row.get(from + 2)? }))
    }

    /// The columns of the home's row, as parameters of a statement.
    pub(super) fn columns(&self) -> (&str, i64, Option<i64>) {
        (&self.dir, self.inode, self.born)
    }

    /// Decides what the database at `dir` is. Facts that the file system does not keep are left out. `look` says what is at the place
    /// that was noted; it is called only where that is another place.
    fn judge(&self, dir: &str, file: &FileId, look: impl FnOnce(&Path) -> FileThere) -> PlaceState {
        let inode = self.inode == 0 || file.inode == 0 || self.inode == file.inode.cast_signed();
        let born = self.born.zip(file.born).is_none_or(|(noted, here)| noted == here);
        let same_file = inode && born;
        let of = PathBuf::from(&self.dir);
        if self.dir == dir {
            return if same_file { PlaceState::Kept } else { PlaceState::Copy { of, lives: false } };
        }
        match (look(&of), same_file) {
            (FileThere::Itself, true) => PlaceState::Kept,
            (FileThere::Another, true) => PlaceState::New,
            (FileThere::Itself | FileThere::Another, false) => PlaceState::Copy { of, lives: false },
            // Snapshots and clones of a file system keep every number.
            (FileThere::TheHome, _) => PlaceState::Copy { of, lives: true },
        }
    }
}

impl OpenFile {
    /// What is noted of the place of this file. A FUSE file system may number a file anew each time.
    pub(super) fn noted(&self, home: &Home) -> NotedPlace {
        let dir = home.dir().to_string_lossy().into_owned();
        let numbered = !crate::model::filesystem::is_fuse(home.dir());
        let (inode, born) = if numbered { (self.id.inode.cast_signed(), self.id.born) } else { (0, None) };
        NotedPlace { dir, inode, born }
    }

    /// Judges the home with this id that was opened.
    pub(super) fn place(&self, home: &Home, id: &str, noted: Option<&NotedPlace>) -> PlaceState {
        let Some(noted) = noted else { return PlaceState::New };
        noted.judge(&home.dir().to_string_lossy(), &self.id, |dir| self.look(&Home::at(dir), id))
    }

    fn look(&self, there: &Home, id: &str) -> FileThere {
        match FileId::at(&there.database()) {
            Err(Errno::NOENT | Errno::NOTDIR) => FileThere::Another,
            Ok(file) if file.is(&self.id) => FileThere::Itself,
            Ok(_) if id_of(there).is_some_and(|other| other != id) => FileThere::Another,
            Ok(_) | Err(_) => FileThere::TheHome,
        }
    }
}

/// The id of the home there, if it can be read.
fn id_of(home: &Home) -> Option<String> {
    let connection = Store::open_read_only(home).ok()?;
    connection.query_row("SELECT id FROM home", [], |row| row.get(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: FileId = FileId { device: (8, 1), inode: 7, born: Some(70) };

    fn judged(noted: (&str, i64, Option<i64>), file: FileId, there: FileThere) -> PlaceState {
        let noted = NotedPlace { dir: noted.0.to_owned(), inode: noted.1, born: noted.2 };
        noted.judge("/h", &file, |_| there)
    }

    fn copy(of: &str, lives: bool) -> PlaceState {
        PlaceState::Copy { of: of.into(), lives }
    }

    #[test]
    fn home_that_lies_where_it_lay_is_itself() {
        assert_eq!(judged(("/h", 7, Some(70)), FILE, FileThere::Another), PlaceState::Kept);
        // After a reboot the device may have another number.
        assert_eq!(
            judged(("/h", 7, Some(70)), FileId { device: (9, 9), ..FILE }, FileThere::Another),
            PlaceState::Kept
        );
        // A file system, or a kernel, that does not say when a file was made.
        assert_eq!(judged(("/h", 7, None), FILE, FileThere::Another), PlaceState::Kept);
        assert_eq!(judged(("/h", 7, Some(70)), FileId { born: None, ..FILE }, FileThere::Another), PlaceState::Kept);
        // One that numbers its files anew.
        assert_eq!(judged(("/h", 0, None), FILE, FileThere::Another), PlaceState::Kept);
    }

    #[test]
    fn same_file_by_another_path_is_itself() {
        assert_eq!(judged(("/link", 7, Some(70)), FILE, FileThere::Itself), PlaceState::Kept);
    }

    #[test]
    fn same_file_whose_old_place_is_empty_was_moved() {
        assert_eq!(judged(("/old", 7, Some(70)), FILE, FileThere::Another), PlaceState::New);
    }

    #[test]
    fn another_file_is_a_copy_wherever_it_lies() {
        let born_later = FileId { born: Some(71), ..FILE };
        for file in [FileId { inode: 8, ..FILE }, born_later] {
            assert_eq!(judged(("/h", 7, Some(70)), file, FileThere::Another), copy("/h", false));
            assert_eq!(judged(("/old", 7, Some(70)), file, FileThere::Another), copy("/old", false));
            assert_eq!(judged(("/link", 7, Some(70)), file, FileThere::Itself), copy("/link", false));
            assert_eq!(judged(("/old", 7, Some(70)), file, FileThere::TheHome), copy("/old", true));
        }
    }

    #[test]
    fn same_numbers_beside_the_home_are_a_snapshot() {
        assert_eq!(judged(("/old", 7, Some(70)), FILE, FileThere::TheHome), copy("/old", true));
    }
}
