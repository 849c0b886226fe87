//! 11 to 14 and 17: each host has its databases, and the next match sees what changed in them.

use super::{ran_on, route, turn};
use crate::support::process::until;
use serde_json::{Value, json};

#[test]
fn claim_11_between_hosts_the_second_tiers_database_holds_the_attributes_of_its_servers() {
    let Some(tiers) = turn() else { return };
    let rows = tiers.at("h5").sql(
        "SELECT name, hostname, slots, cpus > 0 AND power > 0 AND mem_total > 0 AS read FROM server_view
         WHERE name IN ('y1', 'y2') ORDER BY name",
    );
    assert_eq!(
        rows,
        [
            json!({"name": "y1", "hostname": "h9", "slots": 2, "read": 1}),
            json!({"name": "y2", "hostname": "h10", "slots": 2, "read": 1})
        ]
    );
    let shown = tiers.at("h5").grid(["server", "show", "y1", "--json"]).json();
    for (name, source) in [("site", "declared"), ("load1", "probed"), ("idle_cpus", "probed"), ("disk_free", "probed")]
    {
        assert_eq!(shown["attributes"][name]["source"], source, "{name}: {shown}");
        assert!(shown["attributes"][name]["read_at"].is_string(), "{name}: {shown}");
    }
    // Nobody else has them: neither the first tier, nor the client, nor another lab.
    for host in ["h1", "head", "h6"] {
        assert_eq!(tiers.at(host).number("SELECT count(*) n FROM server_view WHERE name LIKE 'y_'"), 0, "{host}");
    }
}

#[test]
fn claim_12_between_hosts_the_databases_are_updated_while_tasks_run() {
    let Some(tiers) = turn() else { return };
    let (client, lab) = (tiers.client(), tiers.at("h4"));
    let row = || lab.sql("SELECT running_slots, load1, read_at FROM server_view WHERE name = 'x1'")[0].clone();
    let id = client.submit(["-w", "x1", "--", "sh", "-c", "until [ -e go.12 ]; do sleep 0.05; done"]);
    client.until_state(&id, "RUNNING");
    let before = row();
    assert_eq!(before["running_slots"], 1);
    // The host's load as its kernel would tell it: read again by cron's command, while the task runs.
    tiers.rig.load("h7", Some(7.5));
    lab.grid(["refresh"]).ok();
    let after = row();
    assert!(after["load1"].as_f64() >= Some(7.0), "{after}");
    assert!(after["read_at"].as_str() > before["read_at"].as_str(), "{before} {after}");
    tiers.rig.load("h7", None);
    // What a person declares meanwhile stands beside what is read.
    lab.grid(["server", "set", "x1", "--set", "rack=9"]).ok();
    lab.grid(["refresh"]).ok();
    assert_eq!(lab.attribute("x1", "rack"), 9);
    lab.grid(["server", "unset", "x1", "rack"]).ok();
    std::fs::write(tiers.rig.home("h7").join("go.12"), "").unwrap();
    client.grid(["wait", &id]).ok();
    assert_eq!(row()["running_slots"], 0);
}

#[test]
fn claim_13_between_hosts_each_home_has_its_users() {
    let Some(tiers) = turn() else { return };
    let (client, lab) = (tiers.client(), tiers.at("h6"));
    lab.grid(["user", "set", "grid", "--group", "guests", "--share", "3", "--set", "room=7"]).ok();
    let users = lab.sql("SELECT name, share, groups FROM user_view WHERE name = 'grid'");
    assert_eq!(users, [json!({"name": "grid", "share": 3, "groups": "guests"})]);
    // The same person is another user at the client's, and knows nothing of this.
    assert_eq!(client.number("SELECT count(*) n FROM user_view WHERE name = 'grid'"), 0);
    let id = client.submit(["-w", "z1", "-C", "'guests' in user.groups && user.room == 7", "--", "true"]);
    client.grid(["wait", &id]).ok();
    let there = lab.show(client.show(&id)["remote"]["id"].as_str().unwrap());
    assert_eq!((&there["user"], &there["uuid"]), (&json!("grid"), &client.show(&id)["uuid"]));
    lab.grid(["user", "unset", "grid", "groups", "share", "room"]).ok();
}

