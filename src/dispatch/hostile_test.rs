//! Hostile agents: whatever message decodes, a real dispatcher on a real database survives it, and its rows stay readable.

use crate::dispatch::links::route::Route;
use crate::dispatch::process::begin::begin;
use crate::dispatch::testing::{Bench, NoSubmits, Task, facts};
use crate::model::attempt::{Cause, End, ProcessId, Stream, Usage};
use crate::model::attribute::Value;
use crate::model::demand::Version;
use crate::model::facts::{Facts, Gpu};
use crate::model::files::Digest;
use crate::model::id::{AttemptId, BootId, Index, LaneId, TaskUuid};
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::protocol::agent::{Ended, Event, FromAgent, Held, HeldState, Packing, Refusal};
use crate::protocol::frame;
use proptest::prelude::*;
use proptest::sample::select;

fn number() -> impl Strategy<Value = u64> {
    select(vec![0, 1, 7, 1 << 20, 1 << 50, (1 << 50) + 1, i64::MAX as u64, 1 << 63, u64::MAX])
}

fn time() -> impl Strategy<Value = Timestamp> {
    select(vec![0, 1, 1_800_000_000_000, 253_370_764_799_999, -1, i64::MAX, i64::MIN]).prop_map(Timestamp)
}

fn measure() -> impl Strategy<Value = f64> {
    select(vec![0.0, 2.5, 1e15, 1e16, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z]{1,8}",
        1 => Just(String::new()),
        1 => Just("a\0b".to_owned()),
        1 => Just("\u{1b}[31m\n".to_owned()),
        1 => Just("x".repeat(1 << 20)),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let nested = |depth| (0..depth).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    prop_oneof![
        text().prop_map(|text| Value::Text(text.into())),
        measure().prop_map(Value::Double),
        any::<i64>().prop_map(Value::Int),
        select(vec![1, 16, 17, 90, 200]).prop_map(nested),
        text().prop_map(|key| Value::Map([(key.into(), Value::Bool(true))].into())),
    ]
}

/// The attempt on the server, or an unknown one.
fn attempt(ours: TaskUuid) -> impl Strategy<Value = AttemptId> {
    let other = TaskUuid::new();
    (select(vec![ours, ours, ours, other]), select(vec![0, 0, 0, u32::MAX]), select(vec![1, 1, 2, 3, 0, u32::MAX]))
        .prop_map(|(task, index, number)| AttemptId { task, index: Index(index), number })
}

fn ended() -> impl Strategy<Value = Ended> {
    let cause = prop_oneof![
        any::<u8>().prop_map(|code| Cause::Exited { code }),
        any::<u8>().prop_map(|signal| Cause::Signalled { signal }),
        (any::<u8>(), text()).prop_map(|(code, error)| Cause::NotExecuted { code, error }),
        text().prop_map(|why| Cause::Lost { why }),
    ];
    let body = || prop::option::of(select(vec![0usize, 1, 7, 16 << 10, (16 << 10) + 1]));
    (cause, prop::option::of(time()), time(), number(), number(), body(), body()).prop_map(
        |(cause, started_at, ended_at, long, len, out, err)| {
            let usage = Usage { cpu_ms: long, max_rss: Bytes(long) };
            let bytes = |len: Option<usize>| len.map(|len| vec![b'x'; len]);
            let out_len = out.map_or(len, |len| len as u64);
            let err_len = err.map_or(0, |len| len as u64);
            let end = End { cause, started_at, ended_at, usage, out_len, err_len, cut: None, without: Vec::new() };
            Ended { end, out: bytes(out), err: bytes(err) }
        },
    )
}

fn event(ours: TaskUuid) -> impl Strategy<Value = Event> {
    let process =
        || prop::option::of((any::<i32>(), any::<u64>()).prop_map(|(pid, start_time)| ProcessId { pid, start_time }));
    let refusal = prop_oneof![
        Just(Refusal::OtherBoot),
        Just(Refusal::OldEpoch),
        Just(Refusal::Tombstone),
        text().prop_map(|path| Refusal::NoDirectory { path }),
        (text(), text()).prop_map(|(path, error)| Refusal::NoOutput { path, error }),
        text().prop_map(|error| Refusal::Spool { error }),
        text().prop_map(|error| Refusal::Files { error }),
        text().prop_map(|error| Refusal::Prologue { error }),
    ];
    prop_oneof![
        (attempt(ours), time(), process()).prop_map(|(attempt, at, process)| Event::Began {
            attempt,
            at,
            process,
            without: Vec::new()
        }),
        attempt(ours).prop_map(|attempt| Event::Orphaned { attempt }),
        (attempt(ours), ended()).prop_map(|(attempt, ended)| Event::Ended { attempt, ended }),
        (attempt(ours), refusal).prop_map(|(attempt, why)| Event::Refused { attempt, why }),
        attempt(ours).prop_map(|attempt| Event::Recalled { attempt }),
    ]
}

fn reading() -> impl Strategy<Value = Facts> {
    let words = (text(), text(), text());
    let numbers = (measure(), measure(), measure(), number(), any::<u32>());
    (words, numbers, prop::collection::vec(value(), 0..3), prop::collection::vec(text(), 0..3), text()).prop_map(
        |((machine, boot, kernel), (power, load1, idle_cpus, bytes, cpus), values, complaints, model)| Facts {
            machine,
            boot: BootId(boot),
            kernel,
            power,
            load1,
            idle_cpus,
            disk_free: Bytes(bytes),
            cpus,
            gpus: vec![Gpu { model: model.clone(), memory: Bytes(bytes), memory_used: Bytes(0), in_use: true }],
            apps: [("app".parse().unwrap(), Some(Version(model.into())))].into(),
            probed: values.into_iter().enumerate().map(|(at, value)| (format!("v{at}").into(), value)).collect(),
            complaints,
            ..facts("local")
        },
    )
}

fn message(ours: TaskUuid) -> impl Strategy<Value = FromAgent> {
    let state = prop_oneof![
        Just(HeldState::Queued),
        (time(), any::<bool>()).prop_map(|(started_at, supervised)| HeldState::Running {
            started_at,
            process: None,
            supervised,
            without: vec!["VIRTUAL_ENV".to_owned()],
        }),
        ended().prop_map(HeldState::Ended),
    ];
    let held = (attempt(ours), any::<i64>(), state).prop_map(|(attempt, lane, state)| Held {
        attempt,
        lane: LaneId(lane),
        state,
    });
    let hello = (text(), text(), text(), prop::collection::vec(held, 0..3));
    let packing = (number(), number(), prop::collection::vec(text(), 0..3))
        .prop_map(|(size, files, remarks)| Packing { digest: Digest([7; 32]), size, files, remarks });
    prop_oneof![
        1 => hello.prop_map(|(machine, boot, hostname, inventory)| {
            FromAgent::Hello { version: 1, machine, boot: BootId(boot), hostname, inventory }
        }),
        1 => text().prop_map(|error| FromAgent::Unfit { error }),
        4 => prop::collection::vec(event(ours), 0..4).prop_map(FromAgent::Events),
        3 => reading().prop_map(FromAgent::Facts),
        1 => (attempt(ours), number(), any::<bool>()).prop_map(|(attempt, offset, at_end)| {
            FromAgent::Data { attempt, stream: Stream::Out, offset, bytes: vec![0; 100], at_end, left_out: offset }
        }),
        1 => (attempt(ours), any::<bool>()).prop_map(|(attempt, linked)| {
            FromAgent::Linked { attempt, stream: Stream::Out, linked }
        }),
        1 => (number(), any::<u32>()).prop_map(|(offset, max)| FromAgent::Need { bundle: Digest([7; 32]), offset, max }),
        1 => (attempt(ours), packing).prop_map(|(attempt, packing)| FromAgent::Packed { attempt, result: Ok(packing) }),
        1 => (attempt(ours), text()).prop_map(|(attempt, error)| FromAgent::Packed { attempt, result: Err(error) }),
        1 => (attempt(ours), number()).prop_map(|(attempt, offset)| FromAgent::Packet { attempt, offset, bytes: vec![0; 9] }),
    ]
}

/// The message after the border check. None: the link is closed.
fn after_border(message: &FromAgent) -> Option<FromAgent> {
    let mut wire = Vec::new();
    frame::encode(message, &mut wire).ok()?;
    frame::read(&mut &wire[..]).ok().flatten()
}

/// Sends the messages of an agent to a dispatcher with one task.
fn deliver(messages: &[FromAgent], ours: TaskUuid) {
    let mut bench = Bench::new();
    let task = bench.submit_as(ours, &Task { retries: 2, retry_lost: true, ..Task::default() });
    bench.dispatcher.turn(&mut bench.store).unwrap();
    assert_eq!(bench.number(task, 0), 1, "the task lies with the server that lies");
    for message in messages.iter().filter_map(after_border) {
        bench.dispatcher.links.inbox.push((Route::Here, message));
        bench.dispatcher.turn(&mut bench.store).unwrap_or_else(|error| panic!("the dispatcher ends: {error}"));
    }
    assert_eq!(bench.store.view().unreadable().unwrap(), []);
    assert!(bench.store.view().servers().unwrap().iter().all(|server| server.taken.slots <= 1));
    // Another dispatcher starts, as a process does.
    let second = begin(&bench.dispatcher.home, Box::new(NoSubmits), None, Default::default()).unwrap();
    assert!(second.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_messages_neither_end_the_dispatcher_nor_leave_unreadable_rows(
        (ours, messages) in Just(()).prop_perturb(|(), _| TaskUuid::new())
            .prop_flat_map(|ours| (Just(ours), prop::collection::vec(message(ours), 1..12)))
    ) {
        deliver(&messages, ours);
    }
}
