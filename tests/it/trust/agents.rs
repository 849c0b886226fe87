//! Agents that lie: what they say and can't be taken in costs their link, and nobody else.

use crate::support::{Grid, process};
use grid::model::attempt::{Cause, End, Usage};
use grid::model::attribute::Value;
use grid::model::facts::Facts;
use grid::model::id::{AttemptId, BootId, Index, LaneId, TaskUuid};
use grid::model::resources::Bytes;
use grid::model::time::Timestamp;
use grid::protocol::agent::{Ended, Event, FromAgent, Held, HeldState, MAGIC, Refusal};
use grid::protocol::frame;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Says what the test wrote for the host that it is asked for, and then what the test writes later.
const SSH: &str = r#"#!/bin/sh
for word; do case $word in f[0-9]*) host=$word; break;; esac; done
cat "$LIES/$host" || exit 255
while [ ! -e "$LIES/$host.then" ]; do sleep 0.05; done
cat "$LIES/$host.then"
exec cat >/dev/null
"#;

fn facts(host: &str) -> Facts {
    Facts {
        machine: format!("m-{host}"),
        boot: BootId("b".into()),
        hostname: host.into(),
        os: "debian".into(),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        cpus: 4,
        power: 1e6,
        load1: 0.0,
        idle_cpus: 4.0,
        mem_total: Bytes(1 << 33),
        mem_available: Bytes(1 << 33),
        disk_free: Bytes(1 << 40),
        gpus: Vec::new(),
        apps: BTreeMap::new(),
        probed: BTreeMap::new(),
        complaints: Vec::new(),
        behind: BTreeMap::new(),
    }
}

fn hello(host: &str, inventory: Vec<Held>) -> FromAgent {
    let boot = BootId("b".into());
    FromAgent::Hello { version: 1, machine: format!("m-{host}"), boot, hostname: host.into(), inventory }
}

fn end() -> End {
    let usage = Usage::default();
    End {
        cause: Cause::Exited { code: 0 },
        started_at: None,
        ended_at: Timestamp::now(),
        usage,
        out_len: 0,
        err_len: 0,
        cut: None,
        without: Vec::new(),
    }
}

fn ended(attempt: AttemptId, end: End) -> FromAgent {
    FromAgent::Events(vec![Event::Ended { attempt, ended: Ended { end, out: None, err: None } }])
}

/// A grid with servers f0, f1, .. whose agents say what is given, one after the other.
struct Liars {
    grid: Grid,
}

impl Liars {
    fn new() -> Self {
        let mut grid = Grid::new();
        let ssh = grid.file("ssh");
        std::fs::write(&ssh, SSH).unwrap();
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
        let lies = grid.file("lies");
        std::fs::create_dir(&lies).unwrap();
        grid.set_env("GRID_SSH_COMMAND", ssh.to_str().unwrap());
        grid.set_env("LIES", lies.to_str().unwrap());
        grid.grid(["dispatcher", "stop"]);
        Self { grid }
    }

    /// What a host says, once it is logged in to.
    fn says(&self, host: &str, messages: &[FromAgent]) {
        let mut wire = MAGIC.to_vec();
        messages.iter().for_each(|message| frame::encode(message, &mut wire).unwrap());
        std::fs::write(self.grid.file("lies").join(host), wire).unwrap();
    }

