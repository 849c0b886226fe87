//! A task that waits in a lab on one host moves to a lab on another one, with its files; a lab without power gives nothing up.

use crate::support::rig::Plan;
use crate::support::{Grid, process};
use serde_json::json;

/// Keeps a lab busy until its word.
const BUSY: &str = "until [ -e ~/go ]; do sleep 0.05; done; rm ~/go";

#[test]
fn waiting_task_moves_between_hosts_with_its_files_and_runs_once() {
    // `head` is the client, h1 its first tier, h2 and h3 the labs.
    let Some(rig) = Plan::of(3).with_grid(&["h1", "h2", "h3"]).up() else { return };
    let (client, front, x, y) = (rig.at("head"), rig.at("h1"), rig.at("h2"), rig.at("h3"));
    front.grid(["distributor", "drain", "tier2"]).ok();
    for (lab, name, host) in [(&x, "lab-x", "ssh:h2"), (&y, "lab-y", "ssh:h3")] {
        lab.grid(["server", "set", "local", "--slots", "1"]).ok();
        front.grid(["distributor", "add", name, "--tier", "2", "--endpoint", host]).ok();
    }
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", "ssh:h1"]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    client.grid(["config", "set", "peer_timeout", "3s"]).ok();
    let occupy = |lab: &Grid| {
        let id = lab.submit(["--", "sh", "-c", BUSY]);
        lab.until_state(&id, "RUNNING");
        id
    };
    let free = |host: &str, lab: &Grid, id: &str| {
        std::fs::write(rig.home(host).join("go"), "").expect("a word");
        lab.grid(["wait", id]).ok();
    };
    let (_busy, first) = (occupy(&x), occupy(&y));
    let submit = || {
        let line =
            ["submit", "--json", "--send", "in", "--fetch", "out", "--", "sh", "-c", "echo ran >> ~/ran; cat in > out"];
        let done = client.grid(line).json();
        assert_eq!(done["route"], json!(["front-a", "lab-x"]), "{done}");
        done["id"].as_str().expect("an id").to_owned()
    };

    client.sh("echo sent > in").ok();
    let id = submit();
    client.grid(["move", &id]).expect(1).says(&["no other distributor could start it now"]);
    free("h3", &y, &first);
    client.grid(["move", &id]).expect(0).says(&[&format!("{id}: moved from lab-x to lab-y")]);
    client.grid(["wait", &id]).ok();
    assert_eq!(client.sh("cat out").ok(), "sent");
    assert_eq!(client.show(&id)["remote"]["distributor"], "lab-y");
    let runs = |host: &str| std::fs::read_to_string(rig.home(host).join("ran")).unwrap_or_default().lines().count();
    assert_eq!(["h2", "h3"].map(runs), [0, 1]);
    assert_eq!(x.tasks(), 1, "it has left");

    let second = occupy(&y);
    let id = submit();
    free("h3", &y, &second);
    rig.crash("h2");
    client.grid(["move", &id]).expect(1).says(&["no answer from lab-x", "nothing has changed"]);
    process::until("its row is as it was", || client.sql("select home from away_view")[0]["home"].is_string());
    assert_eq!((runs("h3"), y.tasks()), (1, 3));
}
