//! An end, from its report to its record: the place is released at once, results and long outputs are fetched first.

use crate::dispatch::attempts::absent::note_absent;
use crate::dispatch::dispatcher::Dispatcher;
use crate::dispatch::effects::Effect;
use crate::dispatch::links::route::Route;
use crate::dispatch::process::run::DispatchError;
use crate::dispatch::transfer::bring::{record_results, results_stay, stays};
use crate::dispatch::transfer::ending::{Ending, ReportedEnd, Results};
use crate::dispatch::transfer::outputs::kept_at;
use crate::dispatch::transfer::results::Brought;
use crate::dispatch::turn::Turn;
use crate::model::attempt::{Cause, End, Stream};
use crate::model::failpoint::failpoint;
use crate::model::id::{AttemptId, AttemptKey};
use crate::protocol::agent::Ended;
use crate::store::members::Outputs;
use crate::store::{StoreError, Tx};
use std::time::Duration;

impl Dispatcher {
    /// Handles the report of an end.
    pub(in crate::dispatch) fn ended(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        attempt: AttemptId,
        ended: Ended,
    ) -> Result<(), DispatchError> {
        let Some(key) = self.known(turn.tx, route, attempt)? else {
            turn.then(Effect::Confirm { route, attempt });
            return Ok(());
        };
        self.free_lane(turn, route, attempt, &ended.end)?;
        if self.transfers.outputs.has(attempt) {
            return Ok(());
        }
        self.advance(turn, Ending::Reported(ReportedEnd { route, attempt, key, ended, outputs: None }))
    }

    /// Handles ends whose results or outputs have arrived.
    pub(in crate::dispatch) fn record_arrived(
        &mut self,
        turn: &mut Turn<'_, '_>,
        endings: Vec<Ending>,
    ) -> Result<(), DispatchError> {
        for ending in endings {
            let (route, attempt) = (ending.report().route, ending.report().attempt);
            match self.known(turn.tx, route, attempt)? {
                Some(_) => self.advance(turn, ending)?,
                None => turn.then(Effect::Confirm { route, attempt }),
            }
        }
        Ok(())
    }

    /// Advances an end as far as possible: until it is recorded, or waits for a transfer.
    fn advance(&mut self, turn: &mut Turn<'_, '_>, mut ending: Ending) -> Result<(), DispatchError> {
        loop {
            ending = match ending {
                Ending::Reported(report) => {
                    // Results of a failed attempt are skipped if another attempt follows.
                    if starts_again(turn.tx, report.key, &report.ended.end.cause)? {
                        Ending::Brought(report, Results::Skipped)
                    } else if self.request_results(turn, &report)? {
                        return Ok(turn.tx.leave_lane(report.key)?);
                    } else {
                        Ending::Brought(report, Results::None)
                    }
                }
                Ending::Brought(report @ ReportedEnd { outputs: Some(outputs), .. }, results) => {
                    Ending::Settled(report, results, outputs)
                }
                Ending::Brought(report, results) => {
                    match kept_at(&report.ended, || self.attempts.settings.output_limit(turn.tx))? {
                        Some(outputs) => Ending::Settled(report, results, outputs),
                        // The end is recorded already and was reported again: its output is neither fetched again nor removed.
                        None if !is_awaited(turn.tx, report.key)? => {
                            let there = turn.tx.outputs_stay_there(report.key)?;
                            Ending::Settled(report, results, if there { Outputs::Server } else { Outputs::Spool })
                        }
                        None => {
                            let ReportedEnd { route, attempt, key, .. } = report;
                            turn.then(Effect::FetchOutput { route, attempt });
                            self.transfers.outputs.expect(report, results);
                            return Ok(turn.tx.leave_lane(key)?);
                        }
                    }
                }
                Ending::Settled(report, results, outputs) => {
                    let again = starts_again(turn.tx, report.key, &report.ended.end.cause)?;
                    // The task was cancelled during the transfer of the output: no attempt follows, so the results are fetched
                    // after all.
                    if results == Results::Skipped && !again {
                        let report = ReportedEnd { outputs: Some(outputs), ..report };
                        if self.request_results(turn, &report)? {
                            return Ok(turn.tx.leave_lane(report.key)?);
                        }
                        return self.record_end(turn, &report, None, outputs, again);
                    }
                    return self.record_end(turn, &report, results.brought(), outputs, again);
                }
            };
        }
    }