    /// And what it says then.
    fn says_then(&self, host: &str, bytes: &[u8]) {
        let path = self.grid.file("lies").join(format!("{host}.then"));
        std::fs::write(path.with_extension("new"), bytes).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Why a server is down, once it is.
    fn why_down(&self, host: &str) -> String {
        let mut why = String::new();
        process::until(&format!("{host} is DOWN"), || {
            let rows = self.grid.sql(&format!("SELECT health, error FROM server WHERE name = '{host}'"));
            why = rows[0]["error"].as_str().unwrap_or_default().to_owned();
            rows[0]["health"] == "DOWN"
        });
        why
    }
}

#[test]
fn invalid_reading_costs_only_that_server() {
    let liars = Liars::new();
    let grid = &liars.grid;
    let nested = (0..200).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    let probed = |value: Value| BTreeMap::from([("x".into(), value)]);
    let lies = [
        (Facts { power: f64::NAN, ..facts("f0") }, "power: NaN"),
        (Facts { load1: f64::INFINITY, ..facts("f1") }, "load1: infinity"),
        (Facts { probed: probed(Value::Double(f64::NAN)), ..facts("f2") }, "probed: NaN"),
        (Facts { probed: probed(nested), ..facts("f3") }, "depth limit"),
        (Facts { probed: probed(Value::Text("a\0b".into())), ..facts("f4") }, "probed: it holds a NUL byte"),
        (Facts { mem_total: Bytes(u64::MAX), ..facts("f5") }, "mem_total: 18446744073709551615 is out of range"),
        (Facts { kernel: "k".repeat(1 << 20), ..facts("f6") }, "kernel: 1048576 bytes"),
    ];
    for (at, (lie, _)) in lies.iter().enumerate() {
        let host = format!("f{at}");
        liars.says(&host, &[hello(&host, Vec::new()), FromAgent::Facts(lie.clone())]);
        grid.grid(["server", "add", &host, "--ssh", &host]).ok();
    }
    let dispatcher = {
        grid.grid(["run", "-w", "local", "--", "true"]).ok();
        grid.dispatcher()
    };
    for (at, (_, words)) in lies.iter().enumerate() {
        let host = format!("f{at}");
        grid.grid(["server", "refresh", &host]);
        let why = liars.why_down(&host);
        assert!(why.contains(words), "{host}: {why}");
    }
    grid.grid(["run", "--", "true"]).ok();
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
    let list = grid.grid(["server", "list"]).ok();
    assert!(list.contains("can't be taken in"), "{list}");
}

#[test]
fn invalid_message_on_an_attempt_costs_only_that_server() {
    let liars = Liars::new();
    let grid = &liars.grid;
    let lie = |at: usize, attempt: AttemptId| -> (FromAgent, &str) {
        let refused = |why| FromAgent::Events(vec![Event::Refused { attempt, why }]);
        match at {
            0 => (ended(attempt, End { out_len: u64::MAX, ..end() }), "out_len: 18446744073709551615 is out of range"),
            1 => (ended(attempt, End { ended_at: Timestamp(i64::MIN), ..end() }), "ended_at: a time of"),
            2 => (refused(Refusal::OldEpoch), "a newer dispatcher than this home has had"),
            _ => (refused(Refusal::OtherBoot), "that the host was restarted, and that it was not"),
        }
    };
    let hosts = [0, 1, 2, 3].map(|at| format!("f{at}"));
    for host in &hosts {
        liars.says(host, &[hello(host, Vec::new()), FromAgent::Facts(facts(host))]);
    }
    // Each waits for a reading that is asked for, and this agent tells the one that it has by itself.
    let asking = hosts.each_ref().map(|host| grid.beside(["server", "add", host, "--ssh", host]));
    process::until("all were read", || grid.number("SELECT count(*) FROM server WHERE health = 'UP'") == 5);
    let tasks = hosts.each_ref().map(|host| grid.submit(["-w", host, "--", "true"]));
    let dispatcher = grid.dispatcher();
    for (at, (host, task)) in hosts.iter().zip(&tasks).enumerate() {
        process::until("its start was sent", || {
            grid.number(&format!("SELECT count(*) AS n FROM member WHERE task_id = {task} AND sent > 0")) == 1
        });
        let uuid = grid.sql(&format!("SELECT hex(uuid) AS uuid FROM task WHERE id = {task}"));
        let uuid = TaskUuid(uuid[0]["uuid"].as_str().unwrap().parse().unwrap());
        let (lie, words) = lie(at, AttemptId { task: uuid, index: Index(0), number: 1 });
        let mut wire = Vec::new();
        frame::encode(&lie, &mut wire).unwrap();
        liars.says_then(host, &wire);
        let why = liars.why_down(host);
        assert!(why.contains(words), "{host}: {why}");
        assert_eq!(grid.state(task), "PENDING", "nothing is known of it");
    }
    grid.grid(["run", "-w", "local", "--", "true"]).ok();
    assert_eq!(grid.dispatcher(), dispatcher, "the dispatcher lives");
    for task in &tasks {
        grid.grid(["cancel", task]).ok();
    }
    for mut child in asking {
        let _ = child.kill();
        child.wait().unwrap();
    }
}

#[test]
fn inventory_and_noise_of_a_lying_agent_cost_its_link() {
    let liars = Liars::new();
    let grid = &liars.grid;
    let attempt = AttemptId { task: TaskUuid::new(), index: Index(u32::MAX), number: 1 };
    let lane = LaneId(i64::MAX);
    let lying = Ended { end: End { out_len: u64::MAX, ..end() }, out: None, err: None };
    liars.says("f0", &[hello("f0", vec![Held { attempt, lane, state: HeldState::Ended(lying) }])]);
    liars.says("f1", &[hello("f1", Vec::new())]);
    liars.says_then("f1", &[0x04, 0, 0, 0, 0xc1, 0xc1, 0xc1, 0xc1]);
    liars.says(
        "f2",
        &[hello("f2", Vec::new()), FromAgent::Facts(facts("f2")), FromAgent::Unfit { error: "x".repeat(1 << 20) }],
    );
    for (host, words) in [("f0", "out_len"), ("f1", "can't be taken in"), ("f2", "bytes more")] {
        grid.grid(["server", "add", host, "--ssh", host]).ok();
        grid.grid(["server", "refresh", host]);
        let why = liars.why_down(host);
        assert!(why.contains(words) && why.len() < 8 << 10, "{host}: {why}");
    }
    let from = std::time::Instant::now();
    grid.grid(["server", "list"]).ok();
    assert!(from.elapsed().as_secs() < 5, "a long error makes a list slow");
    grid.grid(["run", "-w", "local", "--", "true"]).ok();
}
