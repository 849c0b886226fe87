//! `grid run` after its submit, and `grid logs` of what has not ended: outputs as they come, wherever the task runs.

use super::selecting::Chosen;
use super::{Grid, OpsError};
use crate::model::attempt::Stream;
use crate::model::id::Index;
use crate::model::task::State;

/// What there is to tell while a task is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A piece of an output.
    Output { index: Index, stream: Stream, bytes: &'a [u8] },
    /// Talk, for stderr: why it waits, that a cancel was asked for.
    Note(&'a str),
}

/// Takes the events; an error (a closed pipe) ends the following.
pub type Sink<'s> = dyn FnMut(Event<'_>) -> std::io::Result<()> + 's;

/// How a followed task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    pub state: State,
    /// As a shell counts: 128+signal, 124, 125, 130.
    pub code: u8,
}

/// Follows a task, or one member, until it has ended. `run`: the first Ctrl-C cancels, the second leaves.
pub fn run(_grid: &mut Grid, _what: Chosen, _sink: &mut Sink<'_>) -> Result<Ending, OpsError> {
    Err(OpsError::Grid("run is not built yet".to_owned()))
}

/// `logs -f`: as [`run`], but Ctrl-C only leaves. Only the streams in `streams`.
pub fn follow(_grid: &mut Grid, _what: Chosen, _streams: &[Stream], _sink: &mut Sink<'_>) -> Result<Ending, OpsError> {
    Err(OpsError::Grid("logs -f is not built yet".to_owned()))
}

/// `logs` of a member that runs: what it has written so far.
pub fn so_far(
    _grid: &mut Grid,
    _what: Chosen,
    _index: Index,
    _streams: &[Stream],
    _sink: &mut Sink<'_>,
) -> Result<(), OpsError> {
    Err(OpsError::Grid("logs of a running task is not built yet".to_owned()))
}

/// `logs` of an ended attempt whose output was too long to be brought home: read it from its server.
pub fn from_server(
    _grid: &mut Grid,
    _what: Chosen,
    _index: Index,
    _number: u32,
    _stream: Stream,
    _sink: &mut Sink<'_>,
) -> Result<(), OpsError> {
    Err(OpsError::Grid("logs of an output that stayed on its server is not built yet".to_owned()))
}
