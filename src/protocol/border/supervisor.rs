//! Between an agent and a supervisor: what each message must be.

use super::{Message, Unacceptable};
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};

impl Message for ToSupervisor {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}

impl Message for FromSupervisor {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}
