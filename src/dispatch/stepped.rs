//! A dispatcher that turns only when called: for measuring the cost of turns.

use crate::dispatch::process::begin::{Begun, begin};
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::submits::SubmitHandler;
use crate::model::ssh::Login;
use crate::store::Home;

/// A dispatcher without its waiting. It opens no links: what it places does not start.
pub struct Stepped(Begun);

impl Stepped {
    /// Starts the dispatcher of a home. None: another dispatcher holds the lock.
    pub fn begin(home: &Home, submits: Box<dyn SubmitHandler>) -> Result<Option<Self>, DispatchError> {
        Ok(begin(home, submits, None, Login::default())?.map(Self))
    }

    /// Runs one turn. True if the next one is due at once.
    pub fn turn(&mut self) -> Result<bool, DispatchError> {
        self.0.dispatcher.turn(&mut self.0.store)?;
        Ok(self.0.dispatcher.has_more())
    }
}
