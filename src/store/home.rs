//! A home on disk: where it is, and how a new one is founded.

pub use super::read_only::is_writable;
use crate::model::filesystem::is_at;
pub use crate::model::filesystem::network_fs;

use super::{Result, StoreError};
use crate::model::facts::Facts;
use crate::model::name::Name;
use crate::model::task::ClientFacts;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// SQLite opens paths of up to 512 bytes, with what it and copies of the database add to the name.
const LONGEST: usize = 460;

/// The directory that holds `grid.db`, `run/` and `spool/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
}

/// What a new home begins with besides the two tiers.
#[derive(Debug)]
pub struct Seed {
    /// The account that the home belongs to.
    pub owner: Name,
    pub client: ClientFacts,
    /// This host; the server `local` is made of it.
    pub facts: Facts,
}

/// Where the home was found, and a remark for the person if it is not where one would look.
#[derive(Debug)]
pub struct Located {
    pub home: Home,
    pub remark: Option<String>,
}

/// The environment variables that decide where a home is.
#[derive(Debug, Clone, Default)]
pub struct HomeVariables {
    /// GRID_HOME
    pub grid_home: Option<PathBuf>,
    /// XDG_DATA_HOME
    pub data_home: Option<PathBuf>,
    /// XDG_CONFIG_HOME
    pub config_home: Option<PathBuf>,
    /// HOME
    pub home: Option<PathBuf>,
    pub host: String,
    /// GRID_TASK_ID and GRID_SUBMIT_HOST: the task of a grid that this runs in.
    pub in_task: Option<(String, String)>,
}

impl HomeVariables {
    /// Relative values of the XDG variables are to be ignored (XDG base directory specification).
    fn data_dir(&self) -> Option<PathBuf> {
        let xdg = self.data_home.clone().filter(|p| p.is_absolute());
        xdg.or_else(|| Some(self.home.as_ref()?.join(".local/share"))).map(|p| p.join("grid"))
    }

    fn config_dir(&self) -> Option<PathBuf> {
        let xdg = self.config_home.clone().filter(|p| p.is_absolute());
        xdg.or_else(|| Some(self.home.as_ref()?.join(".config"))).map(|p| p.join("grid"))
    }

    /// Where it is noted which directory this host's home is.
    fn pointer(&self) -> Option<PathBuf> {
        Some(self.config_dir()?.join(format!("home@{}", self.host)))
    }
}

