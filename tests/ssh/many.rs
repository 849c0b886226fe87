//! Many hosts and many tasks.

use crate::lab::Lab;
use crate::support::rig::Plan;
use crate::support::said::tell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn one_home_for_three_hosts() {
    let Some(lab) = Lab::on(Plan::of(3).one_home(&["h1", "h2", "h3"])) else { return };
    let tasks: Vec<String> = lab.servers().map(|host| lab.running(host)).collect();
    // An agent's death on one host is nothing to the others.
    lab.rig.shoot("h2", " agent --link ");
    lab.rig.crash("h3");
    lab.rig.boot("h3");
    for id in &tasks {
        lab.let_go(id);
    }
    lab.ends(&tasks[0], 7);
    lab.ends(&tasks[1], 7);
    lab.grid.grid(["wait", &tasks[2]]).expect(125);
    assert_eq!(lab.grid.state(&tasks[2]), "LOST");
    for host in lab.servers() {
        let id = lab.grid.submit(["-w", host, "--", "uname", "-n"]);
        lab.grid.grid(["wait", &id]).ok();
        assert_eq!(lab.grid.grid(["logs", &id]).ok(), host);
    }
}

#[test]
fn twenty_hosts_with_three_dead_are_refreshed_within_one_time_out() {
    // The usual time-out: 10 s.
    let Some(lab) = Lab::with(Plan::of(20), &[]) else { return };
    lab.grid.grid(["dispatcher", "stop"]).ok();
    lab.rig.cut("h3");
    lab.rig.freeze("h9");
    lab.rig.crash("h17");
    let begun = Instant::now();
    let done = lab.grid.grid(["refresh"]);
    let took = begun.elapsed();
    tell(&format!("20 hosts, 3 dead: refreshed within {took:?}: {}", done.err().trim()));
    // Twelve on a host that is not busy with other tests; one after the other they would take thirty.
    assert!(took < Duration::from_secs(20), "{took:?}: {done:?}");
    let up = lab.servers().filter(|host| lab.server_state(host) == "UP").count();
    assert_eq!(up, 17, "{done:?}");
}

#[test]
fn a_hundred_tasks_spread_over_five_hosts() {
    let Some(lab) = Lab::of(5) else { return };
    let script = "for i in $(seq 100); do grid submit --parsable -- sh -c 'uname -n; sleep 0.2' & done; wait";
    let ids = lab.grid.sh(script).ok();
    assert_eq!(ids.lines().count(), 100);
    lab.grid.grid(["wait", "all"]).ok();
    let per_host = per_host(&lab);
    tell(&format!("100 tasks over 5 hosts: {per_host:?}"));
    assert_eq!(per_host.values().sum::<i64>(), 100);
    assert!(per_host.values().all(|n| *n <= 25), "{per_host:?}");
}

#[test]
fn two_thousand_short_tasks_over_three_hosts_end_once_each() {
    let Some(lab) = Lab::of(3) else { return };
    let begun = Instant::now();
    let id = lab.grid.submit(["--array", "1-2000", "--", "sh", "-c", "echo $GRID_ARRAY_INDEX >> ran"]);
    lab.grid.grid(["wait", &id]).ok();
    tell(&format!("2,000 short tasks over 3 hosts: {:?}, {:?}", begun.elapsed(), per_host(&lab)));
    let mut ran: Vec<u32> = Vec::new();
    for host in lab.servers() {
        let text = std::fs::read_to_string(lab.rig.home(host).join("ran")).unwrap_or_default();
        ran.extend(text.lines().map(|line| line.parse::<u32>().unwrap()));
    }
    ran.sort_unstable();
    assert_eq!(ran, (1..=2000).collect::<Vec<_>>());
}

#[test]
fn a_start_over_a_standing_link_costs_one_way_there() {
    let Some(lab) = Lab::of(1) else { return };
    let median = |host: &str| {
        let mut all: Vec<Duration> = (0..9)
            .map(|_| {
                let begun = Instant::now();
                lab.grid.grid(["run", "-w", host, "--cwd", "/tmp", "--", "true"]).ok();
                begun.elapsed()
            })
            .collect();
        all.sort();
        all[4]
    };
    lab.grid.grid(["server", "resume", "local"]).ok();
    // From the submit to the beginning of the command: the hosts have one clock.
    let start = |host: &str| {
        let mut all: Vec<i64> = (0..9)
            .map(|_| {
                let id = lab.grid.submit(["-w", host, "--cwd", "/tmp", "--", "true"]);
                lab.grid.grid(["wait", &id]).ok();
                let took = "select m.started_at - t.submitted_at n from member m join task t on t.id = m.task_id where t.id = ";
                lab.grid.number(&format!("{took}{id}"))
            })
            .collect();
        all.sort_unstable();
        all[4]
    };
    let (here, near) = (median("local"), median("h1"));
    let (start_here, start_near) = (start("local"), start("h1"));
    lab.rig.slow("h1", Duration::from_millis(50), 0.0);
    lab.grid.grid(["run", "-w", "h1", "--cwd", "/tmp", "--", "true"]).ok();
    let far = median("h1");
    let start_far = start("h1");
    tell(&format!(
        "submit to start, median of 9: local {start_here} ms, over ssh {start_near} ms, with 50 ms of delay {start_far} ms"
    ));
    tell(&format!("run of `true`, median of 9: local {here:?}, over ssh {near:?}, with 50 ms of delay {far:?}"));
}

fn per_host(lab: &Lab) -> BTreeMap<String, i64> {
    let rows = lab.grid.sql("select server, count(*) n from member_view group by server");
    rows.iter().map(|row| (row["server"].as_str().unwrap_or("-").to_owned(), row["n"].as_i64().unwrap_or(0))).collect()
}
