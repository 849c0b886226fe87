//! Client, three first tiers and three second tiers on hosts of their own, over real ssh: as typed in the manual.

use crate::support::process;
use crate::support::rig::Plan;
use crate::support::tiers::{FRONTS, LABS, Tiers};
use serde_json::json;

#[test]
fn the_session_between_hosts_as_typed() {
    let Some(lab) = Tiers::up() else { return };
    lab.together();
    for (name, host) in LABS {
        let app = format!("ffmpeg-{name}");
        lab.at(host).grid(["server", "add", "n1", "--local", "--slots", "2", "--app", &app]).ok();
    }
    let client = lab.client();
    client.grid(["distributor", "search", "--tier", "1", "in-order"]).ok();
    lab.at("h4").grid(["distributor", "push"]).shows(&["lab-x", "ssh:h1"]);
    lab.at("h1").grid(["distributor", "list"]).shows(&["lab-x", "ssh:h4", "UP"]);
    lab.at("h1").grid(["distributor", "search", "--tier", "2", "least-loaded"]).ok();
    lab.at("h1").grid(["distributor", "search", "--tier", "2", "in-order"]).ok();
    // Client -> front-a -> the lab that has what is wanted -> its server.
    let out = client.grid(["run", "--app", "ffmpeg-lab-y", "--", "uname", "-n"]).ok();
    assert_eq!(out, "h5");
    assert_eq!(client.show("last")["route"], json!(["front-a", "lab-y"]));
    // Its files go the same way, and what it makes comes back.
    client.sh("mkdir work; cd work; printf '#!/bin/sh\\ntr a-z A-Z < $1 | tee out.txt; uname -n\\n' > encode.sh; chmod +x encode.sh; echo sound > a.wav").ok();
    let run =
        "cd work && grid run --app ffmpeg-lab-x --send encode.sh --send a.wav --fetch out.txt -- ./encode.sh a.wav";
    assert_eq!(client.sh(run).ok(), "SOUND\nh4");
    assert_eq!(client.sh("cat work/out.txt").ok(), "SOUND");
    let id = client.submit(["-w", "lab-z/n1", "--", "sh", "-c", "echo out; echo err >&2; exit 4"]);
    client.grid(["wait", &id]).expect(4);
    assert_eq!(client.grid(["logs", "--out", &id]).ok(), "out");
    assert_eq!(client.show(&id)["remote"]["distributor"], "lab-z");
    assert_eq!(client.explain(&id)["chosen"], "n1");
    client.grid(["run", "--", "sh", "-c", "exit 9"]).expect(9);
    let id = client.submit(["--", "sleep", "600"]);
    client.until_state(&id, "RUNNING");
    client.grid(["cancel", "--wait", &id]).ok();
    assert_eq!(client.state(&id), "CANCELLED");
    assert_eq!(lab.at("h1").tasks(), 0, "a first tier keeps no task");
}

#[test]
fn any_single_distributor_may_be_lost() {
    let Some(lab) = Tiers::up() else { return };
    lab.together();
    let client = lab.client();
    client.grid(["config", "set", "peer_timeout", "3s"]).ok();
    client.grid(["config", "set", "probe_timeout", "3s"]).ok();
    for (_, front) in FRONTS {
        lab.at(front).grid(["config", "set", "peer_timeout", "2s"]).ok();
        lab.at(front).grid(["config", "set", "probe_timeout", "2s"]).ok();
        lab.at(front).grid(["dispatcher", "stop"]).expect(0);
    }
    client.grid(["dispatcher", "stop"]).expect(0);
    assert_eq!(client.route(&[]), json!(["front-a", "lab-x"]));
    // A lab is cut off: the front goes on to the next one, and remembers.
    lab.rig.cut("h4");
    assert_eq!(client.route(&[])[1], "lab-y");
    lab.at("h1").grid(["distributor", "list"]).shows(&["SILENT"]);
    // A front is cut off. It asked no lab to take the task before its client heard the redirect: the other front is asked.
    lab.rig.cut("h1");
    assert_eq!(client.route(&[])[0], "front-b");
    assert_eq!(client.route(&[])[0], "front-b");
    client.grid(["distributor", "list"]).shows(&["SILENT"]);
    let counts = client.grid(["status", "--json"]).json()["counts"].clone();
    assert!(counts["LOST"].as_u64().unwrap_or(0) == 0 && counts["FAILED"].as_u64().unwrap_or(0) == 0, "{counts}");
    lab.rig.heal("h4");
    lab.rig.heal("h1");
    client.grid(["wait"]).expect(0);
    for task in 1..=4 {
        process::until("it has ended", || client.state(&task.to_string()) == "COMPLETED");
    }
    let held: u64 = LABS.iter().map(|(_, host)| lab.at(host).tasks()).sum();
    assert_eq!(held, 4, "each task is in one lab");
}

#[test]
fn users_of_a_first_tier_come_in_with_their_own_keys() {
    let Some(rig) = Plan::of(2).with_grid(&["h1", "h2"]).up() else { return };
    let (front, client) = (rig.at("h1"), rig.at("head"));
    front.grid(["config", "set", "idle_exit", "20s"]).ok();
    front.grid(["user", "add", "alice"]).ok();
    let line = front.grid(["user", "allow", "alice"]).ok();
    // Her key behind the line that the owner was given; the one that opens everything goes.
    let keys = rig.home("h1").join(".ssh/authorized_keys");
    let key = std::fs::read_to_string(&keys).unwrap();
    let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let line = line.replace("ssh-ed25519 AAAA..THEIR-KEY", &key);
    std::fs::write(&keys, format!("{line}\n")).unwrap();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:h1"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    client.grid(["submit", "--", "true"]).expect(75).says(&["shared_account"]);
    front.grid(["server", "set", "local", "--shared-account"]).ok();
    assert_eq!(client.grid(["run", "--", "uname", "-n"]).ok(), "h1");
    assert_eq!(front.sql("select user from task_view")[0]["user"], "alice");
    // The rest of the account is closed to her.
    let mut shell = client.command("ssh");
    let said = process::run(shell.args(["h1", "cat", "/etc/passwd"]).stdin(std::process::Stdio::null()));
    assert!(!said.out().contains("root:"), "{said:?}");
}
