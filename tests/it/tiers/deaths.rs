//! kill -9 of each process on the way, at every named point: the client's command, `grid serve` of either tier.

use super::way::three;
use crate::support::process;
use grid::model::failpoint::POINTS;
use rustix::process::{Pid, Signal, kill_process};

fn shoot_at(point: &str) {
    let (mut client, front, lab) = three();
    for grid in [&client, &front, &lab] {
        grid.grid(["config", "set", "peer_timeout", "3s"]).ok();
        grid.grid(["dispatcher", "stop"]).expect(0);
    }
    // Everything on the way is started by the client's dispatcher, and so inherits this.
    let once = client.file("shot");
    client.set_env("GRID_FAILPOINT", point);
    client.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    let marks = lab.file("marks");
    let mut acknowledged = Vec::new();
    for number in 1..=2 {
        let mark = format!("echo {number} >> {}", marks.display());
        let done = client.grid(["submit", "--parsable", "--", "sh", "-c", &mark]);
        match done.code() {
            0 => acknowledged.push((number, done.ok())),
            137 => assert!(point.starts_with("way-row") || point.contains("-place"), "{point}: {done:?}"),
            _ => panic!("{point}: {done:?}"),
        }
    }
    assert!(once.exists(), "{point}: nobody passed it");
    client.grid(["wait"]).expect(0);
    let runs = |number: i32| lab.lines("marks").iter().filter(|mark| **mark == number.to_string()).count();
    for (number, id) in &acknowledged {
        assert_eq!(client.state(id), "COMPLETED", "{point}");
        assert_eq!(runs(*number), 1, "{point}: task {id}");
    }
    // One whose id was told to nobody may have run, once, and has a row that says so.
    let rows = client.number("select count(*) n from task_view where state = 'COMPLETED'");
    assert_eq!(rows as usize, runs(1) + runs(2), "{point}");
    // Whichever home ran it knows that its client has heard of its end.
    let removable = [&front, &lab].map(|home| home.grid(["remove", "-n", "--ended"]).ok());
    let told = |count: i64| removable.iter().any(|told| told.contains(&format!("would remove {count} task")));
    assert!(
        told(rows) || rows == 2 && removable.iter().all(|told| told.contains("remove 1 task")),
        "{point}: {removable:?}"
    );
    process::until("nobody is at it", || {
        !std::fs::read_dir(client.home().join("run"))
            .unwrap()
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("placing."))
    });
}

#[test]
fn crash_of_any_process_between_homes_keeps_an_acknowledged_task_to_one_run() {
    for point in POINTS.iter().filter(|point| point.starts_with("way-")) {
        shoot_at(point);
    }
}

#[test]
fn question_about_a_task_starts_the_dispatcher_that_was_killed_where_it_is() {
    let (client, _front, lab) = three();
    let id = client.submit(["--", "sleep", "600"]);
    client.until_state(&id, "RUNNING");
    let pid = lab.dispatcher().and_then(Pid::from_raw).expect("a dispatcher");
    kill_process(pid, Signal::KILL).unwrap();
    process::wait_pid_gone(pid, process::HANG);
    assert_eq!(lab.dispatcher(), None);
    client.grid(["status"]).ok();
    process::until("it is up again", || lab.dispatcher().is_some());
    client.grid(["cancel", "--wait", &id]).ok();
}
