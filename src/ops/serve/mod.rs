//! `grid serve`: answers the questions of another home on stdio. One thread reads the questions, and each is answered by a thread
//! of its own, so a slow answer delays no other. It never makes a home, and opens no port.

mod answer;
mod files;
mod go;
mod greeting;
mod identity;
mod sending;
mod servers;
mod share;
mod tasks;

use super::{Grid, OpsError, settings};
use crate::distributor::fleets::Fleets;
use crate::distributor::serve as tiers;
use crate::model::id::HomeId;
use crate::model::name::Name;
use crate::model::settings::KEEP_OUTPUTS;
use crate::model::ssh::Login;
use crate::model::task::ClientFacts;
use crate::model::time::Timestamp;
use crate::protocol::border;
use crate::protocol::distributor::{Answer, FRAME_MAX, FromServe, MAGIC, Question, Ticket, ToServe, VERSION};
use crate::protocol::envelope::{LIST_MAX, Sealed};
use crate::protocol::frame::{self, FrameError};
use crate::store::files::KeptFile;
use crate::store::{Home, Store, StoreError};
use go::GoAheads;
use greeting::greet;
pub use identity::Credentials;
use share::{Counted, Share};
use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Questions of one link that are worked at side by side; more are refused until some are answered. Of a user other than the owner
/// that is [`share::AT_ONCE`], over all links.
const AT_ONCE: usize = 256;
/// Database connections kept for the next question.
const KEPT: usize = 8;
/// How often whoever waits for something long hears that it is worked at: well within `peer_timeout`.
const WORKING_EVERY: Duration = Duration::from_millis(500);
/// How old the count of what lies here for a user may be.
const RECOUNT: Duration = Duration::from_secs(2);
/// The longest report in one frame, with what stands around it there: for callers that know no pieces.
const WHOLE_MAX: usize = frame::FRAME_MAX - (1 << 10);
/// Bytes of an output or a report that are on their way to one caller at most.
const WINDOW: u64 = 4 << 20;

/// A connection that is kept for the next question. The servers as its last question found them are kept with one: to read
/// thousands takes longer than to ask them, and they are large.
struct KeptStore {
    store: Store,
    fleets: Option<Fleets>,
}

/// The state that all threads of one `grid serve` share.
struct ServeSession {
    home: Home,
    credentials: Credentials,
    client: ClientFacts,
    /// How this account reaches other homes over ssh.
    login: Login,
    /// The home at the other end, and its protocol version.
    peer: HomeId,
    version: u32,
    /// This home, as the caller was greeted: nothing is answered about another home at the same path.
    greeted: (HomeId, u64),
    output: Mutex<Box<dyn Write + Send>>,
    stores: Mutex<Vec<KeptStore>>,
    /// Tickets of questions under way, and those of them that the caller dropped.
    open: Mutex<HashSet<Ticket>>,
    dropped: Mutex<HashSet<Ticket>>,
    /// Questions whose caller has heard the redirect.
    go: GoAheads,
    /// Bytes of outputs and reports that were sent and not taken yet, for each ticket.
    on_the_way: Mutex<HashMap<Ticket, u64>>,
    room: Condvar,
    /// The bounds of a user over all its sessions; None: the owner, who has none.
    share: Option<Arc<Share>>,
    /// Bytes kept here for users, and when they were counted.
    kept: Mutex<HashMap<Name, (KeptFile, Instant)>>,
}

