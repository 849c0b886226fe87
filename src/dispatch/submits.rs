//! Submits that commands send to the dispatcher instead of writing them themselves: it has the database open, its statements
//! prepared, and one fsync stores what several commands submit at once.

use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::turn::Turn;
use crate::distributor::fleets::Fleets;
use crate::model::time::Timestamp;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::{StoreError, Tx};

/// A submit of a command. The dispatcher does not read its bytes.
#[derive(Debug)]
pub struct SubmitMessage {
    pub submit: Vec<u8>,
    /// What its task inherits. None: the command said nothing of that.
    pub submitter: Option<Vec<u8>>,
}

/// Handles a submit within the dispatcher's transaction.
pub trait SubmitHandler {
    /// Handles a submit and gives the answer for its command. None: it can't be handled here, and nothing was written.
    fn carry_out(
        &mut self,
        tx: &Tx<'_>,
        fleets: &mut Fleets,
        submit: &SubmitMessage,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError>;
}

impl Dispatcher {
    /// Handles the submits of callers. The answers are sent after the commit.
    pub(in crate::dispatch) fn handle_submits(
        &mut self,
        turn: &mut Turn<'_, '_>,
        submits: Vec<(u64, SubmitMessage)>,
    ) -> Result<(), DispatchError> {
        if submits.is_empty() {
            return Ok(());
        }
        let (tx, now) = (turn.tx, turn.now.wall);
        for (caller, submit) in submits {
            let answer = match tx.part(|| self.submits.carry_out(tx, &mut self.schedule.fleets, &submit, now)) {
                // The command submits by itself then, and reports the error.
                Err(StoreError::Unstorable(_) | StoreError::Unreadable(_)) => None,
                other => other?,
            };
            turn.then(Effect::Answer { caller, answer: FromDispatcher::Done { answer } });
        }
        for (live, boot) in self.adopt_unsent(tx)? {
            tx.mark_sent(&live, self.instance.epoch, &boot, self.machine_at(live.host))?;
            turn.effects.extend(self.starts_of(tx, &live, &boot)?.into_iter().map(Effect::Start));
        }
        Ok(())
    }
}
