//! Compatibility with the frames of the first release (`fixtures/wire/`: a name and its bytes on each line): this program reads
//! every message with its old meaning, and writes everything that a reader of that release needs.

mod agent;
mod homes;
mod local;

use super::frame;
use crate::model::attempt::{Cause, End, ProcessId, Usage};
use crate::model::command::{Command, Environment, Text};
use crate::model::files::{Digest, Fetch, RelPath, Sent, Workplace};
use crate::model::id::{AttemptId, HomeId, Index, TaskUuid};
use crate::model::resources::Bytes;
use crate::model::task::Launch;
use crate::model::time::Timestamp;
use crate::protocol::border::Message;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;
use uuid::Uuid;

/// The frames of the first release by the names of their messages. Agents spoke version 1 then, homes version 3.
fn frames() -> BTreeMap<&'static str, Vec<u8>> {
    let text = include_str!("../../../fixtures/wire/agent-1-homes-3.txt");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let line = |line: &'static str| {
        let (name, hex) = line.split_once(' ').unwrap();
        (name, hex.as_bytes().chunks(2).map(byte).collect())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

/// Checks messages against the fixture. The message's name precedes the colon, the name of a variant follows it.
fn check<M: Message + Serialize + PartialEq + Debug>(protocol: &str, messages: Vec<(&str, M)>) {
    let frames = frames();
    let known = frames.keys().filter(|name| name.starts_with(&format!("{protocol}:"))).count();
    assert_eq!(known, messages.len(), "{protocol}: a message is missing here or in the fixture");
    for (name, message) in messages {
        let name = format!("{protocol}:{name}");
        let then = &frames[name.as_str()];
        let read: M = frame::read(&mut then.as_slice()).unwrap_or_else(|e| panic!("{name}: {e}")).unwrap();
        assert_eq!(read, message, "{name}");
        let mut now = Vec::new();
        frame::encode(&message, &mut now).unwrap();
        let value = |bytes: &[u8]| rmpv::decode::read_value(&mut &bytes[4..]).unwrap();
        holds(&name, &value(&now), &value(then));
    }
}

/// Checks that the new value holds all of the old one. Maps may have more entries: older readers skip unknown ones.
fn holds(name: &str, now: &rmpv::Value, then: &rmpv::Value) {
    match (now, then) {
        (rmpv::Value::Map(now), rmpv::Value::Map(then)) => {
            for (key, value) in then {
                let found = now.iter().find(|(other, _)| other == key);
                let (_, found) = found.unwrap_or_else(|| panic!("{name}: {key} is gone"));
                holds(&format!("{name}.{key}"), found, value);
            }
        }
        (rmpv::Value::Array(now), rmpv::Value::Array(then)) => {
            assert_eq!(now.len(), then.len(), "{name}");
            now.iter().zip(then).for_each(|(now, then)| holds(name, now, then));
        }
        _ => assert_eq!(now, then, "{name}"),
    }
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_0000_0000_7000_8000_0000_0000_0000 + n)
}

fn home() -> HomeId {
    HomeId(uuid(1))
}

fn task() -> TaskUuid {
    TaskUuid(uuid(10))
}

fn attempt() -> AttemptId {
    AttemptId { task: task(), index: Index(3), number: 2 }
}

fn at() -> Timestamp {
    Timestamp(1_795_663_856_662)
}

fn text(text: &str) -> Text {
    text.into()
}

fn path(path: &str) -> RelPath {
    RelPath::new(Path::new(path)).unwrap()
}

fn digest() -> Digest {
    Digest([7; 32])
}

fn process() -> ProcessId {
    ProcessId { pid: 4242, start_time: 987_654 }
}

fn end(cause: Cause) -> End {
    let usage = Usage { cpu_ms: 12, max_rss: Bytes(3 << 20) };
    End {
        cause,
        started_at: Some(at()),
        ended_at: Timestamp(at().0 + 750),
        usage,
        out_len: 5,
        err_len: 70_000,
        cut: None,
        without: Vec::new(),
    }
}

fn launch() -> Launch {
    Launch {
        command: Command::new(vec![text("sh"), text("-c"), text("exit 3")]).unwrap(),
        cwd: text("/home/me/work"),
        home: Some(text("/home/me")),
        env: Environment(vec![(text("LANG"), text("C.UTF-8"))]),
        time_limit: Some(Duration::from_millis(90_500)),
        stdout: Some(text("out.%a")),
        stderr: Some(text("err")),
        stdin: Some(b"in\0put".to_vec()),
        workplace: Workplace::Own(Sent { bundle: digest(), size: 3072, files: 2, below: path("a/b") }),
        fetch: Some(Fetch { patterns: vec![path("out*")], changed: true, into: text("/home/me/work") }),
        max_output: None,
    }
}
