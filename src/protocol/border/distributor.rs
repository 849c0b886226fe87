//! Checks of the messages between homes. An unacceptable question is refused alone, and the session continues: a first tier relays
//! the questions of many. An unacceptable answer closes the link to its home.

use super::{MEMBERS_MAX, Message, Unacceptable, field};
use crate::model::bounds::{self, OutOfBounds};
use crate::model::distributor::Load;
use crate::model::task::Counts;
use crate::protocol::distributor::{
    Answer, FromServe, Offered, Placed, Question, Refused, Report, ServerOrder, Snapshot, ToServe, Verb, Way,
};
use crate::protocol::envelope::Envelope;

/// Highest round: adding one to it does not overflow.
const ROUND_MAX: u32 = 4_000_000_000;
/// Most tasks of one question; usual questions have up to a thousand.
const TASKS_MAX: usize = 10_000;
/// Most homes in one message.
const HOMES_MAX: usize = 10_000;
/// Most requested streams of one task.
const STREAMS_MAX: usize = 8;
/// Longest search that is kept with a task; a longer one is dropped.
const SEARCH_MAX: usize = 256 << 10;
/// Most reasons of one answer; then the most bytes of all of them.
const REASONS_MAX: usize = 10_000;
const REASONS_BYTES: usize = 2 << 20;
/// Longest name of anything in another home.
const MEMBER_MAX: usize = 256;
/// Most applications of a report; then its longest text.
const APPS_MAX: usize = 256;
const REPORTED_MAX: usize = 256;

impl Message for ToServe {
    fn cut(&mut self) {
        match self {
            Self::Ask { question: Question::Commit { way, .. }, .. } => cut_search(&mut way.search),
            Self::Ask { question: Question::Manage { order: ServerOrder::Drain { reason }, .. }, .. } => {
                bounds::cut(reason);
            }
            _ => {}
        }
    }

    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Hello { incarnation, .. } => field("incarnation", bounds::counter(*incarnation)),
            // Checked by [`question`]: an unacceptable one must not end the session.
            Self::Ask { .. } => Ok(()),
            Self::Drop { .. } | Self::Go { .. } | Self::Piece { .. } | Self::Taken { .. } => Ok(()),
        }
    }
}

/// Checks a question. The sealed task in it is checked where it is opened.
pub fn question(question: &Question) -> Result<(), Unacceptable> {
    match question {
        Question::Place(of) | Question::PlaceOnGo(of) | Question::Look(of) | Question::Offer { envelope: of, .. } => {
            envelope(of)
        }
        Question::Commit { envelope: of, way: by, .. } => {
            envelope(of)?;
            way(by)
        }
        Question::Find { round: of, among, .. } => {
            round(*of)?;
            among.as_ref().map_or(Ok(()), |homes| field("among", bounds::many(homes.len(), HOMES_MAX)))
        }
        Question::GiveUp { round: of, .. } => round(*of),
        Question::Task { verb: of, .. } => verb(of),
        Question::States { uuids, .. } | Question::Watch { uuids, .. } => {
            field("uuids", bounds::many(uuids.len(), TASKS_MAX))
        }
        Question::Heard { ends, .. } => field("ends", bounds::many(ends.len(), TASKS_MAX)),
        Question::Register { report: of, .. } | Question::Transfer(of) => report(of),
        Question::Manage { .. } => Ok(()),
    }
}

fn envelope(envelope: &Envelope) -> Result<(), Unacceptable> {
    round(envelope.round)
}

fn round(round: u32) -> Result<(), Unacceptable> {
    if round > ROUND_MAX { field("round", Err(OutOfBounds::Range(round.to_string()))) } else { Ok(()) }
}

fn way(way: &Way) -> Result<(), Unacceptable> {
    for (name, text) in [("way.front", &way.front), ("way.member", &way.member)] {
        field(name, bounds::long(text.len(), MEMBER_MAX).and_then(|()| bounds::word(text)))?;
    }
    Ok(())
}