#[test]
fn claim_14_between_hosts_the_task_lies_in_its_owners_database_and_the_client_has_the_way_there() {
    let Some(tiers) = turn() else { return };
    let (client, lab) = (tiers.client(), tiers.at("h6"));
    client.grid(["task", "add", "mix", "--cpus", "2", "--mem", "1M", "--set", "kind=sound"]).ok();
    let options = ["--profile", "mix", "-J", "take 14", "-w", "z2", "-C", "task.labels.kind == 'sound'"];
    let id = client.submit(options.into_iter().chain(["--", "sh", "-c", "exit 3"]));
    client.grid(["wait", &id]).expect(3);
    // Names of the way are those of whoever searched: for the lab, the front.
    let query = "SELECT name, state, server, exit_code, tier1, tier2 FROM task_view ORDER BY id DESC LIMIT 1";
    let wanted = json!({"name": "take 14", "state": "FAILED", "server": "z2", "exit_code": 3, "tier1": "tier1", "tier2": "lab-z"});
    assert_eq!(lab.sql(query), [wanted]);
    let mine = client.show(&id);
    assert_eq!((&mine["cpus"], &mine["exit_code"], &mine["profile"]), (&json!(2), &json!(3), &json!("mix")), "{mine}");
    let remote = lab.sql("SELECT max(id) id FROM task_view")[0]["id"].to_string();
    assert_eq!(mine["remote"], json!({"distributor": "lab-z", "id": remote}));
    assert_eq!(lab.show(&remote)["uuid"], mine["uuid"]);
    let front: Value = tiers.at("h1").sql("SELECT count(*) n FROM task_view")[0]["n"].clone();
    assert_eq!(front, 0, "the first tier has none");
    client.grid(["task", "remove", "mix"]).ok();
}

#[test]
fn claim_17_between_hosts_the_next_match_sees_the_update() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    // Declared: the same task goes where the attribute went.
    for (server, lab, host) in [("x2", "h4", "h8"), ("z1", "h6", "h11")] {
        tiers.at(lab).grid(["server", "set", server, "--set", "scratch=fast"]).ok();
        assert_eq!(ran_on(&client, &["-C", "server.scratch == 'fast'"]), host);
        tiers.at(lab).grid(["server", "unset", server, "scratch"]).ok();
    }
    client.grid(["submit", "-C", "server.scratch == 'fast'", "--", "true"]).expect(75);
    // Measured: both hosts of a lab are loaded, and are no longer where it goes.
    let quiet = ["-C", "server.load1 < 500.0"];
    assert_eq!(route(&client, &quiet), json!(["front-a", "lab-x"]));
    for host in ["h7", "h8"] {
        tiers.rig.load(host, Some(900.0));
    }
    tiers.at("h4").grid(["refresh"]).ok();
    assert_eq!(route(&client, &quiet), json!(["front-a", "lab-y"]));
    for host in ["h7", "h8"] {
        tiers.rig.load(host, None);
    }
    tiers.at("h4").grid(["refresh"]).ok();
    assert_eq!(route(&client, &quiet), json!(["front-a", "lab-x"]));
    // What waits sees it too.
    let id = client.submit(["--hold-unmatched", "-C", "server.rack == 17", "--", "uname", "-n"]);
    assert_eq!(client.state(&id), "HELD");
    tiers.at("h4").grid(["server", "set", "x1", "--set", "rack=17"]).ok();
    client.grid(["wait", &id]).ok();
    assert_eq!(client.grid(["logs", &id]).ok(), "h7");
    tiers.at("h4").grid(["server", "unset", "x1", "rack"]).ok();
    until("both are free again", || tiers.at("h4").number("SELECT sum(running_slots) n FROM server_view") == 0);
}
