//! Submits by way of the dispatcher: it has everything open, and writes what several commands submit at once with one fsync. One that
//! has to be started begins with it. Where it can't, the command submits (`by_itself.rs`), under the same uuid.

use super::request::SubmitRequest;
use crate::dispatch::client::start::{self, Connection};
use crate::model::id::TaskId;
use crate::model::ssh::Login;
use crate::model::task::Members;
use crate::ops::home::HomeVariables;
use crate::ops::report::Submitted;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::Home;
use std::time::Duration;

/// Larger orders would hold up others in the dispatcher.
const ORDER_MAX: usize = 64 << 10;
/// A dispatcher that does not answer in this time is left alone.
const PATIENCE: Duration = Duration::from_secs(5);

impl SubmitRequest {
    /// Has it written by the dispatcher; None if that could not be.
    pub fn submit_via_dispatcher(&mut self, places: &HomeVariables, login: &Login) -> Option<Accepted> {
        let located = Home::locate(places).ok()?;
        self.remark = located.remark;
        // Names are looked at, files taken in, and many lines written, by the command itself.
        let named = self.draft.on.is_some() || !self.draft.exclude.is_empty();
        if named || self.has_files() || matches!(self.draft.members, Members::Lines { .. }) {
            return None;
        }
        let order = serde_json::to_vec(self).ok().filter(|order| order.len() <= ORDER_MAX)?;
        let words = [ToDispatcher::Login(login.clone()), ToDispatcher::Submit(order)];
        self.open = true;
        let Some(mut connection) = start::ask(&located.home, &words, PATIENCE).ok()? else {
            self.open = false;
            return None;
        };
        loop {
            if let FromDispatcher::Done { answer } = connection.receive().ok()?? {
                self.open = false;
                let report = serde_json::from_slice(&answer?).ok()?;
                return Some(Accepted { report, connection });
            }
        }
    }
}

/// A submit that is on the disk, and the line to the dispatcher that wrote it.
#[derive(Debug)]
pub struct Accepted {
    pub report: Submitted,
    connection: Connection,
}

impl Accepted {
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
