//! Frames between a dispatcher and an agent, and between an agent and its supervisors.

use super::*;
use crate::model::attempt::Stream;
use crate::model::attribute::Value;
use crate::model::demand::Version;
use crate::model::facts::{Facts, Gpu, Residing};
use crate::model::id::{BootId, Epoch, LaneId};
use crate::protocol::agent::*;
use crate::protocol::supervisor::{FromSupervisor, ToSupervisor};

#[test]
fn messages_to_agents_are_those_of_the_first_release() {
    check(
        "to-agent",
        vec![
            ("hello", ToAgent::Hello { version_min: 1, version: 1, home: home(), incarnation: 2, epoch: Epoch(7) }),
            ("start", ToAgent::Start(start())),
            ("recall", ToAgent::Recall { lane: LaneId(4) }),
            ("cancel", ToAgent::Cancel { attempt: attempt(), grace: Duration::from_millis(10_500) }),
            ("confirm", ToAgent::Confirm { attempts: vec![attempt()] }),
            (
                "probe",
                ToAgent::Probe {
                    watch: vec!["gcc".into()],
                    script: Some("echo a=1".into()),
                    prologues: vec!["module load cuda".into()],
                },
            ),
            ("read", ToAgent::Read { attempt: attempt(), stream: Stream::Out, offset: 1 << 40, max: 1 << 20 }),
            ("follow", ToAgent::Follow { attempt: attempt(), out: 5, err: 6 }),
            ("unfollow", ToAgent::Unfollow { attempt: attempt() }),
            ("piece", ToAgent::Piece { bundle: digest(), offset: 9, bytes: vec![0, 255] }),
            ("no-bundle", ToAgent::NoBundle { bundle: digest(), error: "gone".into() }),
            ("pack", ToAgent::Pack { attempt: attempt(), launch: launch() }),
            ("read-packed", ToAgent::ReadPacked { attempt: attempt(), offset: 9, max: 256 }),
            ("drop-files", ToAgent::DropFiles { attempt: attempt() }),
        ],
    );
}

#[test]
fn messages_from_agents_are_those_of_the_first_release() {
    let ended = Ended { end: end(Cause::Exited { code: 3 }), out: Some(b"hi\xff!\n".to_vec()), err: None };
    let held = |state| Held { attempt: attempt(), lane: LaneId(4), state };
    let running =
        HeldState::Running { started_at: at(), process: Some(process()), supervised: true, without: Vec::new() };
    let inventory = vec![held(HeldState::Queued), held(running), held(HeldState::Ended(ended.clone()))];
    let packing = Packing { digest: digest(), size: 3072, files: 2, remarks: vec!["a socket was left out".into()] };
    let (boot, hostname) = (boot(), "desk".to_owned());
    check(
        "from-agent",
        vec![
            ("hello", FromAgent::Hello { version: 1, machine: "m-desk".into(), boot, hostname, inventory }),
            ("unfit", FromAgent::Unfit { error: "another agent holds it".into() }),
            ("events", FromAgent::Events(events(ended))),
            ("facts", FromAgent::Facts(facts())),
            (
                "data",
                FromAgent::Data {
                    attempt: attempt(),
                    stream: Stream::Err,
                    offset: 5,
                    bytes: b"x\0".to_vec(),
                    at_end: true,
                    left_out: 0,
                },
            ),
            ("need", FromAgent::Need { bundle: digest(), offset: 9, max: 256 }),
            ("packed", FromAgent::Packed { attempt: attempt(), result: Ok(packing) }),
            ("packed-not", FromAgent::Packed { attempt: attempt(), result: Err("no room".into()) }),
            ("packet", FromAgent::Packet { attempt: attempt(), offset: 9, bytes: vec![1] }),
        ],
    );
}

