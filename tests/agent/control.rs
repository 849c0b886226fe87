//! Limits, cancelling, recalling, fences, following.

use crate::driver::*;
use grid::model::attempt::{Cause, Stream};
use grid::model::id::{AttemptId, BootId, Epoch, LaneId};
use grid::model::resources::Bytes;
use grid::protocol::agent::{Event, FromAgent, Refusal, Start, ToAgent};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// A command that ends on KILL only, with a child in a session of its own; both write their pids.
const STUBBORN: &str = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >$D/b; while :; do sleep 1; done' & \
    echo $$ >$D/a; while :; do sleep 1; done";

fn stubborn(home: &Home) -> grid::model::task::Launch {
    let mut launch = sh(STUBBORN);
    launch.env.0.push(("D".into(), home.dir.path().as_os_str().to_owned().into()));
    launch
}

/// The pids that STUBBORN wrote.
fn pids(home: &Home) -> Vec<i32> {
    let read = |name: &str| std::fs::read_to_string(home.path(name)).ok()?.trim().parse().ok();
    until("both have written", || ["a", "b"].iter().all(|n| read(n).is_some()));
    ["a", "b"].iter().map(|n| read(n).unwrap()).collect()
}

#[test]
fn time_limit_ends_the_process_tree() {
    let home = Home::new();
    let mut agent = home.agent();
    let mut given = sh("sleep 1000 & echo $! ; exec sleep 1001");
    given.time_limit = Some(Duration::from_millis(300));
    let ended = agent.run(given);
    assert_eq!(ended.end.cause, Cause::TimeLimit);
    gone(out(&ended).trim().parse().unwrap());
}

#[test]
fn cancel_ends_processes_that_ignore_term_or_left_the_session() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, stubborn(&home));
    agent.began(id);
    let pids = pids(&home);
    let began = Instant::now();
    agent.cancel(id, SECOND / 2);
    assert_eq!(agent.end(id).end.cause, Cause::Cancelled);
    assert!(began.elapsed() >= SECOND / 2, "the grace is kept");
    pids.into_iter().for_each(gone);
    assert_eq!(exited(&agent.run(launch(&["true"]))), 0, "the lane goes on");
}

#[test]
fn leftovers_are_ended_before_the_next_command_begins() {
    let home = Home::new();
    let mut agent = home.agent();
    let ended = agent.run(sh("setsid sh -c 'while :; do echo late; sleep 0.01; done' & echo $!"));
    let pid: i32 = out(&ended).lines().find_map(|l| l.parse().ok()).unwrap();
    gone(pid);
    assert_eq!(out(&agent.run(sh("sleep 0.1; echo mine"))), "mine\n");
}

#[test]
fn cancel_after_the_end_changes_nothing() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, sh("exit 5"));
    assert_eq!(exited(&agent.end(id)), 5);
    agent.cancel(id, SECOND);
    assert_eq!(exited(&agent.end(id)), 5, "its own end is told again");
}

#[test]
fn memory_limit_ends_the_task() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = attempt();
    let mut order = agent.order(1, sh("tail /dev/zero"), vec![member(id)]);
    order.mem_limit = Some(Bytes(64 << 20));
    agent.tell(&ToAgent::Start(order));
    assert_eq!(agent.end(id).end.cause, Cause::OutOfMemory);
}

#[test]
fn repeated_start_gets_the_state_of_the_first() {
    let home = Home::new();
    let mut agent = home.agent();
    let marks = home.path("marks");
    let id = attempt();
    let order =
        agent.order(1, sh(&format!("echo x >>{}; read l <{}", marks.display(), marks.display())), vec![member(id)]);
    for _ in 0..3 {
        agent.tell(&ToAgent::Start(order.clone()));
    }
    agent.end(id);
    agent.tell(&ToAgent::Start(order.clone()));
    agent.end(id);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\n");
    drop(agent);
    let mut next = home.agent();
    assert!(next.held(id).is_some());
    next.tell(&ToAgent::Start(order));
    next.end(id);
    assert_eq!(std::fs::read_to_string(&marks).unwrap(), "x\n");
}

#[test]
fn start_with_an_old_epoch_or_another_boot_is_refused() {
    let mut home = Home::new();
    home.epoch = Epoch(5);
    home.agent().leave();
    home.epoch = Epoch(4);
    let mut old = home.agent();
    let id = old.start(1, launch(&["true"]));
    assert_eq!(old.refusal(id), Refusal::OldEpoch);
    drop(old);
    home.epoch = Epoch(6);
    let mut agent = home.agent();
    agent.boot = BootId("another".into());
    let id = agent.start(1, launch(&["true"]));
    assert_eq!(agent.refusal(id), Refusal::OtherBoot);
}