impl Home {
    /// A home at this directory.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Root could open the database of another account: a dispatcher that it started there would run that account's tasks as root.
    pub(super) fn check_ours(&self) -> Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        match std::fs::metadata(self.database()) {
            Ok(meta) if meta.uid() != 0 => Err(StoreError::Others { path: self.dir.clone(), uid: meta.uid() }),
            _ => Ok(()),
        }
    }

    /// GRID_HOME, else the default; where the default is on a network file system, a directory of ours on a local disk.
    pub fn locate(places: &HomeVariables) -> Result<Located> {
        let located = Self::look_for(places)?;
        if located.home.dir.as_os_str().len() > LONGEST {
            return Err(StoreError::TooLong { path: located.home.dir });
        }
        located.home.check_ours()?;
        Ok(located)
    }

    fn look_for(places: &HomeVariables) -> Result<Located> {
        if let Some(dir) = places.grid_home.as_ref().filter(|dir| !dir.as_os_str().is_empty()) {
            let dir = std::path::absolute(dir).map_err(|error| StoreError::Unwritable { path: dir.clone(), error })?;
            return match network_fs(&dir) {
                Some(kind) => Err(StoreError::NetworkFs { path: dir, kind }),
                None => Ok(Located { home: Self { dir }, remark: None }),
            };
        }
        let dir = places.data_dir().ok_or(StoreError::NoHome)?;
        match network_fs(&dir) {
            None => Ok(Located { home: Self { dir }, remark: None }),
            Some(kind) => beside_network_fs(places, &dir, kind),
        }
    }

    /// The note that says where this home is, if its usual place is on a network file system.
    pub fn pointer(&self, places: &HomeVariables) -> Option<PathBuf> {
        let pointer = places.pointer()?;
        let noted = std::fs::read_to_string(&pointer).ok()?;
        (Path::new(noted.trim_end()) == self.dir).then_some(pointer)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.dir.join("grid.db")
    }

    /// Locks and sockets.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The spool of the agent on this host.
    pub fn agent_spool(&self) -> PathBuf {
        self.dir.join("spool").join("agent")
    }

    /// Outputs that are too long for the database.
    pub fn outputs(&self) -> PathBuf {
        self.dir.join("spool").join("out")
    }

    /// What is sent with tasks, each content once.
    pub fn sent(&self) -> PathBuf {
        self.dir.join("spool").join("sent")
    }

    /// What members brought back.
    pub fn fetched(&self) -> PathBuf {
        self.dir.join("spool").join("fetched")
    }

    /// Is there a database?
    pub fn exists(&self) -> bool {
        self.database().exists()
    }

    /// May anything be written here? What can't be asked may.
    pub fn is_writable(&self) -> bool {
        is_writable(&self.dir)
    }

    /// Makes the directories that are missing.
    pub(super) fn make(&self) -> Result<()> {
        let spools = [self.agent_spool(), self.outputs(), self.sent(), self.fetched()];
        for dir in [self.dir.clone(), self.run_dir(), self.dir.join("spool")].into_iter().chain(spools) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
            made.map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => {
                    StoreError::Unwritable { path: dir.clone(), error: ErrorKind::NotADirectory.into() }
                }
                _ => StoreError::Unwritable { path: dir.clone(), error },
            })?;
        }
        Ok(())
    }

    /// Makes the directories and waits until no other process founds this home.
    pub fn found(&self) -> Result<Founding> {
        let path = self.founding();
        let unwritable = |error| StoreError::Unwritable { path: path.clone(), error };
        loop {
            self.make()?;
            let closed = std::fs::set_permissions(&self.dir, PermissionsExt::from_mode(0o700));
            closed.map_err(|error| StoreError::Unwritable { path: self.dir.clone(), error })?;
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let lock = match lock {
                // Removed since it was made above.
                Err(error) if error.kind() == ErrorKind::NotFound && !self.run_dir().exists() => continue,
                lock => lock.map_err(unwritable)?,
            };
            lock.lock().map_err(unwritable)?;
            // Else its last holder has removed the home meanwhile.
            if is_at(&lock, &path) {
                self.make()?;
                return Ok(Founding { _lock: lock });
            }
        }
    }

    /// The lock file of who founds or removes the home.
    pub(super) fn founding(&self) -> PathBuf {
        self.run_dir().join("founding")
    }
}

/// No other process founds this home while this exists.
#[derive(Debug)]
pub struct Founding {
    _lock: File,
}

fn beside_network_fs(places: &HomeVariables, default: &Path, kind: &'static str) -> Result<Located> {
    let uid = rustix::process::getuid().as_raw();
    let dir = PathBuf::from(format!("/var/tmp/grid-{uid}"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    made.map_err(|error| StoreError::Unwritable { path: dir.clone(), error })?;
    let meta = std::fs::symlink_metadata(&dir).map_err(|error| StoreError::Unwritable { path: dir.clone(), error })?;
    if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
        return Err(StoreError::NotOurs { path: dir });
    }
    let mut remark = None;
    if let Some((pointer, config)) = places.pointer().zip(places.config_dir())
        && !pointer.exists()
    {
        remark = Some(format!(
            "{} is on a network file system ({kind}); this host's home is {} (noted in {})",
            default.display(),
            dir.display(),
            pointer.display()
        ));
        // Without the pointer everything still works; only the note is missing.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(&config);
        let _ = std::fs::write(&pointer, format!("{}\n", dir.display()));
    }
    Ok(Located { home: Home { dir }, remark })
}
