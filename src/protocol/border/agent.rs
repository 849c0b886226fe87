//! Checks of the messages between a dispatcher and an agent. A server's account may lie in every field; an unacceptable message
//! closes the link.

use super::launch::{inherited, launch, text, variables};
use super::{Message, Unacceptable, field};
use crate::model::attempt::{Cause, End, Gap, Stream};
use crate::model::bounds::{self, Checked, OutOfBounds};
use crate::model::demand::Version;
use crate::model::facts::{Facts, Residing};
use crate::model::id::AttemptId;
use crate::model::name::Name;
use crate::protocol::agent::{
    Clearing, Ended, Event, FromAgent, Held, HeldState, INLINE_MAX, Packing, Refusal, Start, ToAgent,
};
use std::collections::BTreeMap;

/// Most attempts of one message; a spool with more is too long for a frame.
const ATTEMPTS_MAX: usize = 1 << 20;
/// Most processors of a host.
const CPUS_MAX: u32 = 1 << 20;
/// Most graphics processors of a host.
const GPUS_MAX: usize = 1 << 10;
/// Most applications of one environment.
const APPS_MAX: usize = 10_000;
/// Most prologues of a host's servers.
const PROLOGUES_MAX: usize = 1 << 10;
/// Most variables that a command runs without.
const WITHOUT_MAX: usize = 1 << 5;
/// Highest attempt number.
const NUMBER_MAX: u32 = 1 << 30;
/// Longest version; a longer one is cut.
const VERSION_MAX: usize = 256;

impl Message for FromAgent {
    fn cut(&mut self) {
        match self {
            Self::Hello { inventory, .. } => {
                for held in inventory {
                    if let HeldState::Ended(ended) = &mut held.state {
                        cut_cause(&mut ended.end.cause);
                    }
                }
            }
            Self::Unfit { error } => bounds::cut(error),
            Self::Events(events) => {
                for event in events {
                    match event {
                        Event::Ended { ended, .. } => cut_cause(&mut ended.end.cause),
                        Event::Refused { why, .. } => cut_refusal(why),
                        Event::Began { .. } | Event::Orphaned { .. } | Event::Recalled { .. } => {}
                    }
                }
            }
            Self::Facts(facts) => {
                bounds::cut_all(&mut facts.complaints);
                cut_versions(&mut facts.apps);
                facts.behind.values_mut().for_each(|behind| cut_versions(&mut behind.apps));
            }
            Self::Packed { result: Ok(packing), .. } => bounds::cut_all(&mut packing.remarks),
            Self::Packed { result: Err(error), .. } | Self::Cleared { result: Err(error) } => bounds::cut(error),
            Self::Cleared { result: Ok(Clearing { left, .. }) } => bounds::cut_all(left),
            Self::Data { .. } | Self::Linked { .. } | Self::Need { .. } | Self::Packet { .. } => {}
        }
    }

    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Hello { machine, boot, hostname, inventory, .. } => {
                name("machine", machine)?;
                name("boot", &boot.0)?;
                field("hostname", bounds::word(hostname))?;
                field("inventory", bounds::many(inventory.len(), ATTEMPTS_MAX))?;
                inventory.iter().try_for_each(held)
            }
            Self::Events(events) => {
                field("events", bounds::many(events.len(), ATTEMPTS_MAX))?;
                events.iter().try_for_each(event)
            }
            Self::Facts(of) => facts(of),
            Self::Data { offset, left_out, .. } => {
                field("offset", bounds::counter(*offset))?;
                field("left_out", bounds::amount(*left_out))
            }
            Self::Linked { attempt: of, .. } => attempt(*of),
            Self::Need { offset, .. } | Self::Packet { offset, .. } => field("offset", bounds::counter(*offset)),
            Self::Packed { result: Ok(of), .. } => packing(of),
            Self::Cleared { result: Ok(of) } => field("bytes", bounds::amount(of.bytes)),
            Self::Packed { result: Err(_), .. } | Self::Cleared { result: Err(_) } | Self::Unfit { .. } => Ok(()),
        }
    }
}

fn cut_cause(cause: &mut Cause) {
    match cause {
        Cause::NotExecuted { error: words, .. } | Cause::Lost { why: words } => bounds::cut(words),
        Cause::Exited { .. } | Cause::Signalled { .. } | Cause::TimeLimit | Cause::OutOfMemory | Cause::Cancelled => {}
    }
}

