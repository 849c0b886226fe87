//! Checks of the messages between a command and its dispatcher. Both belong to the home's owner and are normally the same program;
//! one may be older, or a script.

use super::{Message, Unacceptable, field};
use crate::model::bounds::{self, OutOfBounds};
use crate::model::ssh::Login;
use crate::protocol::dispatcher::{FromDispatcher, ToDispatcher};

impl Message for ToDispatcher {
    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Follow { out, err, .. } => {
                field("out", bounds::counter(*out))?;
                field("err", bounds::counter(*err))
            }
            Self::Cancel { grace, .. } => field("grace", bounds::length(*grace)),
            Self::Read { offset, .. } => field("offset", bounds::counter(*offset)),
            Self::Login(Login { command, auth_sock }) => {
                let command = command.as_ref().map(|command| &command.0);
                let words =
                    [("command", command, bounds::LINES_MAX), ("auth_sock", auth_sock.as_ref(), bounds::PATH_MAX)];
                words
                    .into_iter()
                    .try_for_each(|(at, word, max)| word.map_or(Ok(()), |word| field(at, bounds::text(word, max))))
            }
            // A submit is decoded where it is handled; a question is checked by the other home.
            Self::Submitter(_)
            | Self::Submit(_)
            | Self::Ask { .. }
            | Self::Wake
            | Self::Discard
            | Self::Clear { .. }
            | Self::Status
            | Self::Leave
            | Self::Watch { .. }
            | Self::Probe { .. }
            | Self::Piece { .. }
            | Self::Taken { .. }
            | Self::Go { .. }
            | Self::Bring { .. } => Ok(()),
        }
    }
}

impl Message for FromDispatcher {
    fn cut(&mut self) {
        match self {
            Self::Probed { error: Some(words), .. } | Self::Unsaid { why: words, .. } => bounds::cut(words),
            _ => {}
        }
    }

    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Data { offset, .. } => field("offset", bounds::counter(*offset)),
            Self::Hello { pid, .. } | Self::Status { pid, .. } => field("pid", process(*pid)),
            Self::Ended { .. }
            | Self::Probed { .. }
            | Self::Done { .. }
            | Self::Cleared { .. }
            | Self::Said { .. }
            | Self::Unsaid { .. }
            | Self::CancelTaken
            | Self::Brought { .. } => Ok(()),
        }
    }
}

/// Checks a process id: a person may be told to kill it, and 0 and less stand for many processes.
fn process(pid: i32) -> Result<(), OutOfBounds> {
    if pid > 0 { Ok(()) } else { Err(OutOfBounds::Range(pid.to_string())) }
}
