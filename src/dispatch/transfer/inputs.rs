//! Inputs: agents request the files that tasks were submitted with, piece by piece, and a piece is sent only when nothing else
//! waits for the link. The agent knows how far each transfer is; a new dispatcher needs no state of the old one.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::sealed;
use crate::model::failpoint::failpoint;
use crate::model::files::Digest;
use crate::model::id::TaskId;
use crate::model::resources::Bytes;
use crate::protocol::agent::ToAgent;
use crate::store::{Durability, Home, Store, StoreError, Tx};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Time between two progress notes of a transfer.
const TELL: Duration = Duration::from_secs(1);
/// Outstanding requests of one agent, at most.
const NEEDS_MAX: usize = 1 << 16;

/// Outstanding requests of agents.
#[derive(Debug, Default)]
pub struct InputTransfers {
    needs: BTreeMap<Route, VecDeque<Need>>,
    open: HashMap<Digest, File>,
    progress: HashMap<(Route, Digest), TransferProgress>,
    /// Tasks with a note that they wait for a transfer.
    told: HashSet<TaskId>,
}

#[derive(Debug)]
struct Need {
    bundle: Digest,
    offset: u64,
    max: u32,
}

#[derive(Debug)]
struct TransferProgress {
    told_at: Instant,
    sent: u64,
    size: u64,
}

impl InputTransfers {
    /// Forgets the requests of a lost link: its agent requests again.
    pub fn forget(&mut self, route: Route) {
        self.needs.remove(&route);
        self.progress.retain(|(of, _), _| *of != route);
    }

    /// When the next progress note is due.
    pub fn due_at(&self) -> Option<Instant> {
        self.progress.values().map(|progress| progress.told_at + TELL).min()
    }

    /// Notes that a task may have a progress note, to be removed when it starts.
    pub fn may_wait(&mut self, task: TaskId) {
        self.told.insert(task);
    }

    fn read(&mut self, home: &Home, need: &Need) -> io::Result<(Vec<u8>, u64)> {
        if self.open.len() > 64 {
            self.open.clear();
        }
        let file = match self.open.entry(need.bundle) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(File::open(home.sent_file(need.bundle))?),
        };
        let mut bytes = vec![0; need.max.min(crate::archive::PIECE) as usize];
        let mut got = 0;
        while got < bytes.len() {
            match file.read_at(&mut bytes[got..], need.offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(got);
        Ok((bytes, file.metadata()?.len()))
    }
}

impl Dispatcher {
    /// Handles a request for a piece.
    pub(in crate::dispatch) fn need(&mut self, route: Route, bundle: Digest, offset: u64, max: u32) {
        let needs = self.transfers.inputs.needs.entry(route).or_default();
        // An agent needs a few pieces of each bundle; excess requests are dropped.
        if needs.len() < NEEDS_MAX {
            needs.push_back(Need { bundle, offset, max });
        }
    }

    /// Sends requested pieces over the links that have nothing else to send.
    pub(in crate::dispatch) fn send_pieces(&mut self) {
        let now = self.ambient.now().mono;
        let routes: Vec<Route> = self.transfers.inputs.needs.keys().copied().collect();
        for route in routes {
            while self.is_free(route)
                && let Some(need) = self.transfers.inputs.needs.get_mut(&route).and_then(VecDeque::pop_front)
            {
                let (bundle, offset) = (need.bundle, need.offset);
                match self.transfers.inputs.read(&self.home, &need) {
                    Ok((bytes, size)) => {
                        let sent = offset + bytes.len() as u64;
                        self.send(route, &ToAgent::Piece { bundle, offset, bytes });
                        let key = (route, bundle);
                        let new = TransferProgress { told_at: now, sent, size };
                        self.transfers.inputs.progress.entry(key).or_insert(new).sent = sent;
                        if sent >= size {
                            self.transfers.inputs.open.remove(&bundle);
                        }
                    }
                    Err(error) => {
                        let error = format!("what was sent with it is gone from its home: {error}");
                        self.send(route, &ToAgent::NoBundle { bundle, error });
                    }
                }
                self.flush_links();
                failpoint("dispatcher-piece-sent");
            }
        }
    }

    /// True if a piece could be sent now.
    pub(in crate::dispatch) fn has_pieces(&self) -> bool {
        self.transfers.inputs.needs.iter().any(|(route, needs)| !needs.is_empty() && self.is_free(*route))
    }

    fn is_free(&self, route: Route) -> bool {
        let slot = self.links.slots.get(&route).filter(|slot| slot.boot().is_some());
        slot.and_then(|slot| slot.link()).is_some_and(|link| !link.wants_to_write())
    }

    /// Writes progress notes of tasks that wait for a transfer.
    pub(in crate::dispatch) fn send_progress(&mut self, store: &mut Store) -> Result<(), DispatchError> {
        let now = self.ambient.now().mono;
        let mut due: Vec<(Option<TaskId>, Option<Digest>, String)> = Vec::new();
        self.transfers.inputs.progress.retain(|(_, bundle), progress| {
            if now.saturating_duration_since(progress.told_at) < TELL {
                return true;
            }
            progress.told_at = now;
            let (sent, size) = (Bytes(progress.sent), Bytes(progress.size));
            let under_way = sent < size;
            due.push((
                None,
                Some(*bundle),
                match under_way {
                    true => format!("its files are being sent to its server: {sent} of {size}"),
                    false => format!("its files are being unpacked by its server: {size}"),
                },
            ));
            under_way
        });
        for (task, have, size) in self.transfers.results.due(TELL, now) {
            due.push((
                Some(task),
                None,
                format!("ended; its files are being brought: {} of {}", Bytes(have), Bytes(size)),
            ));
        }
        if due.is_empty() {
            return Ok(());
        }
        sealed::write(store, Durability::Normal, |tx| {
            for (task, bundle, words) in due {
                let tasks = match bundle {
                    Some(bundle) => tx.starting_with(bundle)?,
                    None => task.into_iter().collect(),
                };
                for task in tasks {
                    tx.set_reason(task, Some(&words))?;
                    self.transfers.inputs.told.insert(task);
                }
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(())
    }

    /// Removes the progress note of a task.
    pub(in crate::dispatch) fn transferred(&mut self, tx: &Tx<'_>, task: TaskId) -> Result<(), StoreError> {
        if self.transfers.inputs.told.remove(&task) { tx.set_reason(task, None) } else { Ok(()) }
    }
}
