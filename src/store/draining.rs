//! Drains that end with the process that made them: while a server, or the home, is removed. What was there before is noted in a
//! file that the process locks, so that a drain whose process was killed is ended by a later one.

use super::{Durability, Home, Result, Store, StoreError, Tx};
use crate::model::filesystem::is_at;
use crate::model::id::ServerId;
use crate::model::server::Server;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError, remove_dir, remove_file};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What a drain has changed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Changed {
    /// Why the servers are drained now.
    reason: String,
    /// Each server, with the reason of a drain from before.
    servers: Vec<(ServerId, Option<String>)>,
}

/// A drain that is in force until [`Self::end`], or until its process ends.
#[derive(Debug)]
pub struct TemporaryDrain {
    path: PathBuf,
    _lock: File,
    changed: Changed,
}

impl TemporaryDrain {
    /// Drains the servers that `choose` reads in the same transaction, after drains of killed processes were ended: what was read
    /// before may have been drained by one of these. An error where another process drains one of them so.
    pub fn begin<E: From<StoreError>>(
        store: &mut Store,
        reason: &str,
        choose: impl FnOnce(&Tx<'_>) -> std::result::Result<Vec<Server>, E>,
    ) -> std::result::Result<Self, E> {
        end_left(store)?;
        let dir = notes(store.home());
        let path = dir.join(std::process::id().to_string());
        let unwritable = |error| StoreError::Unwritable { path: path.clone(), error };
        let mut lock = locked(&dir, &path).map_err(unwritable)?;
        let changed = store.write(Durability::Full, |tx| {
            let chosen = choose(tx)?;
            refuse_drained(&others(&dir, &path)?, &chosen)?;
            let servers = chosen.into_iter().map(|server| (server.id, server.drained)).collect();
            let changed = Changed { reason: reason.to_owned(), servers };
            let text = serde_json::to_vec(&changed).unwrap_or_default();
            // On the disk before the drain is.
            lock.set_len(0).and_then(|()| lock.write_all(&text)).and_then(|()| lock.sync_all()).map_err(unwritable)?;
            File::open(&dir).and_then(|dir| dir.sync_all()).map_err(unwritable)?;
            changed.servers.iter().try_for_each(|(id, _)| tx.set_drained(*id, Some(reason)))?;
            Ok::<_, E>(changed)
        });
        match changed {
            Ok(changed) => Ok(Self { path, _lock: lock, changed }),
            Err(error) => {
                forget(&path);
                Err(error)
            }
        }
    }

    /// The servers are drained no longer, or for the reason from before. An error: they stay drained.
    pub fn end(self, store: &mut Store) -> Result<()> {
        restore(store, &self.changed)?;
        forget(&self.path);
        Ok(())
    }

    /// The servers have gone.
    pub fn forget(self) {
        forget(&self.path);
    }
}

/// Ends the drains whose process was killed. Gives whether there were any.
pub fn end_left(store: &mut Store) -> Result<bool> {
    let Ok(all) = std::fs::read_dir(notes(store.home())) else { return Ok(false) };
    let mut ended = false;
    for entry in all.flatten() {
        let path = entry.path();
        let unwritable = |error| StoreError::Unwritable { path: path.clone(), error };
        let mut note = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            note => note.map_err(unwritable)?,
        };
        match note.try_lock() {
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
            // Else another process has ended it.
            Ok(()) if !is_at(&note, &path) => continue,
            Ok(()) => {}
        }
        let mut text = Vec::new();
        note.read_to_end(&mut text).map_err(unwritable)?;
        // One that is not whole was written before its drain.
        restore(store, &serde_json::from_slice(&text).unwrap_or_default())?;
        forget(&path);
        ended = true;
    }
    Ok(ended)
}

/// Is there a drain whose process may have been killed?
pub fn may_be_left(home: &Home) -> bool {
    notes(home).exists()
}

/// A directory that exists only while there are such drains.
fn notes(home: &Home) -> PathBuf {
    home.run_dir().join("draining")
}

/// The notes of other processes.
fn others(dir: &Path, own: &Path) -> Result<Vec<Changed>> {
    let unreadable = |path: &Path, error| StoreError::Unwritable { path: path.to_owned(), error };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| unreadable(dir, error))? {
        let path = entry.map_err(|error| unreadable(dir, error))?.path();
        if path == own {
            continue;
        }
        match std::fs::read(&path) {
            // One that is not whole was written before its drain.
            Ok(text) => all.extend(serde_json::from_slice::<Changed>(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path, error)),
        }
    }
    Ok(all)
}

/// The reason of another temporary drain is none from before: that drain ends under this one, and this one would restore it for ever.
fn refuse_drained(others: &[Changed], chosen: &[Server]) -> Result<()> {
    let by_another = |server: &&Server| {
        others.iter().any(|other| {
            server.drained.as_ref() == Some(&other.reason) && other.servers.iter().any(|(id, _)| *id == server.id)
        })
    };
    match chosen.iter().find(by_another) {
        Some(Server { name, drained: Some(reason), .. }) => {
            Err(StoreError::Drained { server: name.to_string(), reason: reason.clone() })
        }
        _ => Ok(()),
    }
}

fn locked(dir: &Path, path: &Path) -> io::Result<File> {
    loop {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path) {
            // Its last note went in between.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            lock => lock?,
        };
        lock.lock()?;
        if is_at(&lock, path) {
            return Ok(lock);
        }
    }
}

fn restore(store: &mut Store, changed: &Changed) -> Result<()> {
    store.write(Durability::Full, |tx| {
        for server in tx.servers()? {
            let before = changed.servers.iter().find(|(id, _)| *id == server.id);
            // A person may have drained or resumed it since.
            if let (Some((_, before)), Some(reason)) = (before, &server.drained)
                && *reason == changed.reason
            {
                tx.set_drained(server.id, before.as_deref())?;
            }
        }
        Ok(())
    })
}

/// Removes a note; the caller has it locked.
fn forget(path: &Path) {
    let _ = remove_file(path);
    // Fails while there are others.
    let _ = path.parent().map(remove_dir);
}