/// Cuts a refusal; also used for the supervisor's messages.
pub(super) fn cut_refusal(why: &mut Refusal) {
    match why {
        Refusal::NoDirectory { path } => bounds::cut(path),
        Refusal::NoOutput { path, error } => {
            bounds::cut(path);
            bounds::cut(error);
        }
        Refusal::Spool { error }
        | Refusal::Supervisor { error }
        | Refusal::Files { error }
        | Refusal::Prologue { error } => bounds::cut(error),
        Refusal::Features { unknown } => bounds::cut_all(unknown),
        Refusal::OtherBoot | Refusal::OldEpoch | Refusal::Tombstone => {}
    }
}

fn cut_versions(apps: &mut BTreeMap<Name, Option<Version>>) {
    for version in apps.values_mut().flatten().filter(|version| version.0.len() > VERSION_MAX) {
        version.0 = version.0[..bounds::boundary(&version.0, VERSION_MAX)].into();
    }
}

/// Checks the attempt number, which is counted up from here.
fn attempt(attempt: AttemptId) -> Result<(), Unacceptable> {
    if attempt.number > NUMBER_MAX {
        return field("attempt.number", Err(OutOfBounds::Range(attempt.number.to_string())));
    }
    Ok(())
}

/// Checks that a word is not empty: rows are found by it.
fn name(at: &'static str, word: &str) -> Result<(), Unacceptable> {
    let there: Checked = if word.is_empty() { Err(OutOfBounds::Empty) } else { Ok(()) };
    field(at, there.and_then(|()| bounds::word(word)))
}

fn held(held: &Held) -> Result<(), Unacceptable> {
    attempt(held.attempt)?;
    match &held.state {
        HeldState::Queued => Ok(()),
        HeldState::Running { started_at, without: names, .. } => {
            without(names)?;
            field("started_at", bounds::time(*started_at))
        }
        HeldState::Ended(of) => ended(of),
    }
}

fn event(event: &Event) -> Result<(), Unacceptable> {
    match event {
        Event::Began { at, without: names, .. } => {
            without(names)?;
            field("at", bounds::time(*at))
        }
        Event::Ended { ended: of, .. } => ended(of),
        Event::Orphaned { .. } | Event::Refused { .. } | Event::Recalled { .. } => Ok(()),
    }
}

fn ended(ended: &Ended) -> Result<(), Unacceptable> {
    end(&ended.end)?;
    for (at, body, len) in [("out", &ended.out, ended.end.out_len), ("err", &ended.err, ended.end.err_len)] {
        let Some(body) = body else { continue };
        field(at, bounds::long(body.len(), INLINE_MAX as usize))?;
        if body.len() as u64 != len {
            let fault = format!("{} bytes come, and it says that there are {len}", body.len());
            return Err(Unacceptable { field: at, fault });
        }
    }
    Ok(())
}

/// Checks the names of variables that a command runs without; also used for the supervisor's messages.
pub(super) fn without(names: &[String]) -> Result<(), Unacceptable> {
    field("without", bounds::many(names.len(), WITHOUT_MAX))?;
    names.iter().try_for_each(|name| field("without", bounds::word(name)))
}

/// Checks an end; also used for the supervisor's messages.
pub(super) fn end(end: &End) -> Result<(), Unacceptable> {
    without(&end.without)?;
    end.started_at.map_or(Ok(()), |at| field("started_at", bounds::time(at)))?;
    field("ended_at", bounds::time(end.ended_at))?;
    field("cpu_ms", bounds::amount(end.usage.cpu_ms))?;
    field("max_rss", bounds::counter(end.usage.max_rss.0))?;
    field("out_len", bounds::amount(end.out_len))?;
    field("err_len", bounds::amount(end.err_len))?;
    // Dropped bytes are a part of the output.
    for (stream, len) in [(Stream::Out, end.out_len), (Stream::Err, end.err_len)] {
        let gap = end.cut.as_ref().and_then(|cut| cut.gap(stream));
        if let Some(Gap { from, to }) = gap.filter(|gap| gap.from > gap.to || gap.to > len) {
            return Err(Unacceptable { field: "cut", fault: format!("{from} to {to} is no part of {len} bytes") });
        }
    }
    Ok(())
}