fn verb(verb: &Verb) -> Result<(), Unacceptable> {
    match verb {
        Verb::Cancel { grace_ms, .. } => field("grace_ms", bounds::length(std::time::Duration::from_millis(*grace_ms))),
        Verb::Logs { streams, .. } | Verb::Follow { streams, .. } => {
            field("streams", bounds::many(streams.len(), STREAMS_MAX))
        }
        Verb::Fetch { offset, .. } => field("offset", bounds::counter(*offset)),
        // A piece at the wrong offset is answered with the right one.
        Verb::Send { .. }
        | Verb::Show { .. }
        | Verb::Explain { .. }
        | Verb::Hold { .. }
        | Verb::Release { .. }
        | Verb::Retry { .. }
        | Verb::Remove { .. }
        | Verb::Wait { .. }
        | Verb::Fetched { .. } => Ok(()),
    }
}

/// Checks a report, which is stored and shown to people.
fn report(report: &Report) -> Result<(), Unacceptable> {
    let reported = |name: &'static str, text: &str| {
        field(name, bounds::long(text.len(), REPORTED_MAX).and_then(|()| bounds::word(text)))
    };
    field("report.incarnation", bounds::counter(report.incarnation))?;
    field("report.sequence", bounds::counter(report.sequence))?;
    load(&report.load)?;
    field("report.apps", bounds::many(report.apps.len(), APPS_MAX))?;
    report.apps.iter().try_for_each(|app| reported("report.apps", app))?;
    reported("report.health", &report.health)?;
    reported("report.release", &report.release)?;
    reported("report.why", &report.why)?;
    let period = report.period_ms.map(std::time::Duration::from_millis);
    period.map_or(Ok(()), |period| field("report.period_ms", bounds::length(period)))
}

fn load(load: &Load) -> Result<(), Unacceptable> {
    field("report.idle_cpus", bounds::measure(load.idle_cpus))?;
    field("report.power", bounds::measure(load.power))
}

impl Message for FromServe {
    fn cut(&mut self) {
        match self {
            Self::Hello { release, .. } => bounds::cut_to(release, REPORTED_MAX),
            Self::Unfit { error } => bounds::cut(error),
            Self::Answer { answer, .. } => cut_answer(answer),
        }
    }

    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Hello { incarnation, .. } => field("incarnation", bounds::counter(*incarnation)),
            Self::Unfit { .. } => Ok(()),
            Self::Answer { answer: of, .. } => answer(of),
        }
    }
}

fn answer(answer: &Answer) -> Result<(), Unacceptable> {
    match answer {
        Answer::Redirect { members } => field("members", bounds::many(members.len(), HOMES_MAX)),
        Answer::Placed(Placed { task, .. }) | Answer::Kept { task, .. } => snapshot(task),
        Answer::States(all) => {
            field("states", bounds::many(all.len(), TASKS_MAX))?;
            all.iter().try_for_each(snapshot)
        }
        Answer::Offered(Offered { why: Some(why), .. }) => {
            field("left_out", bounds::many(why.left_out, MEMBERS_MAX as usize))
        }
        Answer::Have { bytes } => field("bytes", bounds::counter(*bytes)),
        Answer::Offered(_)
        | Answer::Working
        | Answer::Refused(_)
        | Answer::Unsure { .. }
        | Answer::No { .. }
        | Answer::Nowhere
        | Answer::Report(_)
        | Answer::Part(_)
        | Answer::Output { .. }
        | Answer::Note(_)
        | Answer::Member(_)
        | Answer::Ended { .. }
        | Answer::Done
        | Answer::Denied(_)
        | Answer::Unknown(_) => Ok(()),
    }
}