/// The pieces of an array's list that came before its question.
#[derive(Default)]
struct List {
    bytes: Vec<u8>,
    /// There was no room for all of it.
    cut: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that died holding it left whole values: they are replaced, not changed in place.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is there another home where this one was, or none?
const fn is_gone(error: &OpsError) -> bool {
    matches!(error, OpsError::Store(StoreError::Gone { .. }))
}

/// What `grid serve` knows at its start: how the caller logged in, and the account that it runs in.
#[derive(Debug)]
pub struct SessionSetup {
    pub credentials: Credentials,
    pub client: ClientFacts,
    /// How this account reaches other homes over ssh.
    pub login: Login,
}

/// Serves until the input ends.
pub fn serve(
    home: &Home,
    setup: SessionSetup,
    mut input: impl Read,
    mut output: impl Write + Send + 'static,
) -> Result<(), OpsError> {
    let SessionSetup { credentials, client, login } = setup;
    let failed = |error: std::io::Error| OpsError::Grid(format!("grid serve: {error}"));
    output.write_all(MAGIC).and_then(|()| output.flush()).map_err(failed)?;
    let greeted = greet(home, &mut input).and_then(|greeted| {
        let share =
            credentials.user.as_ref().filter(|_| greeted.is_some()).map(|user| Share::open(home, user)).transpose()?;
        Ok(greeted.map(|greeted| (greeted, share)))
    });
    let (peer, version, greeted, share) = match greeted {
        Ok(Some(((peer, version, row), share))) => {
            let release = env!("CARGO_PKG_VERSION").to_owned();
            let hello = FromServe::Hello { version: VERSION, home: row.id, incarnation: row.incarnation, release };
            frame::write(&mut output, &hello).map_err(|error| OpsError::Grid(error.to_string()))?;
            (peer, version, (row.id, row.incarnation), share)
        }
        Ok(None) => return Ok(()),
        Err(error) => {
            // Whoever can't be talked to may not listen any more either.
            let _ = frame::write(&mut output, &FromServe::Unfit { error: error.to_string() });
            return Ok(());
        }
    };
    let session = Arc::new(ServeSession {
        home: home.clone(),
        credentials,
        client,
        login,
        peer,
        version,
        greeted,
        output: Mutex::new(Box::new(output)),
        stores: Mutex::default(),
        open: Mutex::default(),
        dropped: Mutex::default(),
        go: GoAheads::default(),
        on_the_way: Mutex::default(),
        room: Condvar::new(),
        share,
        kept: Mutex::default(),
    });
    session.listen(&mut input)
}

impl ServeSession {
    fn listen(self: &Arc<Self>, input: &mut impl Read) -> Result<(), OpsError> {
        let mut lists: HashMap<Ticket, List> = HashMap::new();
        loop {
            let message = match frame::read_limited(input, FRAME_MAX) {
                Ok(Some(message)) => message,
                // The end, also in the middle of a frame: whoever spoke is gone.
                Ok(None) | Err(FrameError::Io(_)) => return Ok(()),
                Err(error) => {
                    let unfit = FromServe::Unfit { error: format!("what was sent is no message: {error}") };
                    self.write(&unfit);
                    return Ok(());
                }
            };
            match message {
                ToServe::Hello { .. } => {}
                ToServe::Ask { ticket, question } => {
                    self.take(ticket, question, lists.remove(&ticket).unwrap_or_default())
                }
                ToServe::Piece { ticket, bytes } => {
                    if lists.len() >= AT_ONCE && !lists.contains_key(&ticket) {
                        continue;
                    }
                    // One byte too many is enough to have it refused by its name.
                    let room = (LIST_MAX + 1).saturating_sub(lists.values().map(|list| list.bytes.len()).sum());
                    let list = lists.entry(ticket).or_default();
                    let more = bytes.len().min(room) as u64;
                    match self.share.as_ref().is_none_or(|share| share.take_list(more, LIST_MAX as u64 + 1)) {
                        true => list.bytes.extend(bytes.into_iter().take(room)),
                        false => list.cut = true,
                    }
                }
                ToServe::Drop { ticket } => {
                    self.drop_list(lists.remove(&ticket).unwrap_or_default());
                    let open = locked(&self.open);
                    if open.contains(&ticket) {
                        locked(&self.dropped).insert(ticket);
                        self.room.notify_all();
                        self.go.wake();
                    }
                }
                ToServe::Go { ticket } => {
                    let open = locked(&self.open);
                    if open.contains(&ticket) {
                        self.go.said(ticket);
                    }
                }
                ToServe::Taken { ticket, bytes } => {
                    if let Some(way) = locked(&self.on_the_way).get_mut(&ticket) {
                        *way = way.saturating_sub(bytes);
                    }
                    self.room.notify_all();
                }
            }
        }
    }

    /// Drops a list whose question will not come.
    fn drop_list(&self, list: List) {
        if let Some(share) = &self.share {
            share.drop_list(list.bytes.len() as u64);
        }
    }

    /// Counts a question for its user until it is answered. None: the owner's. Why it is not looked at, if not.
    fn admit(&self, question: &Question, list: &List) -> Result<Option<Counted>, Box<Answer>> {
        let unable = tiers::unable(question);
        let counted = match &self.share {
            Some(share) => {
                let bytes = list.bytes.len() as u64;
                Some(share.ask(question.is_patient(), bytes).map_err(|why| Box::new(unable(why)))?)
            }
            None => None,
        };
        if list.cut {
            return Err(Box::new(unable("too many lists are on their way for one user; try again".to_owned())));
        }
        border::question(question).map_err(|error| Box::new(Answer::Denied(error.to_string())))?;
        Ok(counted)
    }

