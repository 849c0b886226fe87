//! Sealing a task into an envelope, and opening it at the second tier.

use super::envelope::Sealed;
use super::frame::FrameError;
use crate::model::task::Request;

/// Seals a task.
pub fn seal(request: &Request) -> Result<Sealed, FrameError> {
    Ok(Sealed(rmp_serde::to_vec_named(request)?))
}

/// Opens a sealed task.
pub fn open(sealed: &Sealed) -> Result<Request, FrameError> {
    Ok(rmp_serde::from_slice(&sealed.0)?)
}
