//! Sealing a task into an envelope, and opening it at the second tier.

use super::envelope::Sealed;
use super::frame::FrameError;
use crate::model::command::Text;
use crate::model::task::{Members, Request};

/// Seals a task: all of it but the lines of an array, and those.
pub fn seal(request: &Request) -> Result<(Sealed, Option<Sealed>), FrameError> {
    let Members::Lines { lines, at_once } = &request.members else {
        return Ok((Sealed(rmp_serde::to_vec_named(request)?), None));
    };
    let list = Sealed(rmp_serde::to_vec(lines)?);
    let members = Members::Lines { lines: Vec::new(), at_once: *at_once };
    Ok((Sealed(rmp_serde::to_vec_named(&Request { members, ..request.clone() })?), Some(list)))
}

/// Opens a sealed task; the lines of an array are not in it.
pub fn open(sealed: &Sealed) -> Result<Request, FrameError> {
    Ok(rmp_serde::from_slice(&sealed.0)?)
}

/// Puts the lines of an array back in their place.
pub fn open_list(request: &mut Request, list: &Sealed) -> Result<(), FrameError> {
    if let Members::Lines { lines, .. } = &mut request.members {
        *lines = rmp_serde::from_slice::<Vec<Text>>(&list.0)?;
    }
    Ok(())
}
