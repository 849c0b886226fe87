//! Between a dispatcher and an agent: what each message must be.

use super::{Message, Unacceptable};
use crate::protocol::agent::{FromAgent, ToAgent};

impl Message for ToAgent {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}

impl Message for FromAgent {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}
