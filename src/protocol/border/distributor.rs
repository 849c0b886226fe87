//! Between homes: what each message must be.

use super::{Message, Unacceptable};
use crate::protocol::distributor::{FromServe, ToServe};

impl Message for ToServe {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}

impl Message for FromServe {
    fn check(&self) -> Result<(), Unacceptable> {
        Ok(())
    }
}