#[test]
fn tombstone_outlives_the_agent() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = attempt();
    agent.cancel(id, SECOND);
    assert_eq!(agent.refusal(id), Refusal::Tombstone);
    agent.kill();
    let mut agent = home.agent();
    let order = agent.order(1, launch(&["true"]), vec![member(id)]);
    agent.tell(&ToAgent::Start(order));
    assert_eq!(agent.refusal(id), Refusal::Tombstone);
}

#[test]
fn queued_attempt_can_be_cancelled_and_recalled() {
    let home = Home::new();
    let mut agent = home.agent();
    let ids: Vec<AttemptId> = (0..700).map(|_| attempt()).collect();
    let order = agent.order(7, sh("exec sleep 1000"), ids.iter().map(|id| member(*id)).collect());
    agent.tell(&ToAgent::Start(order));
    agent.began(ids[0]);
    // One that a supervisor has, one that waits in the agent.
    for id in [ids[10], ids[699]] {
        agent.cancel(id, SECOND);
        assert_eq!(agent.refusal(id), Refusal::Tombstone);
    }
    agent.tell(&ToAgent::Recall { lane: LaneId(7) });
    let mut back = std::collections::HashSet::new();
    while back.len() < 697 {
        back.insert(agent.find(|e| if let Event::Recalled { attempt } = e { Some(*attempt) } else { None }).unwrap());
    }
    agent.cancel(ids[0], SECOND);
    assert_eq!(agent.end(ids[0]).end.cause, Cause::Cancelled);
}

