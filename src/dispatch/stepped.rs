//! A dispatcher that takes a turn when it is told to: for whoever measures what turns cost.

use crate::dispatch::process::begin::{Begun, begin};
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::submits::SubmitHandler;
use crate::model::ssh::Login;
use crate::store::Home;

/// The whole dispatcher but for its waiting. It opens no links: what it places does not begin.
pub struct Stepped(Begun);

impl Stepped {
    /// Takes its place in a home; None: another one holds it.
    pub fn begin(home: &Home, submits: Box<dyn SubmitHandler>) -> Result<Option<Self>, DispatchError> {
        Ok(begin(home, submits, None, Login::default())?.map(Self))
    }

    /// One turn. Is the next one due at once?
    pub fn turn(&mut self) -> Result<bool, DispatchError> {
        self.0.dispatcher.turn(&mut self.0.store)?;
        Ok(self.0.dispatcher.has_more())
    }
}
