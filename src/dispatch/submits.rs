//! What commands hand in at the dispatcher instead of writing it themselves: it has the database open, its statements
//! are prepared, and what several hand in at once is on the disk with one fsync.

use crate::dispatch::process::run::{DispatchError, Dispatcher};
use crate::dispatch::turn::Outcome;
use crate::distributor::fleets::Fleets;
use crate::protocol::dispatcher::FromDispatcher;
use crate::store::{StoreError, Tx};

/// Takes an order in, within the dispatcher's transaction. What an order is, is not the dispatcher's business.
pub trait SubmitHandler {
    /// The answer for whoever gave the order; None: not to be done here, and nothing was.
    fn carry_out(&mut self, tx: &Tx<'_>, fleets: &mut Fleets, order: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
}

impl Dispatcher {
    /// Carries the orders of callers out. The answers are sent after the commit.
    pub(in crate::dispatch) fn take_orders(
        &mut self,
        tx: &Tx<'_>,
        orders: Vec<(u64, Vec<u8>)>,
        outcome: &mut Outcome,
    ) -> Result<(), DispatchError> {
        if orders.is_empty() {
            return Ok(());
        }
        for (caller, order) in orders {
            let answer = match tx.part(|| self.submits.carry_out(tx, &mut self.fleets, &order)) {
                // The command is told so, when it tries by itself.
                Err(StoreError::Unstorable(_) | StoreError::Unreadable(_)) => None,
                other => other?,
            };
            outcome.answers.push((caller, FromDispatcher::Done { answer }));
        }
        for (live, boot) in self.adopt_unsent(tx)? {
            tx.mark_sent(&live, self.epoch, &boot, self.machine_at(live.host))?;
            outcome.orders.extend(self.order_for(tx, &live, &boot)?);
        }
        Ok(())
    }
}
