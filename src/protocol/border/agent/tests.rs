//! What an agent may not say, and what of it is cut.

use super::*;
use crate::model::attempt::{Cut, Usage};
use crate::model::id::{BootId, Index, TaskUuid};
use crate::model::max_output::MaxOutput;
use crate::model::resources::Bytes;
use crate::model::time::Timestamp;
use crate::protocol::frame;

fn facts() -> Facts {
    Facts {
        machine: "m".into(),
        boot: BootId("b".into()),
        hostname: "h".into(),
        os: "debian".into(),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        cpus: 2,
        power: 900.0,
        load1: 0.1,
        idle_cpus: 1.9,
        mem_total: Bytes(1 << 33),
        mem_available: Bytes(1 << 32),
        disk_free: Bytes(1 << 60),
        gpus: Vec::new(),
        apps: BTreeMap::new(),
        probed: BTreeMap::new(),
        complaints: Vec::new(),
        behind: BTreeMap::new(),
    }
}

fn end() -> End {
    let cause = Cause::Exited { code: 0 };
    End {
        cause,
        started_at: None,
        ended_at: Timestamp(1),
        usage: Usage::default(),
        out_len: 0,
        err_len: 0,
        cut: None,
        without: Vec::new(),
    }
}

fn ending(end: End) -> FromAgent {
    let attempt = AttemptId { task: TaskUuid::new(), index: Index(0), number: 1 };
    FromAgent::Events(vec![Event::Ended { attempt, ended: Ended { end, out: None, err: None } }])
}

/// The message as decoded from a frame.
fn decoded(message: &FromAgent) -> Result<FromAgent, String> {
    let mut wire = Vec::new();
    frame::encode(message, &mut wire).unwrap();
    frame::read(&mut &wire[..]).map(Option::unwrap).map_err(|error| error.to_string())
}

#[test]
fn unacceptable_message_of_an_agent_is_refused_with_its_field() {
    let (limit, out) = (MaxOutput::DEFAULT, Some(Gap { from: 2, to: 10 }));
    let beyond = Cut::MaxOutput { limit, ended: false, out, err: None };
    let beyond_count = AttemptId { task: TaskUuid::new(), index: Index(0), number: u32::MAX };
    let lies = [
        (ending(End { out_len: 9, cut: Some(beyond), ..end() }), "cut: 2 to 10 is no part of 9 bytes"),
        (FromAgent::Linked { attempt: beyond_count, stream: Stream::Out, linked: true }, "attempt.number"),
        (FromAgent::Facts(Facts { power: f64::NAN, ..facts() }), "power: NaN is no finite number"),
        (FromAgent::Facts(Facts { load1: f64::INFINITY, ..facts() }), "load1: infinity is no finite number"),
        (FromAgent::Facts(Facts { idle_cpus: -1.0, ..facts() }), "idle_cpus: -1 is out of range"),
        (FromAgent::Facts(Facts { machine: String::new(), ..facts() }), "machine: it is empty"),
        (FromAgent::Facts(Facts { kernel: "6\0".into(), ..facts() }), "kernel: it holds a NUL byte"),
        (ending(End { out_len: u64::MAX, ..end() }), "out_len: 18446744073709551615 is out of range"),
        (ending(End { without: vec!["A\n".into()], ..end() }), "without: it holds a control character"),
        (ending(End { without: vec!["A".into(); 33], ..end() }), "without: "),
        (ending(End { ended_at: Timestamp(-1), ..end() }), "ended_at: a time of -1 ms since 1970 is out of range"),
        (ending(End { started_at: Some(Timestamp(i64::MAX)), ..end() }), "started_at: a time of"),
    ];
    for (lie, words) in lies {
        let error = decoded(&lie).expect_err("taken in");
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(decoded(&FromAgent::Facts(facts())), Ok(FromAgent::Facts(facts())));
    let ended = ending(end());
    assert_eq!(decoded(&ended), Ok(ended));
}

#[test]
fn output_of_another_length_than_stated_is_refused() {
    let FromAgent::Events(mut events) = ending(End { out_len: 3, ..end() }) else { unreachable!() };
    if let Event::Ended { ended, .. } = &mut events[0] {
        ended.out = Some(b"four".to_vec());
    }
    let error = decoded(&FromAgent::Events(events)).expect_err("taken in");
    assert!(error.contains("out: 4 bytes come, and it says that there are 3"), "{error}");
}

#[test]
fn texts_of_an_agent_are_cut_when_decoded() {
    let long = "x".repeat(1 << 20);
    let attempt = AttemptId { task: TaskUuid::new(), index: Index(0), number: 1 };
    let said = [
        FromAgent::Unfit { error: long.clone() },
        ending(End { cause: Cause::Lost { why: long.clone() }, ..end() }),
        FromAgent::Events(vec![Event::Refused { attempt, why: Refusal::Spool { error: long.clone() } }]),
        FromAgent::Facts(Facts { complaints: vec![long.clone(); 3], ..facts() }),
        FromAgent::Packed { attempt, result: Err(long) },
    ];
    for message in said {
        let mut wire = Vec::new();
        frame::encode(&decoded(&message).unwrap(), &mut wire).unwrap();
        assert!(wire.len() < 4 * bounds::REMARK_MAX, "{} bytes are left", wire.len());
    }
}
