//! Agents and supervisors that are shot: nothing runs twice, nothing is lost that need not be.

use crate::driver::*;
use grid::model::attempt::{Cause, Stream};
use grid::model::failpoint::POINTS;
use grid::model::id::AttemptId;
use grid::protocol::agent::{Event, HeldState, Refusal, ToAgent};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn fifo(home: &Home, name: &str) -> String {
    let path = home.path(name);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_str().unwrap().to_owned()
}

fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn shoot(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn command_outlives_its_agent_and_the_next_one_reports_its_end() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("echo before; read l <{gate}; echo after; exit 7")));
    let waiting = agent.start(1, sh("echo never"));
    let pid = agent.began(id);
    agent.kill();
    let mut agent = home.agent();
    match agent.held(id) {
        Some(HeldState::Running { process: Some(process), supervised: true, .. }) => assert_eq!(process.pid, pid),
        other => panic!("{other:?}"),
    }
    assert!(agent.held(waiting).is_none(), "what had not begun never will");
    let beside = agent.start(2, sh("echo beside"));
    let behind = agent.start(1, sh("echo behind"));
    agent.end(beside);
    std::fs::write(&gate, "go\n").unwrap();
    let ended = agent.end(id);
    assert_eq!((exited(&ended), out(&ended)), (7, "before\nafter\n"));
    let later = agent.end(behind);
    assert!(later.end.started_at >= Some(ended.end.ended_at), "a lane runs one after the other, also over a death");
    agent.confirm(&[id, beside, behind]);
    until("nothing is left", || home.runs() == 0);
}

#[test]
fn end_without_an_agent_is_in_the_next_inventory() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("read l <{gate}; echo done; exit 4")));
    let pid = agent.began(id);
    agent.leave();
    std::fs::write(&gate, "go\n").unwrap();
    gone(pid);
    let mut agent = home.agent();
    let ended = match agent.held(id).unwrap().clone() {
        HeldState::Ended(ended) => ended,
        // The supervisor may still be writing when the next agent looks.
        _ => agent.end(id),
    };
    assert_eq!((exited(&ended), out(&ended)), (4, "done\n"));
}

#[test]
fn end_during_recovery_is_reported_with_its_own_code() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("read l <{gate}; echo done; exit 4")));
    let supervisor = parent(agent.began(id));
    agent.kill();
    // What is confirmed is read between the journal and the look at who lives: a pipe holds the agent up just there.
    let confirmed = fifo(&home, home.only_run().join("confirmed").to_str().unwrap());
    let agent = std::thread::scope(|scope| {
        let next = scope.spawn(|| home.agent());
        let holding = std::fs::OpenOptions::new().write(true).open(confirmed).unwrap();
        std::fs::write(&gate, "go\n").unwrap();
        gone(supervisor);
        drop(holding);
        next.join().unwrap()
    });
    let Some(HeldState::Ended(ended)) = agent.held(id) else { panic!("{:?}", agent.inventory) };
    assert_eq!((exited(ended), out(ended)), (4, "done\n"));
}

#[test]
fn unreadable_output_is_not_reported_as_empty() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("echo kept; read l <{gate}; exit 3")));
    let supervisor = parent(agent.began(id));
    agent.kill();
    std::fs::write(&gate, "go\n").unwrap();
    gone(supervisor);
    let [out, aside] = ["out", "aside"].map(|name| home.only_run().join(name));
    // A directory can be opened, and not be read.
    std::fs::rename(&out, &aside).unwrap();
    std::fs::create_dir(&out).unwrap();
    let mut agent = home.agent();
    let Some(HeldState::Ended(ended)) = agent.held(id) else { panic!("{:?}", agent.inventory) };
    assert_eq!((exited(ended), &ended.out), (3, &None));
    assert_eq!(agent.read(id, Stream::Out, 0, 100), (Vec::new(), false), "nothing, and not its end");
    agent.leave();
    std::fs::remove_dir(&out).unwrap();
    std::fs::rename(&aside, &out).unwrap();
    let agent = home.agent();
    let Some(HeldState::Ended(ended)) = agent.held(id) else { panic!("{:?}", agent.inventory) };
    assert_eq!((ended.end.out_len, ended.out.as_deref()), (5, Some(&b"kept\n"[..])));
}