#[test]
fn follower_gets_every_byte_once_and_none_of_the_next_task() {
    let home = Home::new();
    let mut agent = home.agent();
    let ids: Vec<AttemptId> = (0..20).map(|_| attempt()).collect();
    for id in &ids {
        agent.tell(&ToAgent::Follow { attempt: *id, out: 0, err: 0 });
    }
    // A follow of what is not known ends at once.
    for _ in 0..40 {
        assert!(matches!(agent.other(), FromAgent::Data { at_end: true, .. }));
    }
    let members = ids.iter().enumerate().map(|(i, id)| grid::protocol::agent::StartMember {
        array_index: Some(u32::try_from(i).unwrap()),
        ..member(*id)
    });
    let script = "for i in $(seq 300); do echo $GRID_ARRAY_INDEX-$i; done; echo e$GRID_ARRAY_INDEX >&2";
    let order = agent.order(1, sh(script), members.collect());
    agent.tell(&ToAgent::Start(order));
    for id in &ids {
        agent.tell(&ToAgent::Follow { attempt: *id, out: 0, err: 0 });
    }
    let mut got: std::collections::HashMap<(AttemptId, Stream), (Vec<u8>, bool)> = std::collections::HashMap::new();
    while got.values().filter(|(_, end)| *end).count() < 40 {
        let FromAgent::Data { attempt, stream, offset, bytes, at_end, .. } = agent.other() else { panic!() };
        let (all, end) = got.entry((attempt, stream)).or_default();
        assert!(!*end && offset == all.len() as u64, "{offset} of {}", all.len());
        all.extend(bytes);
        *end = at_end;
    }
    for (i, id) in ids.iter().enumerate() {
        let wanted: String = (1..=300).map(|n| format!("{i}-{n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&got[&(*id, Stream::Out)].0), wanted);
        assert_eq!(got[&(*id, Stream::Err)].0, format!("e{i}\n").as_bytes());
    }
}

#[test]
fn growing_output_is_followed_and_a_long_one_is_read_in_pieces() {
    let home = Home::new();
    let mut agent = home.agent();
    let fifo = home.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let id = agent.start(1, sh(&format!("echo one; read l <{}; head -c 40000 /dev/zero", fifo.display())));
    agent.began(id);
    agent.tell(&ToAgent::Follow { attempt: id, out: 0, err: 0 });
    let FromAgent::Data { bytes, at_end: false, .. } = agent.other() else { panic!() };
    assert_eq!(bytes, b"one\n");
    std::fs::write(&fifo, "go\n").unwrap();
    let mut all = 4;
    let mut over = 0;
    while over < 2 {
        let FromAgent::Data { bytes, at_end, .. } = agent.other() else { panic!() };
        all += bytes.len();
        over += usize::from(at_end);
    }
    assert_eq!(all, 40_004);
    let ended = agent.end(id);
    assert_eq!((ended.end.out_len, ended.out), (40_004, None));
    assert_eq!(agent.read(id, Stream::Out, 0, 4), (b"one\n".to_vec(), false));
    let (rest, at_end) = agent.read(id, Stream::Out, 4, 1 << 20);
    assert_eq!((rest.len(), at_end), (40_000, true));
}

#[test]
fn run_is_removed_when_all_of_its_ends_are_confirmed() {
    let home = Home::new();
    let mut agent = home.agent();
    let (a, b) = (agent.start(1, sh("echo a")), agent.start(1, sh("echo b")));
    agent.end(a);
    agent.end(b);
    agent.confirm(&[a]);
    drop(agent);
    let mut agent = home.agent();
    assert_eq!(agent.inventory.iter().map(|h| h.attempt).collect::<Vec<_>>(), [b], "a stays confirmed");
    agent.confirm(&[b]);
    until("the run is gone", || home.runs() == 0);
    let c = agent.start(1, sh("echo c"));
    agent.end(c);
    agent.confirm(&[c]);
    until("an idle supervisor leaves by itself", || home.runs() == 0);
}

#[test]
fn host_is_read_without_blocking_the_loop() {
    const PROLOGUE: &str = "RACK=9 PATH=/no/such; export RACK";
    let home = Home::new();
    let mut agent = home.agent();
    let script = Some("/bin/sleep 0.5; echo rack=${RACK:-7}; echo app.thing=1.2".to_owned());
    agent.tell(&ToAgent::Probe {
        watch: vec!["sh".into(), "no-such-app".into()],
        script,
        prologues: vec![PROLOGUE.into(), "false".into()],
    });
    assert_eq!(exited(&agent.run(launch(&["true"]))), 0);
    let FromAgent::Facts(facts) = agent.other() else { panic!() };
    assert_eq!(facts.boot, agent.boot);
    assert!(facts.cpus >= 1 && facts.power > 0.0 && facts.mem_total.0 > facts.mem_available.0, "{facts:?}");
    assert!(facts.disk_free.0 > 0 && !facts.os.is_empty() && !facts.kernel.is_empty(), "{facts:?}");
    let apps: Vec<&str> = facts.apps.keys().map(|n| n.as_str()).collect();
    assert_eq!(apps, ["sh", "thing"]);
    let int = grid::model::attribute::Value::Int;
    assert_eq!(facts.probed["rack"], int(7));
    // Behind a prologue is another environment; behind one that fails is nothing.
    let behind = &facts.behind[PROLOGUE];
    assert_eq!((&behind.probed["rack"], behind.apps.len()), (&int(9), 1), "{behind:?}");
    assert!(facts.behind["false"].apps.is_empty() && facts.complaints.iter().any(|line| line.contains("prologue")));
    assert_eq!(facts.residing(Some("not asked for")).probed["rack"], int(7));
}

/// A home that was restored from a backup begins with a lower epoch than the one that was backed up has reached since.
#[test]
fn older_incarnation_of_a_home_is_refused() {
    let mut home = Home::new();
    home.epoch = Epoch(9);
    let mut old = home.agent();
    let gate = home.path("gate");
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let running = old.start(1, sh(&format!("read l <{}; exit 4", gate.display())));
    old.began(running);
    home.incarnation = 2;
    home.epoch = Epoch(4);
    // The old home's agent is still there: it goes for the newer one.
    let mut restored = home.agent();
    assert!(
        matches!(restored.held(running), Some(grid::protocol::agent::HeldState::Running { .. })),
        "what runs is told to the restored home"
    );
    let new = restored.start(2, sh("exit 3"));
    assert_eq!(exited(&restored.end(new)), 3);
    std::fs::write(gate, "go\n").unwrap();
    assert_eq!(exited(&restored.end(running)), 4, "and so is its end");
    drop((old, restored));
    home.incarnation = 1;
    home.epoch = Epoch(10);
    let refused = home.try_agent().map(drop).expect_err("an old incarnation is refused, whatever its epoch");
    assert!(refused.contains("restored"), "{refused}");
    home.incarnation = 2;
    home.epoch = Epoch(3);
    let mut older = home.agent();
    let id = older.start(1, sh("true"));
    assert_eq!(older.refusal(id), Refusal::OldEpoch, "epochs count within an incarnation");
}

#[test]
fn start_with_an_unknown_feature_is_refused_with_its_name() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = attempt();
    let order = agent.order(1, sh("echo began"), vec![member(id)]);
    agent.tell(&ToAgent::Start(Start { features: vec!["max-output".into(), "gpus".into()], ..order.clone() }));
    let unknown = vec!["gpus".to_owned()];
    assert_eq!(agent.refusal(id), Refusal::Features { unknown });
    agent.tell(&ToAgent::Start(Start { features: vec!["max-output".into()], ..order }));
    assert_eq!(out(&agent.end(id)), "began\n");
}
