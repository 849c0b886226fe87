//! Questions to other homes by way of this home's dispatcher: all commands share its links.

use crate::dispatch::client::start::{self, Connection, StartError};
use crate::distributor::peers::{PeerError, Peers};
use crate::model::endpoint::Endpoint;
use crate::model::ssh::Login;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};
use crate::protocol::distributor::{Answer, PIECE_MAX, Question, REPORT_MAX, Ticket};
use crate::store::Home;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What withdraws a question: descriptors that become readable, or whose other end is closed. None by default.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    fds: Arc<[(OwnedFd, PollFlags)]>,
}

impl Stop {
    /// Stops on any of these descriptors, each with its events; a closed end is always reported.
    pub fn new(fds: Vec<(OwnedFd, PollFlags)>) -> Self {
        Self { fds: fds.into() }
    }

    fn polled(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.fds.iter().map(|(fd, flags)| PollFd::new(fd, *flags))
    }

    /// True if one of the descriptors has an event.
    pub fn is_due(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds: Vec<PollFd<'_>> = self.polled().collect();
        !fds.is_empty() && poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// A command's way to other homes. The dispatcher is called, or started, with the first question.
#[derive(Debug)]
pub struct Relay {
    home: Home,
    login: Login,
    connection: Option<Connection>,
    tickets: Ticket,
    /// Once it is due, the answer is no longer awaited.
    until: Stop,
}

impl Relay {
    /// A relay without a connection. `login`: what the caller's session has for ssh logins.
    pub fn new(home: &Home, login: &Login) -> Self {
        Self { home: home.clone(), login: login.clone(), connection: None, tickets: 0, until: Stop::default() }
    }

    /// Sets what withdraws the question.
    #[must_use]
    pub fn until(self, until: Stop) -> Self {
        Self { until, ..self }
    }

    /// True if the answer is no longer awaited.
    pub fn is_stopped(&self) -> bool {
        self.until.is_due()
    }

    /// Waits for a message of the dispatcher. False: the answer is no longer awaited.
    fn wait(&self, open: &Connection) -> bool {
        if self.until.fds.is_empty() {
            return true;
        }
        loop {
            let mut fds: Vec<PollFd<'_>> = self.until.polled().collect();
            fds.push(PollFd::new(open.stream(), PollFlags::IN));
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                // An error of the connection is reported where it is read.
                _ => return fds.iter().rev().skip(1).all(|fd| fd.revents().is_empty()),
            }
        }
    }

    /// Sends a question to the dispatcher. It has not left this host unless this succeeds.
    fn send_question(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        soon: bool,
    ) -> Result<(Connection, Ticket), StartError> {
        self.tickets += 1;
        let ticket = self.tickets;
        let mut question = question.clone();
        let list = question.take_list();
        let pieces = list.iter().flat_map(|list| list.as_bytes().chunks(PIECE_MAX));
        let mut messages: Vec<ToDispatcher> =
            pieces.map(|piece| ToDispatcher::Piece { ticket, bytes: piece.to_vec() }).collect();
        messages.push(ToDispatcher::Ask { ticket, endpoint: endpoint.clone(), question, soon });
        let say = |open: &mut Connection| messages.iter().try_for_each(|message| open.send(message));
        if let Some(mut kept) = self.connection.take()
            && say(&mut kept).is_ok()
        {
            return Ok((kept, ticket));
        }
        let mut fresh = start::connect(&self.home, &self.login)?;
        say(&mut fresh)?;
        Ok((fresh, ticket))
    }
}

impl Peers for Relay {
    fn ask(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        self.ask_by_dispatcher(endpoint, question, false, each)
    }

    fn ask_soon(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        self.ask_by_dispatcher(endpoint, question, true, each)
    }
}

impl Relay {
    fn ask_by_dispatcher(
        &mut self,
        endpoint: &Endpoint,
        question: &Question,
        soon: bool,
        each: &mut dyn FnMut(Answer) -> bool,
    ) -> Result<Answer, PeerError> {
        let unreached = |error: StartError| PeerError::Unreached(error.to_string());
        let (mut open, ticket) = self.send_question(endpoint, question, soon).map_err(unreached)?;
        let mut parts = String::new();
        loop {
            if !self.wait(&open) {
                return Err(PeerError::Cut("not listened to any more".to_owned()));
            }
            match open.receive() {
                Ok(Some(FromDispatcher::Said { ticket: of, answer, last })) if of == ticket => {
                    if last {
                        self.connection = Some(open);
                        return Ok(match answer {
                            Answer::Report(last) if !parts.is_empty() => Answer::Report(parts + &last),
                            answer => answer,
                        });
                    }
                    let goes = question.waits_for_go() && matches!(answer, Answer::Redirect { .. });
                    let bytes = answer.in_window();
                    let word = match answer {
                        Answer::Part(part) => {
                            if parts.len() + part.len() > REPORT_MAX {
                                return Err(PeerError::Cut(format!("its report is longer than {REPORT_MAX} bytes")));
                            }
                            parts += &part;
                            Answer::Working
                        }
                        word => word,
                    };
                    if !each(word) {
                        // Closing the connection withdraws the question.
                        return Err(PeerError::Cut("not listened to any more".to_owned()));
                    }
                    let go = goes.then_some(ToDispatcher::Go { ticket });
                    let taken = (bytes > 0).then_some(ToDispatcher::Taken { ticket, bytes });
                    if go.iter().chain(&taken).any(|word| open.send(word).is_err()) {
                        return Err(PeerError::Cut("the dispatcher left before the answer came".to_owned()));
                    }
                }
                Ok(Some(FromDispatcher::Unsaid { ticket: of, heard, why, late })) if of == ticket => {
                    self.connection = Some(open);
                    return Err(match (heard, late) {
                        (true, _) => PeerError::Cut(why),
                        (false, true) => PeerError::Late(why),
                        (false, false) => PeerError::Unreached(why),
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(PeerError::Cut("the dispatcher left before the answer came".to_owned())),
                Err(error) => return Err(PeerError::Cut(error.to_string())),
            }
        }
    }
}