/// Checks that a snapshot can be stored: no more members than a task may have, times that can be written.
fn snapshot(snapshot: &Snapshot) -> Result<(), Unacceptable> {
    if snapshot.id.0 < 1 {
        return field("id", Err(OutOfBounds::Range(snapshot.id.to_string())));
    }
    let members = in_all(&snapshot.counts);
    if !(1..=u64::from(MEMBERS_MAX)).contains(&members) {
        return field("counts", Err(OutOfBounds::Range(format!("a task of {members} members"))));
    }
    for (name, at) in [("started_at", snapshot.started_at), ("ended_at", snapshot.ended_at)] {
        at.map_or(Ok(()), |at| field(name, bounds::time(at)))?;
    }
    Ok(())
}

/// The number of all members. The sum of another home's counts may overflow their type.
fn in_all(counts: &Counts) -> u64 {
    let Counts {
        waiting,
        held,
        starting,
        running,
        completed,
        failed,
        timeout,
        out_of_memory,
        cancelled,
        skipped,
        lost,
    } = *counts;
    [waiting, held, starting, running, completed, failed, timeout, out_of_memory, cancelled, skipped, lost]
        .iter()
        .map(|count| u64::from(*count))
        .sum()
}

fn cut_answer(answer: &mut Answer) {
    match answer {
        Answer::Placed(Placed { member, task, search, .. }) => {
            bounds::cut_to(member, MEMBER_MAX);
            cut_snapshot(task);
            cut_search(search);
        }
        Answer::States(all) => all.iter_mut().for_each(cut_snapshot),
        Answer::Refused(Refused { summary, reasons, search, waits_for, .. }) => {
            bounds::cut(summary);
            waits_for.iter_mut().for_each(bounds::cut);
            cut_reasons(reasons);
            cut_search(search);
        }
        Answer::Offered(Offered { words, servers, relaxed, why, drained, .. }) => {
            bounds::cut(words);
            drained.iter_mut().for_each(bounds::cut);
            cut_reasons(servers);
            cut_reasons(relaxed);
            if let Some(chosen) = why.as_mut().and_then(|why| why.chosen.as_mut()) {
                bounds::cut_to(chosen, MEMBER_MAX);
            }
        }
        Answer::Kept { why, task } => {
            bounds::cut(why);
            cut_snapshot(task);
        }
        Answer::Unsure { member, why } => {
            bounds::cut_to(member, MEMBER_MAX);
            bounds::cut(why);
        }
        Answer::No { why: words } | Answer::Denied(words) | Answer::Unknown(words) | Answer::Note(words) => {
            bounds::cut(words);
        }
        // Parts of a whole that is bounded where it is put together.
        Answer::Report(_) | Answer::Part(_) | Answer::Output { .. } => {}
        Answer::Redirect { .. }
        | Answer::Working
        | Answer::Nowhere
        | Answer::Member(_)
        | Answer::Ended { .. }
        | Answer::Done
        | Answer::Have { .. } => {}
    }
}

fn cut_snapshot(snapshot: &mut Snapshot) {
    if let Some(server) = &mut snapshot.server {
        bounds::cut_to(server, MEMBER_MAX);
    }
    if let Some(reason) = &mut snapshot.reason {
        bounds::cut(reason);
    }
}

/// Drops a search that is too long: half of it could not be parsed.
fn cut_search(search: &mut String) {
    if search.len() > SEARCH_MAX {
        search.clear();
    }
}

/// Drops the reasons beyond the bounds, and says how many.
fn cut_reasons(reasons: &mut Vec<String>) {
    let (mut bytes, all) = (0, reasons.len());
    reasons.iter_mut().for_each(bounds::cut);
    let mut fits = |reason: &String| {
        bytes += reason.len();
        bytes <= REASONS_BYTES
    };
    let kept = reasons.iter().take(REASONS_MAX).take_while(|reason| fits(reason)).count();
    if kept < all {
        reasons.truncate(kept);
        reasons.push(format!("({} more)", all - kept));
    }
}

#[cfg(test)]
mod tests;