fn facts(facts: &Facts) -> Result<(), Unacceptable> {
    name("machine", &facts.machine)?;
    name("boot", &facts.boot.0)?;
    for (at, word) in
        [("hostname", &facts.hostname), ("os", &facts.os), ("arch", &facts.arch), ("kernel", &facts.kernel)]
    {
        field(at, bounds::word(word))?;
    }
    if facts.cpus > CPUS_MAX {
        return field("cpus", Err(OutOfBounds::Range(facts.cpus.to_string())));
    }
    field("power", bounds::measure(facts.power))?;
    field("load1", bounds::measure(facts.load1))?;
    field("idle_cpus", bounds::measure(facts.idle_cpus))?;
    field("mem_total", bounds::amount(facts.mem_total.0))?;
    field("mem_available", bounds::amount(facts.mem_available.0))?;
    // File systems may be larger than any sum.
    field("disk_free", bounds::counter(facts.disk_free.0))?;
    field("gpus", bounds::many(facts.gpus.len(), GPUS_MAX))?;
    for gpu in &facts.gpus {
        field("gpus.model", bounds::word(&gpu.model))?;
        field("gpus.memory", bounds::amount(gpu.memory.0))?;
        field("gpus.memory_used", bounds::amount(gpu.memory_used.0))?;
    }
    residing(&facts.apps, &facts.probed)?;
    field("behind", bounds::many(facts.behind.len(), PROLOGUES_MAX))?;
    for (lines, Residing { apps, probed }) in &facts.behind {
        field("behind", bounds::text(lines, bounds::LINES_MAX))?;
        residing(apps, probed)?;
    }
    Ok(())
}

fn residing(
    apps: &BTreeMap<Name, Option<Version>>,
    probed: &BTreeMap<Box<str>, crate::model::attribute::Value>,
) -> Result<(), Unacceptable> {
    field("apps", bounds::many(apps.len(), APPS_MAX))?;
    apps.values().flatten().try_for_each(|version| field("apps", bounds::word(&version.0)))?;
    field("probed", bounds::values(probed, bounds::VALUES_MAX))
}

fn packing(packing: &Packing) -> Result<(), Unacceptable> {
    field("size", bounds::amount(packing.size))?;
    field("files", bounds::amount(packing.files))
}

impl Message for ToAgent {
    fn check(&self) -> Result<(), Unacceptable> {
        match self {
            Self::Hello { incarnation, epoch, .. } => {
                field("incarnation", bounds::counter(*incarnation))?;
                field("epoch", bounds::counter(epoch.0))
            }
            Self::Start(of) => start(of),
            Self::Cancel { attempt: of, grace } => {
                attempt(*of)?;
                field("grace", bounds::length(*grace))
            }
            Self::Pack { attempt: of, launch: with } => {
                attempt(*of)?;
                launch(with)
            }
            Self::Link { attempt: of, to, .. } => {
                attempt(*of)?;
                text("to", Some(to))
            }
            Self::Probe { watch, script, prologues } => {
                field("watch", bounds::many(watch.len(), APPS_MAX))?;
                let lines = script.iter().chain(prologues).chain(watch);
                lines.into_iter().try_for_each(|lines| field("lines", bounds::text(lines, bounds::LINES_MAX)))
            }
            Self::Read { offset, .. } | Self::ReadPacked { offset, .. } | Self::Piece { offset, .. } => {
                field("offset", bounds::counter(*offset))
            }
            Self::Follow { out, err, .. } => {
                field("out", bounds::counter(*out))?;
                field("err", bounds::counter(*err))
            }
            Self::Recall { .. }
            | Self::Confirm { .. }
            | Self::Unfollow { .. }
            | Self::NoBundle { .. }
            | Self::DropFiles { .. }
            | Self::Clear => Ok(()),
        }
    }
}

/// Checks a start; also used for the supervisor's messages, to which the agent passes it on.
pub(super) fn start(start: &Start) -> Result<(), Unacceptable> {
    field("boot", bounds::word(&start.boot.0))?;
    field("epoch", bounds::counter(start.epoch.0))?;
    launch(&start.launch)?;
    variables("grid_env", &start.grid_env)?;
    start.inherited.as_ref().map_or(Ok(()), inherited)?;
    start.prologue.as_ref().map_or(Ok(()), |lines| field("prologue", bounds::text(lines, bounds::LINES_MAX)))?;
    for member in &start.members {
        // Attempts are reported in each hello, where they have to be acceptable.
        attempt(member.attempt)?;
        text("entry", member.entry.as_ref())?;
        text("directory", member.directory.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
