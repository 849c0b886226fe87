//! Submits by way of the dispatcher: it has everything open, and writes what several hand in at once with one fsync. One that has to be
//! started begins with it. Where it can't, the command does the same by itself: [`submit::submit`], under the same uuid.

use super::draft::Draft;
use super::home::{HomeVariables, owner};
use super::report::Submitted;
use super::sending::FileRequest;
use super::{OpsError, submit};
use crate::dispatch::client::start::{self, Connection};
use crate::dispatch::submits::SubmitHandler;
use crate::distributor::fleets::Fleets;
use crate::model::id::{TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::ssh::Login;
use crate::model::task::{ClientFacts, Members};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::{Home, StoreError, Tx};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A submit, whoever carries it out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sheet {
    pub uuid: TaskUuid,
    /// The account that submits.
    pub me: Name,
    pub client: ClientFacts,
    pub draft: Draft,
    /// A dispatcher was asked and did not answer: perhaps it will still take it.
    #[serde(skip)]
    pub open: bool,
    /// One line for the person, where the home is not where one would look.
    #[serde(skip)]
    pub remark: Option<String>,
}

/// Larger orders would hold up others in the dispatcher.
const ORDER_MAX: usize = 64 << 10;
/// A dispatcher that does not answer in this time is left alone.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sheet {
    /// A new one, of the client's account.
    pub fn new(client: ClientFacts, draft: Draft) -> Result<Self, OpsError> {
        Ok(Self { uuid: TaskUuid::new(), me: owner(&client.user)?, client, draft, open: false, remark: None })
    }

    /// Are files sent with it, or fetched?
    pub fn has_files(&self) -> bool {
        self.draft.files != FileRequest::default()
    }

    /// Has it written by the dispatcher; None if that could not be.
    pub fn hand_in(&mut self, places: &HomeVariables, login: &Login) -> Option<HandedIn> {
        let located = Home::locate(places).ok()?;
        self.remark = located.remark;
        // Names are looked at, files taken in, and many lines written, by the command itself.
        let named = self.draft.on.is_some() || !self.draft.exclude.is_empty();
        if named || self.has_files() || matches!(self.draft.members, Members::Lines { .. }) {
            return None;
        }
        let order = serde_json::to_vec(self).ok().filter(|order| order.len() <= ORDER_MAX)?;
        let words = [ToDispatcher::Login(login.clone()), ToDispatcher::Order(order)];
        self.open = true;
        let Some(mut connection) = start::ask(&located.home, &words, PATIENCE).ok()? else {
            self.open = false;
            return None;
        };
        loop {
            if let FromDispatcher::Done { answer } = connection.receive().ok()?? {
                self.open = false;
                let report = serde_json::from_slice(&answer?).ok()?;
                return Some(HandedIn { report, connection });
            }
        }
    }
}

/// A submit that is on the disk, and the line to the dispatcher that wrote it.
#[derive(Debug)]
pub struct HandedIn {
    pub report: Submitted,
    connection: Connection,
}

impl HandedIn {
    /// Waits for its end, durably: the code as a shell counts. None if the dispatcher left: then the database has to be asked.
    pub fn wait(&mut self) -> Option<u8> {
        let task = TaskId(self.report.id.parse().ok()?);
        self.connection.stream().set_read_timeout(None).ok()?;
        self.connection.send(&ToDispatcher::Watch { task, index: None }).ok()?;
        loop {
            match self.connection.receive().ok()?? {
                FromDispatcher::Ended { task: of, code, .. } if of == task => return code,
                _ => {}
            }
        }
    }
}

/// The dispatcher's desk.
#[derive(Debug)]
pub struct SubmitService;

impl SubmitHandler for SubmitService {
    fn carry_out(&mut self, tx: &Tx<'_>, fleets: &mut Fleets, order: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Ok(sheet) = serde_json::from_slice::<Sheet>(order) else { return Ok(None) };
        match submit::within(tx, fleets, sheet) {
            Ok(submitted) => Ok(submitted.and_then(|submitted| serde_json::to_vec(&submitted).ok())),
            // The disk and the database are the same for everybody in this transaction.
            Err(OpsError::Store(error)) => Err(error),
            // What is wrong with it the command finds out by itself, in full words.
            Err(_) => Ok(None),
        }
    }
}