#[test]
fn attempt_is_not_lost_for_want_of_descriptors() {
    let mut home = Home::new();
    let mut agent = home.agent();
    let (kept, orphan) = (agent.start(1, sh("exec sleep 1000")), agent.start(2, sh("exec sleep 1000")));
    let pids = [kept, orphan].map(|id| agent.began(id));
    agent.kill();
    shoot(parent(pids[1]));
    let mut unfit = 0;
    for files in 8..64 {
        home.files = Some(files);
        match home.try_agent() {
            Ok(agent) => {
                let states = [kept, orphan].map(|id| matches!(agent.held(id), Some(HeldState::Running { .. })));
                assert_eq!(states, [true, true], "with {files}: {:?}", agent.inventory);
            }
            Err(_) => unfit += 1,
        }
    }
    assert!(unfit > 0, "it never was short of them");
    home.files = None;
    let mut agent = home.agent();
    for (id, pid) in [kept, orphan].into_iter().zip(pids) {
        agent.cancel(id, SECOND);
        assert_eq!(agent.end(id).end.cause, Cause::Cancelled);
        gone(pid);
    }
}

#[test]
fn command_of_an_earlier_agent_can_be_cancelled() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, sh("trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 1; done"));
    agent.began(id);
    agent.kill();
    let mut agent = home.agent();
    agent.cancel(id, SECOND / 5);
    let ended = agent.end(id);
    assert_eq!(ended.end.cause, Cause::Cancelled);
    gone(out(&ended).trim().parse().unwrap());
}

#[test]
fn orphan_runs_on_and_is_lost_at_its_end() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("echo a; read l <{gate}; echo b")));
    let waiting = agent.start(1, launch(&["true"]));
    let pid = agent.began(id);
    shoot(parent(pid));
    agent.find(|e| matches!(e, Event::Orphaned { attempt } if *attempt == id).then_some(())).unwrap();
    agent.find(|e| matches!(e, Event::Recalled { attempt } if *attempt == waiting).then_some(())).unwrap();
    agent.kill();
    let mut agent = home.agent();
    assert!(matches!(agent.held(id), Some(HeldState::Running { supervised: false, .. })));
    std::fs::write(&gate, "go\n").unwrap();
    let ended = agent.end(id);
    assert!(matches!(ended.end.cause, Cause::Lost { .. }), "{ended:?}");
    assert_eq!(out(&ended), "a\nb\n");
    agent.confirm(&[id]);
    until("nothing is left", || home.runs() == 0);
}

#[test]
fn orphan_can_be_cancelled() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, sh("trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 1; done"));
    let pid = agent.began(id);
    shoot(parent(pid));
    agent.find(|e| matches!(e, Event::Orphaned { attempt } if *attempt == id).then_some(())).unwrap();
    agent.cancel(id, SECOND / 5);
    let ended = agent.end(id);
    assert_eq!(ended.end.cause, Cause::Cancelled);
    gone(pid);
    gone(out(&ended).trim().parse().unwrap());
}

#[test]
fn attempt_is_lost_when_supervisor_and_command_are_killed_or_the_host_reboots() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, launch(&["sleep", "1000"]));
    let pid = agent.began(id);
    let supervisor = parent(pid);
    shoot(agent.pid());
    shoot(supervisor);
    shoot(pid);
    drop(agent);
    gone(pid);
    let agent = home.agent();
    assert!(matches!(agent.held(id), Some(HeldState::Ended(e)) if matches!(e.end.cause, Cause::Lost { .. })));
    drop(agent);
    // Every later agent says the same, also after the journal was read again.
    assert!(matches!(home.agent().held(id), Some(HeldState::Ended(_))));
}

#[cfg(feature = "failpoints")]
#[test]
fn attempt_of_an_earlier_boot_is_lost_and_its_pid_is_not_used() {
    let home = Home::new();
    let mut agent = home.agent();
    let id = agent.start(1, launch(&["sleep", "1000"]));
    let pid = agent.began(id);
    agent.kill();
    let home = home.with("GRID_TEST_BOOT_ID", "another-boot");
    let agent = home.agent();
    let Some(HeldState::Ended(ended)) = agent.held(id) else { panic!() };
    assert!(matches!(&ended.end.cause, Cause::Lost { why } if why.contains("restarted")), "{ended:?}");
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "it is another's process as far as we can know");
    shoot(pid);
}

#[test]
fn prestarted_supervisor_takes_the_first_start() {
    let home = Home { expecting: true, ..Home::new() };
    let mut agent = home.agent();
    let id = agent.start(7, sh("exec sleep 1000"));
    agent.began(id);
    assert_eq!(home.runs(), 1, "no other one was started");
    agent.kill();
    let mut agent = home.agent();
    assert_eq!(agent.inventory.iter().map(|held| held.lane.0).collect::<Vec<_>>(), [7]);
    // Its own lane is taken, another is not.
    let other = agent.start(8, launch(&["true"]));
    agent.end(other);
    agent.cancel(id, Duration::from_secs(1));
    agent.end(id);
    agent.confirm(&[id, other]);
    until("who has nothing to do leaves", || home.runs() == 0);
}