    /// Releases the place of an attempt: its process is gone, even if a long output is still in transfer.
    fn free_lane(
        &mut self,
        turn: &mut Turn<'_, '_>,
        route: Route,
        attempt: AttemptId,
        end: &End,
    ) -> Result<(), StoreError> {
        if let Some((lane, held)) = self.attempts.lanes.drop_attempt(attempt)
            && let Some((class, host)) = self.attempts.lanes.get(lane).map(|l| (l.class, l.place.host))
        {
            let took = match (end.started_at, held.began) {
                (Some(from), _) => from.age_at(end.ended_at),
                (None, Some(began)) => turn.now.since(began),
                (None, None) => Duration::ZERO,
            };
            self.attempts.lanes.learn(class, took);
            self.probe_after_change(route, turn.now.mono);
            self.note_outcome(turn, class, host, end, took)?;
        }
        Ok(())
    }

    /// Records an end: the member has ended, or waits for its next attempt.
    fn record_end(
        &mut self,
        turn: &mut Turn<'_, '_>,
        report: &ReportedEnd,
        brought: Option<&Brought>,
        outputs: Outputs,
        again: bool,
    ) -> Result<(), DispatchError> {
        let ReportedEnd { route, attempt, key, ended, .. } = report;
        let (route, attempt, key) = (*route, *attempt, *key);
        if again && let Some(host) = turn.tx.member(key.task, key.index)?.and_then(|m| m.host()) {
            self.wait_for_another(turn, key, host)?;
        }
        self.attempts.cancelling.remove(&attempt);
        // Where it ran, which the record of its end leaves out.
        note_absent(turn.tx, key, &ended.end.without, turn.now.wall)?;
        let (results_stay, output_stays) = if turn.ledger.ended(key, &ended.end, outputs, again)? {
            if outputs == Outputs::Database {
                for (stream, body) in [(Stream::Out, &ended.out), (Stream::Err, &ended.err)] {
                    turn.tx.keep_output(key, stream, body.as_deref().unwrap_or_default())?;
                }
            }
            if let Some(brought) = brought {
                record_results(turn.tx, key, brought)?;
            }
            self.activity.dirty |= again;
            (brought.is_some_and(|brought| stays(&brought.lies)), outputs == Outputs::Server)
        } else {
            // The end was recorded before. That record decides what the agent may drop, whatever was fetched since.
            (results_stay(turn.tx, key)?, turn.tx.outputs_stay_there(key)?)
        };
        if !results_stay && !output_stays {
            turn.then(Effect::Confirm { route, attempt });
        } else if !results_stay {
            // The output is read there; the directory is not needed any more.
            turn.then(Effect::DropFiles { route, attempt });
        }
        failpoint("dispatcher-end-taken");
        Ok(())
    }
}

/// True if the end of an attempt is not recorded yet.
fn is_awaited(tx: &Tx<'_>, key: AttemptKey) -> Result<bool, StoreError> {
    let member = tx.member(key.task, key.index)?.filter(|member| member.number == key.number);
    Ok(member.is_some_and(|member| member.is_live()))
}

/// True if another attempt follows. `--retries` covers ends with a known code, `--retry-lost` the others; a cancel ends both.
fn starts_again(tx: &Tx<'_>, key: AttemptKey, cause: &Cause) -> Result<bool, StoreError> {
    if !cause.known_failure() && !matches!(cause, Cause::Lost { .. }) {
        return Ok(false);
    }
    let Some(row) = tx.task(key.task)? else { return Ok(false) };
    if tx.cancel_asked(key.task, Some(key.index))?.is_some() {
        return Ok(false);
    }
    Ok(match cause {
        Cause::Lost { .. } => row.retry_lost && key.number <= row.retries.max(1),
        _ => key.number <= row.retries,
    })
}