    /// A thread for each question.
    fn take(self: &Arc<Self>, ticket: Ticket, mut question: Question, list: List) {
        let unable = tiers::unable(&question);
        let counted = match self.admit(&question, &list) {
            Ok(counted) => counted,
            Err(refusal) => return self.say(ticket, *refusal, true),
        };
        if let Some(envelope) = question.envelope_mut().filter(|_| !list.bytes.is_empty()) {
            envelope.list = Some(Sealed::from_bytes(list.bytes));
        }
        let busy = {
            let mut open = locked(&self.open);
            // A ticket that is worked at can't be used again: it would not be counted.
            open.len() >= AT_ONCE || !open.insert(ticket)
        };
        if busy {
            return self.say(ticket, unable(format!("{AT_ONCE} questions are worked at; try again")), true);
        }
        let session = Arc::clone(self);
        std::thread::spawn(move || {
            let done = session.work(ticket, question);
            let gone = done.as_ref().err().filter(|error| is_gone(error)).map(ToString::to_string);
            let answer = done.unwrap_or_else(|error| answer::of_error(&error, unable, &session.client.host));
            let answer = session.in_pieces(ticket, answer);
            session.close(ticket);
            drop(counted);
            session.say(ticket, answer, true);
            if let Some(error) = gone {
                // Whoever asks again gets a `grid serve` of the home that lies here then, if there is one.
                session.write(&FromServe::Unfit { error });
            }
        });
    }

    /// Before the last word: a caller that has heard it may use the ticket again. All at once: a go or a drop that is received
    /// meanwhile would count for the next question of that ticket.
    fn close(&self, ticket: Ticket) {
        let mut open = locked(&self.open);
        locked(&self.dropped).remove(&ticket);
        locked(&self.on_the_way).remove(&ticket);
        self.go.forget(ticket);
        open.remove(&ticket);
    }

    fn work(&self, ticket: Ticket, question: Question) -> Result<Answer, OpsError> {
        // Only these look at servers; others may take a week.
        let looks = matches!(question, Question::Offer { .. } | Question::Commit { .. });
        let KeptStore { store, fleets } = self.take_kept(looks)?;
        let mut fleets = fleets.unwrap_or_default();
        let me = store.view().owner()?;
        let mut grid = Grid { store, me, client: self.client.clone(), login: self.login.clone(), remark: None };
        let takes = answer::takes(&question);
        let done = answer::answer(self, &mut grid, &mut fleets, ticket, question);
        // What was taken is on the disk of the home as it was; whatever else is told must be of the home as it is.
        let done = if takes { done } else { done.and_then(|told| Ok(grid.store.check_in_place().map(|()| told)?)) };
        let mut stores = locked(&self.stores);
        let first = looks && stores.iter().all(|kept| kept.fleets.is_none());
        if done.is_ok() && (first || stores.len() < KEPT) {
            stores.push(KeptStore { store: grid.store, fleets: first.then_some(fleets) });
        }
        done
    }

    /// The connection with fleets goes to questions that look at servers only.
    fn take_kept(&self, looks: bool) -> Result<KeptStore, OpsError> {
        let mut stores = locked(&self.stores);
        let with = |fleets: bool| stores.iter().position(|kept| kept.fleets.is_some() == fleets);
        let at = if looks { with(true).or_else(|| with(false)) } else { with(false) };
        let kept = at.map(|at| stores.swap_remove(at));
        drop(stores);
        if let Some(kept) = kept {
            kept.store.check_in_place()?;
            return Ok(kept);
        }
        let store = Store::open(&self.home)?;
        let row = store.view().home_row()?;
        if (row.id, row.incarnation) == self.greeted {
            Ok(KeptStore { store, fleets: None })
        } else {
            Err(StoreError::Gone { home: self.home.dir().to_owned() }.into())
        }
    }

    /// Bytes kept here for a user, counted again every few seconds, for a count takes longer the more there is. A commit adds what
    /// came since.
    fn kept(&self, grid: &Grid, name: &Name) -> Result<KeptFile, OpsError> {
        if let Some((kept, at)) = locked(&self.kept).get(name)
            && at.elapsed() < RECOUNT
        {
            return Ok(*kept);
        }
        let view = grid.store.view();
        let Some(user) = view.user(name.as_str())? else { return Ok(KeptFile::NOTHING) };
        let before = Timestamp::now().minus(settings::read(&view, &KEEP_OUTPUTS)?);
        let kept = view.kept_for(user.id, before)?;
        locked(&self.kept).insert(name.clone(), (kept, Instant::now()));
        Ok(kept)
    }
}
