//! Starts whose answer is lost, and starts that arrive when their dispatcher is long dead: never a second run.

use crate::lab::Lab;
use crate::support::{process, said::tell};

/// The agent takes the start and dies before it has said so; the next link is another agent's.
#[test]
fn an_agent_that_dies_at_any_point_of_a_start_makes_no_second_run() {
    const POINTS: [&str; 5] =
        ["agent-start-received", "agent-run-made", "agent-supervisor-spawned", "agent-fed", "agent-began-read"];
    let Some(lab) = Lab::of(POINTS.len()) else { return };
    for (point, host) in POINTS.into_iter().zip(lab.servers()) {
        let env = format!("SetEnv=GRID_FAILPOINT={point} GRID_FAILPOINT_ONCE=/home/grid/shot");
        lab.rig.start_sshd(host, &[&env]);
        // A new link, with the point armed.
        assert_eq!(lab.rig.shoot(host, " agent --link "), 1);
    }
    let tasks: Vec<String> = lab.servers().map(|host| lab.submit(host, &[])).collect();
    for ((point, host), id) in POINTS.into_iter().zip(lab.servers()).zip(&tasks) {
        process::until(&format!("the agent was shot at {point}"), || lab.rig.home(host).join("shot").exists());
        lab.let_go(id);
    }
    for (point, id) in POINTS.into_iter().zip(&tasks) {
        let took = lab.ends(id, 7);
        tell(&format!("| answer lost: {point} | once, after {:.1} s |", took.as_secs_f64()));
    }
}

/// The start lies in the dead dispatcher's ssh until the cable is whole again, and comes before or after its successor.
#[test]
fn a_start_from_a_dead_dispatchers_ssh_makes_no_second_run() {
    let Some(lab) = Lab::of(2) else { return };
    // h1's ssh is patient: it outlives its dispatcher and the cut.
    lab.grid.grid(["server", "remove", "h1"]).ok();
    lab.grid
        .grid([
            "server",
            "add",
            "h1",
            "--ssh",
            "h1",
            "--slots",
            "4",
            "--cpus",
            "8",
            "--ssh-option",
            "ServerAliveInterval=60",
            "--ssh-option",
            "ConnectTimeout=2",
        ])
        .ok();
    for round in 0..3 {
        let warm = lab.running("h1");
        lab.rig.cut("h1");
        let id = lab.submit("h1", &[]);
        // Sent, as far as the dispatcher knows.
        process::until("the start was sent", || {
            lab.grid.number(&format!("select count(*) from member where task_id = {id} and sent > 0")) == 1
        });
        assert_eq!(lab.rig.shoot("head", "grid dispatcher "), 1);
        assert!(
            lab.rig.processes("head").iter().any(|(_, line)| line.contains("ServerAliveInterval=60")),
            "its ssh lives on"
        );
        if round == 1 {
            // The successor looks for the host while nothing passes yet.
            lab.grid.grid(["status"]).ok();
            lab.until_down("h1");
        }
        lab.rig.heal("h1");
        lab.let_go(&id);
        lab.ends(&id, 7);
        lab.let_go(&warm);
        lab.ends(&warm, 7);
    }
}
