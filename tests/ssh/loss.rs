//! A host with a home goes up in smoke; its backup becomes a home on another host, while its tasks run on and their client waits.

use crate::support::process;
use crate::support::rig::Plan;
use serde_json::json;

/// Says that it runs, on its server, and ends with 3 once it may.
const STEPS: &str = "echo $GRID_TASK_ID >> ran; until [ -e go ]; do sleep 0.05; done; exit 3";

#[test]
fn a_home_that_is_lost_is_restored_on_another_host_and_nothing_runs_twice() {
    // `head` is the client, h1 its first tier, h2 the lab whose host is lost, h3 where it comes back, h4 the lab's server.
    let Some(rig) = Plan::of(4).with_grid(&["h1", "h2", "h3"]).up() else { return };
    let (client, front, old, new) = (rig.at("head"), rig.at("h1"), rig.at("h2"), rig.at("h3"));
    old.grid(["server", "add", "s1", "--ssh", "h4", "--slots", "9", "--cpus", "9"]).ok();
    old.grid(["server", "remove", "local"]).ok();
    front.grid(["distributor", "drain", "tier2"]).ok();
    old.grid(["distributor", "register", "--as", "lab-x", "--with", "ssh:h1", "--endpoint", "ssh:h2"]).ok();
    front.grid(["distributor", "allow", "lab-x", "--endpoint", "ssh:h2"]).ok();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:h1"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    client.grid(["config", "set", "peer_timeout", "3s"]).ok();
    front.grid(["config", "set", "peer_timeout", "2s"]).ok();

    let ran = || std::fs::read_to_string(rig.home("h4").join("ran")).unwrap_or_default().lines().count();
    // In use: one runs, one is held, and others come in while the backup is made.
    let runs = client.submit(["--", "sh", "-c", STEPS]);
    process::until("it runs", || ran() == 1);
    let [starts, waits] = [0, 1].map(|_| client.submit(["-H", "--", "sh", "-c", STEPS]));
    old.sh("for k in 1 2 3 4 5; do grid submit -- true & done; grid backup b.db; wait").ok();
    old.sh("scp -q b.db h3:").ok();
    // What begins after the backup is not in it.
    client.grid(["release", &starts]).ok();
    process::until("it runs", || ran() == 2);
    rig.crash("h2");

    let said = new.grid(["restore", "b.db"]).expect(0).err();
    assert!(said.contains("restored from a backup of"), "{said}");
    front.grid(["distributor", "allow", "lab-x", "--endpoint", "ssh:h3"]).ok();
    // Its client finds it there: the home is the same. What runs on the server is followed, also what the backup did not know of.
    for id in [&runs, &starts] {
        process::until(&format!("task {id} is followed"), || client.state(id) == "RUNNING");
    }
    let shown = client.show(&waits);
    assert_eq!(shown["state"], "HELD", "{shown}");
    assert!(shown["reason"].as_str().unwrap_or_default().contains("restored from a backup of"), "{shown}");
    std::fs::write(rig.home("h4").join("go"), "").expect("a mark");
    client.grid(["wait", &runs, &starts]).expect(3);
    assert_eq!(ran(), 2, "neither was started again");
    client.grid(["release", &waits]).expect(0).says(&["may have run already"]);
    client.grid(["wait", &waits]).expect(3);
    assert_eq!(ran(), 3);
    assert_eq!(client.grid(["submit", "--json", "--", "true"]).json()["route"], json!(["front-a", "lab-x"]));

    // The old home comes back. It is the older one: its server has met the newer, and has no ear for it.
    rig.boot("h2");
    let late = old.submit(["--", "sh", "-c", "echo late >> ran"]);
    let state = || old.grid(["server", "show", "s1", "--json"]).json();
    process::until("it is told so", || {
        let reason = state()["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("restored from a backup since")
    });
    assert_ne!(state()["state"], "UP");
    assert_eq!(old.state(&late), "PENDING");
    client.grid(["wait"]).expect(0);
    assert_eq!(ran(), 3);
}
