//! 11, 13, 14: the databases of servers, users and tasks, asked by SQL as anybody may.

use crate::support::{Grid, load};
use serde_json::json;

#[test]
fn claim_11_the_second_tiers_database_holds_the_servers_attributes() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid(["distributor", "add", "lab", "--tier", "2"]).ok();
    grid.grid([
        "server",
        "add",
        "n1",
        "--local",
        "--distributor",
        "lab",
        "--slots",
        "3",
        "--max-load",
        "50",
        "--app",
        "blender=4.1",
        "--set",
        "rack=7",
        "--set",
        "cooled=true",
    ])
    .ok();
    let row =
        &grid.sql("SELECT *, power > 0 AND cpus > 0 AND mem_total > 0 AS read FROM server_view WHERE name = 'n1'")[0];
    let found = (&row["distributor"], &row["slots"], &row["max_load"], &row["read"], &row["hostname"]);
    assert_eq!(found, (&json!("lab"), &json!(3), &json!(50.0), &json!(1), &json!(grid.sh("uname -n").ok())));
    let own = grid.sql(
        "SELECT name, type, value, source FROM attribute_view WHERE of = 'n1' AND source = 'declared' ORDER BY name",
    );
    assert_eq!(
        own,
        [
            json!({"name": "cooled", "type": "bool", "value": 1, "source": "declared"}),
            json!({"name": "rack", "type": "int", "value": 7, "source": "declared"}),
        ]
    );
    let listed = grid.grid(["server", "show", "n1", "--json"]).json();
    for (name, source) in [
        ("slots", "declared"),
        ("rack", "declared"),
        ("load1", "probed"),
        ("idle_cpus", "probed"),
        ("power", "probed"),
        ("mem_available", "probed"),
        ("disk_free", "probed"),
        ("os", "probed"),
    ] {
        assert_eq!(listed["attributes"][name]["source"], source, "{name}: {listed}");
        assert!(listed["attributes"][name]["read_at"].is_string(), "{name}: {listed}");
    }
    // It is a plain file: any SQLite reads it.
    let rows =
        grid.sh("sqlite3 -readonly \"$GRID_HOME/grid.db\" \"select name, state from server_view order by name\"");
    if rows.code() == 127 {
        crate::support::skipped("claim 11, the sqlite3 shell", "sqlite3 is not installed; .ci/setup does that");
    } else {
        assert_eq!(rows.ok(), "local|UP\nn1|UP");
    }
}

#[test]
fn claim_13_the_user_database() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid([
        "user",
        "add",
        "alice",
        "--group",
        "staff,video",
        "--share",
        "2",
        "--prefer",
        "server.power",
        "-C",
        "server.cpus >= 1",
        "--set",
        "room=12",
    ])
    .ok();
    let rows = grid.sql("SELECT name, share, prefer, requires, groups FROM user_view WHERE name = 'alice'");
    let wanted = json!({"name": "alice", "share": 2, "prefer": "server.power", "requires": "server.cpus >= 1", "groups": "staff,video"});
    assert_eq!(rows, [wanted]);
    let shown = grid.grid(["user", "show", "alice", "--json"]).json();
    assert_eq!(shown["attributes"]["room"]["value"], 12);
    // Tasks belong to a user, and whoever has some can't be removed.
    let id = grid.submit(["--user", "alice", "--", "true"]);
    assert_eq!(grid.show(&id)["user"], "alice");
    grid.grid(["wait", &id]).ok();
    grid.grid(["user", "remove", "alice"]).expect(1);
    grid.grid(["submit", "--user", "carol", "--", "true"]).expect(1).says(&["carol"]);
}

#[test]
fn claim_14_the_task_database() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid([
        "task",
        "add",
        "render",
        "--cpus",
        "1",
        "--mem",
        "1M",
        "--prefer",
        "server.power",
        "--retries",
        "1",
        "--set",
        "kind=film",
    ])
    .ok();
    let profiles = grid.sql("SELECT name FROM profile_view");
    assert_eq!(profiles, [json!({"name": "render"})]);
    let id = grid.submit([
        "--profile",
        "render",
        "-J",
        "take 1",
        "-C",
        "task.labels.kind == 'film'",
        "--",
        "sh",
        "-c",
        "exit 3",
    ]);
    grid.grid(["wait", &id]).expect(3);
    let row = grid.sql(&format!("SELECT name, state, server, exit_code, tier1, tier2 FROM task_view WHERE id = {id}"));
    let wanted = json!({"name": "take 1", "state": "FAILED", "server": "local", "exit_code": 3, "tier1": "tier1", "tier2": "tier2"});
    assert_eq!(row, [wanted]);
    let shown = grid.show(&id);
    assert_eq!(
        (&shown["profile"], &shown["retries"], &shown["mem"]),
        (&json!("render"), &json!(1), &json!(1 << 20)),
        "{shown}"
    );
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2, "the profile's one retry: {shown}");
    // Tasks keep what they were submitted with.
    grid.grid(["task", "set", "render", "--retries", "5"]).ok();
    assert_eq!(grid.show(&id)["retries"], 1);
    grid.grid(["submit", "--profile", "rendre", "--", "true"]).expect(1).says(&["rendre", "render"]);
}
