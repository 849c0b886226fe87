//! Between a command and its dispatcher: what each message must be.

use super::{Message, Unacceptable};
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};

impl Message for ToDispatcher {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}

impl Message for FromDispatcher {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}
