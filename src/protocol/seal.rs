//! Sealing a task into an envelope, and opening it at the second tier.

use super::border::Lines;
use super::envelope::Sealed;
use super::frame::{self, FrameError};
use crate::model::feature::{UnknownFeatures, check_known};
use crate::model::task::{Members, Request};
use serde::{Deserialize, Serialize};

/// The form of a task that needs features. Grids before [`FEATURES_SINCE`](super::distributor::FEATURES_SINCE) can't read it, so
/// that they refuse the task instead of leaving out what they do not know.
#[derive(Debug, Serialize, Deserialize)]
struct Needing {
    features: Vec<String>,
    /// The task as [`seal`] writes one without features. It is read only if all features are known.
    #[serde(with = "serde_bytes")]
    task: Vec<u8>,
}

/// Why a sealed task was not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the task can't be read ({0}): is the other grid newer?")]
    Unreadable(String),
    #[error("the task can't be taken in: {0}")]
    Unacceptable(FrameError),
    #[error(transparent)]
    Unknown(#[from] UnknownFeatures),
}

impl From<FrameError> for SealError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Decode(error) => Self::Unreadable(error),
            other => Self::Unacceptable(other),
        }
    }
}

/// Seals a task. Gives the task without the lines of its array, and the lines.
pub fn seal(request: &Request) -> Result<(Sealed, Option<Sealed>), FrameError> {
    let Members::Lines { lines, at_once } = &request.members else {
        return Ok((sealed(request)?, None));
    };
    let list = Sealed(rmp_serde::to_vec(lines)?);
    let members = Members::Lines { lines: Vec::new(), at_once: *at_once };
    Ok((sealed(&Request { members, ..request.clone() })?, Some(list)))
}

fn sealed(request: &Request) -> Result<Sealed, FrameError> {
    let task = rmp_serde::to_vec_named(request)?;
    let features: Vec<String> = request.features().map(|feature| feature.name().to_owned()).collect();
    if features.is_empty() {
        return Ok(Sealed(task));
    }
    Ok(Sealed(rmp_serde::to_vec_named(&Needing { features, task })?))
}

/// Opens and checks a sealed task, without the lines of its array.
pub fn open(sealed: &Sealed) -> Result<Request, SealError> {
    let unreadable = match frame::decode(&sealed.0) {
        Err(FrameError::Decode(error)) => error,
        other => return Ok(other?),
    };
    let Ok(Needing { features, task }) = rmp_serde::from_slice(&sealed.0) else {
        return Err(SealError::Unreadable(unreadable));
    };
    check_known(&features)?;
    Ok(frame::decode(&task)?)
}

/// Puts the lines of an array into its task.
pub fn open_list(request: &mut Request, list: &Sealed) -> Result<(), FrameError> {
    if let Members::Lines { lines, .. } = &mut request.members {
        let all: Lines = rmp_serde::from_slice(&list.0)?;
        all.check(&request.launch.command)?;
        *lines = all.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needing(features: &[&str], task: &[u8]) -> Sealed {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        Sealed(rmp_serde::to_vec_named(&Needing { features, task: task.to_vec() }).unwrap())
    }

    #[test]
    fn unknown_feature_is_refused_before_the_task_is_read() {
        let error = open(&needing(&["max-output", "gpus"], b"what only a newer grid can read")).unwrap_err();
        assert!(matches!(&error, SealError::Unknown(UnknownFeatures(names)) if names == &["gpus"]), "{error}");
    }

    /// Opens a task as commit 40ed6d8 does: what it can't read it refuses.
    #[test]
    fn older_grid_refuses_a_task_that_needs_features() {
        let Sealed(bytes) = needing(&["max-output"], b"");
        let error = rmp_serde::from_slice::<Request>(&bytes).unwrap_err();
        assert!(error.to_string().contains("missing field `demand`"), "{error}");
    }
}