#[test]
fn second_agent_waits_for_the_first() {
    let mut home = Home::new();
    let mut first = home.agent();
    let id = first.start(1, launch(&["sleep", "1000"]));
    first.began(id);
    // The second asks the first to leave: its link may be dead without its knowing.
    home.epoch.0 += 1;
    let mut second = home.agent();
    first.died();
    second.cancel(id, SECOND);
    assert_eq!(second.end(id).end.cause, Cause::Cancelled);
}

#[test]
fn hangup_leaves_tasks_running() {
    let home = Home::new();
    let gate = fifo(&home, "gate");
    let mut agent = home.agent();
    let id = agent.start(1, sh(&format!("read l <{gate}; exit 6")));
    let supervisor = parent(agent.began(id));
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::TERM] {
        rustix::process::kill_process(rustix::process::Pid::from_raw(supervisor).unwrap(), signal).unwrap();
    }
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(exited(&agent.end(id)), 6);
}

/// What a dispatcher would do: send, collect, send again what provably never began, until all have ended.
#[cfg(feature = "failpoints")]
fn carry_through(home: &Home, ids: &[AttemptId], long: bool) -> HashMap<AttemptId, Cause> {
    let mut ended: HashMap<AttemptId, Cause> = HashMap::new();
    for round in 0..10 {
        let Ok(mut agent) = home.try_agent() else { continue };
        let mut running: HashSet<AttemptId> = HashSet::new();
        for held in agent.inventory.clone() {
            match held.state {
                HeldState::Ended(end) => drop(ended.insert(held.attempt, end.end.cause)),
                _ => drop(running.insert(held.attempt)),
            }
        }
        let open: Vec<_> = ids.iter().filter(|id| !ended.contains_key(id)).map(|id| member(*id)).collect();
        let marks = home.path("marks");
        let wait = if long { "sleep 0.02" } else { ":" };
        let script = format!("echo $GRID_ATTEMPT_ID >>{}; {wait}", marks.display());
        let order = agent.order(round % 2, sh(&script), open);
        if !agent.try_tell(&ToAgent::Start(order)) {
            continue;
        }
        let mut again = false;
        while ids.iter().any(|id| !ended.contains_key(id)) && !again {
            let Some(event) = agent.event() else { break };
            match event {
                Event::Ended { attempt, ended: end } => {
                    ended.insert(attempt, end.end.cause);
                    agent.try_tell(&ToAgent::Confirm { attempts: vec![attempt] });
                }
                Event::Recalled { .. } | Event::Refused { why: Refusal::Supervisor { .. }, .. } => again = true,
                Event::Refused { why, .. } => panic!("{why:?}"),
                Event::Began { .. } | Event::Orphaned { .. } => {}
            }
        }
        if ids.iter().all(|id| ended.contains_key(id)) {
            let done: Vec<AttemptId> = ended.keys().copied().collect();
            agent.try_tell(&ToAgent::Confirm { attempts: done });
            break;
        }
    }
    ended
}

#[cfg(feature = "failpoints")]
#[test]
fn kill_at_any_fail_point_runs_nothing_twice_and_ends_everything() {
    for point in POINTS.iter().filter(|p| p.starts_with("agent-") || p.starts_with("supervisor-")) {
        let mut passed = false;
        for (count, long) in [(1, false), (2, true), (5, false)] {
            let home = Home::new();
            let once = home.path("once");
            let home = home
                .with("GRID_FAILPOINT", &format!("{point}:{count}"))
                .with("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
            let ids: Vec<AttemptId> = (0..8).map(|_| attempt()).collect();
            let ended = carry_through(&home, &ids, long);
            let marks = std::fs::read_to_string(home.path("marks")).unwrap_or_default();
            for id in &ids {
                let id_text = id.to_string();
                let runs = marks.lines().filter(|l| **l == id_text).count();
                match ended.get(id) {
                    Some(Cause::Exited { code: 0 }) => assert_eq!(runs, 1, "{point}:{count} {id}"),
                    Some(Cause::Lost { .. }) => assert!(runs <= 1, "{point}:{count} {id}"),
                    other => panic!("{point}:{count} {id}: {other:?}"),
                }
            }
            passed |= once.exists();
            let lost = ended.values().filter(|c| matches!(c, Cause::Lost { .. })).count();
            assert!(lost <= usize::from(point.starts_with("supervisor")), "{point}:{count}: {lost} lost");
            until(&format!("{point}:{count}: all runs are gone"), || {
                // The last confirmation may have died with its agent.
                if let Ok(mut agent) = home.try_agent() {
                    let held: Vec<AttemptId> = agent.inventory.iter().map(|h| h.attempt).collect();
                    agent.try_tell(&ToAgent::Confirm { attempts: held });
                }
                home.runs() == 0
            });
            passed |= once.exists();
        }
        assert!(passed, "{point} was never reached");
    }
}
