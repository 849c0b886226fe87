//! Checks of the messages between an agent and a supervisor. Both run under one account, which a task may have too.

use super::agent::{cut_refusal, end, start, without};
use super::{Message, Unacceptable, field};
use crate::model::attempt::Cause;
use crate::model::bounds;
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};

impl Message for ToSupervisor {
    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Start(of) => start(of),
            Self::Cancel { grace, .. } => field("grace", bounds::length(*grace)),
            Self::Recall => Ok(()),
        }
    }
}

impl Message for FromSupervisor {
    fn cut(&mut self) {
        match self {
            Self::Refused { why, .. } => cut_refusal(why),
            Self::Ended { end, .. } => {
                if let Cause::NotExecuted { error: words, .. } | Cause::Lost { why: words } = &mut end.cause {
                    bounds::cut(words);
                }
            }
            Self::Began { .. } | Self::Recalled { .. } => {}
        }
    }

    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Began { at, out_from, err_from, without: names, .. } => {
                without(names)?;
                field("at", bounds::time(*at))?;
                field("out_from", bounds::counter(*out_from))?;
                field("err_from", bounds::counter(*err_from))
            }
            Self::Ended { end: of, out_from, err_from, .. } => {
                end(of)?;
                field("out_from", bounds::counter(*out_from))?;
                field("err_from", bounds::counter(*err_from))
            }
            Self::Refused { .. } | Self::Recalled { .. } => Ok(()),
        }
    }
}
