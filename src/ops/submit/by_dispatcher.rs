//! Submits through the dispatcher, which has everything open and writes simultaneous submits with one fsync. A dispatcher that
//! has to be started handles the submit first. If this fails, the command submits (`by_itself.rs`), under the same uuid.

use super::request::SubmitRequest;
use crate::dispatch::client::start::{self, Connection};
use crate::model::id::TaskId;
use crate::model::inherited::Submitter;
use crate::model::ssh::Login;
use crate::model::task::Members;
use crate::ops::home::HomeVariables;
use crate::ops::report::Submitted;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::store::Home;
use std::time::Duration;

/// Largest submit that is sent: larger ones would delay others in the dispatcher.
const ORDER_MAX: usize = 64 << 10;
/// Longest wait for the dispatcher's answer.
const PATIENCE: Duration = Duration::from_secs(5);

impl SubmitRequest {
    /// Submits through the dispatcher; None if that is not possible.
    pub fn submit_via_dispatcher(
        &mut self,
        places: &HomeVariables,
        login: &Login,
        submitter: &Submitter,
    ) -> Option<Accepted> {
        let located = Home::locate(places).ok()?;
        self.remark = located.remark;
        // The command itself checks names, packs files, and writes many lines.
        let named = self.draft.on.is_some() || !self.draft.exclude.is_empty();
        if named || self.has_files() || matches!(self.draft.members, Members::Lines { .. }) {
            return None;
        }
        let order = serde_json::to_vec(self).ok().filter(|order| order.len() <= ORDER_MAX)?;
        let submitter = Some(submitter.to_bytes()).filter(|bytes| bytes.len() <= ORDER_MAX)?;
        let words =
            [ToDispatcher::Login(login.clone()), ToDispatcher::Submitter(submitter), ToDispatcher::Submit(order)];
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

/// A submit that is on the disk, and the connection to the dispatcher that wrote it.
#[derive(Debug)]
pub struct Accepted {
    pub report: Submitted,
    connection: Connection,
}

impl Accepted {
    /// Waits for the durable end of the task; gives the code as a shell does. None if the dispatcher stopped: the caller then asks the database.
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