#[test]
fn messages_of_supervisors_are_those_of_the_first_release() {
    check(
        "to-supervisor",
        vec![
            ("start", ToSupervisor::Start(start())),
            ("recall", ToSupervisor::Recall),
            ("cancel", ToSupervisor::Cancel { attempt: attempt(), grace: Duration::from_secs(10) }),
        ],
    );
    let (began, ended) = (at(), end(Cause::TimeLimit));
    check(
        "from-supervisor",
        vec![
            (
                "began",
                FromSupervisor::Began {
                    attempt: attempt(),
                    at: began,
                    process: process(),
                    out_from: 5,
                    err_from: 6,
                    without: Vec::new(),
                },
            ),
            ("ended", FromSupervisor::Ended { attempt: attempt(), end: ended, out_from: 5, err_from: 6 }),
            ("refused", FromSupervisor::Refused { attempt: attempt(), why: Refusal::Tombstone }),
            ("recalled", FromSupervisor::Recalled { attempt: attempt() }),
        ],
    );
}

fn boot() -> BootId {
    BootId("7d5b7b3e-3f1c-4f60-9a0e-0d0f3d1c2b3a".into())
}

fn start() -> Start {
    Start {
        lane: LaneId(4),
        boot: boot(),
        epoch: Epoch(7),
        launch: launch(),
        mem_limit: Some(Bytes(1 << 30)),
        grid_env: vec![(text("GRID_CPUS"), text("2"))],
        prologue: Some("module load cuda".into()),
        features: Vec::new(),
        inherited: None,
        members: vec![StartMember {
            attempt: attempt(),
            array_index: Some(3),
            entry: Some(text("a line")),
            directory: Some(text("/var/tmp/work")),
        }],
    }
}

fn events(ended: Ended) -> Vec<Event> {
    let causes = [
        Cause::Signalled { signal: 9 },
        Cause::TimeLimit,
        Cause::OutOfMemory,
        Cause::Cancelled,
        Cause::NotExecuted { code: 127, error: "not found".into() },
        Cause::Lost { why: "its record is gone".into() },
    ];
    let refusals = [
        Refusal::OtherBoot,
        Refusal::OldEpoch,
        Refusal::Tombstone,
        Refusal::NoDirectory { path: "/gone".into() },
        Refusal::NoOutput { path: "/gone/out".into(), error: "no such directory".into() },
        Refusal::Spool { error: "disk full".into() },
        Refusal::Supervisor { error: "no processes left".into() },
        Refusal::Files { error: "no room".into() },
        Refusal::Prologue { error: "exit 1".into() },
    ];
    let attempt = attempt();
    let mut events = vec![
        Event::Began { attempt, at: at(), process: Some(process()), without: Vec::new() },
        Event::Orphaned { attempt },
        Event::Ended { attempt, ended },
        Event::Recalled { attempt },
    ];
    let ended = |cause| Ended { end: end(cause), out: None, err: None };
    events.extend(causes.map(|cause| Event::Ended { attempt, ended: ended(cause) }));
    events.extend(refusals.map(|why| Event::Refused { attempt, why }));
    events
}

fn facts() -> Facts {
    let apps = || [("gcc".parse().unwrap(), Some(Version("12.2".into())))].into();
    let values = [
        ("flag".into(), Value::Bool(true)),
        ("count".into(), Value::Int(-7)),
        ("part".into(), Value::Double(0.25)),
        ("site".into(), Value::from("brno")),
        ("disks".into(), Value::texts(["a", "b"])),
        ("map".into(), Value::Map([("a".into(), Value::Int(1))].into())),
    ];
    Facts {
        machine: "m-desk".into(),
        boot: boot(),
        hostname: "desk".into(),
        os: "debian".into(),
        arch: "x86_64".into(),
        kernel: "6.1.0".into(),
        cpus: 2,
        power: 459.2,
        load1: 0.5,
        idle_cpus: 1.5,
        mem_total: Bytes(8 << 30),
        mem_available: Bytes(6 << 30),
        disk_free: Bytes(100 << 30),
        gpus: vec![Gpu { model: "A100".into(), memory: Bytes(80 << 30), memory_used: Bytes(1 << 30), in_use: true }],
        apps: apps(),
        probed: values.into(),
        complaints: vec!["no nvidia-smi".into()],
        behind: [("module load cuda".into(), Residing { apps: apps(), probed: [].into() })].into(),
    }
}
