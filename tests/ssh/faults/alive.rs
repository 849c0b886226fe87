//! sshd gives up a client that is silent (ClientAliveInterval), while the client would wait on: for it the link stands.

use crate::lab::Lab;
use crate::support::rig::{Killed, Plan};
use crate::support::{process, said::tell};
use std::time::Instant;

fn given_up(shot: bool) {
    let patient = ["ServerAliveInterval=1", "ServerAliveCountMax=600", "ConnectTimeout=2"];
    let Some(lab) = Lab::with(Plan::of(1), &patient) else { return };
    lab.rig.start_sshd("h1", &["ClientAliveInterval=1", "ClientAliveCountMax=2"]);
    lab.rig.kill_sshd("h1", Killed::Sessions);
    let [ends, goes_on] = [lab.running("h1"), lab.running("h1")];
    lab.rig.cut("h1");
    let has = |part: &str| lab.rig.processes("h1").iter().any(|(_, line)| line.contains(part));
    process::until("sshd has given the session up", || !has("sshd: grid"));
    process::until("the agent has left", || !has(" agent --link "));
    // As far as anybody knows here the link is up, and the start goes into it.
    let sent = lab.submit("h1", &[]);
    if shot {
        lab.shoot_dispatcher();
    }
    lab.let_go(&ends);
    process::until("the command has ended", || !has(&format!("go.{ends}")) && lab.ran(&ends) == 1);
    assert_eq!(lab.grid.state(&ends), "RUNNING");
    assert_eq!(lab.grid.state(&goes_on), "RUNNING");
    lab.rig.heal("h1");
    let mended = Instant::now();
    lab.ends(&ends, 7);
    assert_eq!(lab.grid.state(&goes_on), "RUNNING");
    for id in [&goes_on, &sent] {
        lab.let_go(id);
        lab.ends(id, 7);
    }
    tell(&format!(
        "| given up by sshd | dispatcher shot: {shot} | RUNNING | {:.1} s after mending |",
        mended.elapsed().as_secs_f64()
    ));
}

#[test]
fn a_session_that_sshd_gives_up() {
    given_up(false);
}

#[test]
fn a_session_that_sshd_gives_up_and_the_dispatcher_is_shot() {
    given_up(true);
}
