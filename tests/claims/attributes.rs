//! 6, 8, 9, 10, 16: matched by applications, computing power, and attributes of client and user.

use crate::support::{Grid, load};
use serde_json::Value;

/// Two servers on this host besides `local`, which is gone.
fn fast_and_slow(fast: &[&str], slow: &[&str]) -> Grid {
    let grid = Grid::new();
    for (name, options) in [("fast", fast), ("slow", slow)] {
        let mut line = vec!["server", "add", name, "--local"];
        line.extend(options);
        grid.grid(line).ok();
    }
    grid.grid(["server", "remove", "local"]).ok();
    grid
}

/// Runs a task that tells its server.
fn server_of(grid: &Grid, options: &[&str]) -> String {
    let mut line = vec!["run"];
    line.extend(options);
    line.extend(["--", "sh", "-c", "echo $GRID_SERVER"]);
    grid.grid(line).ok()
}

/// The newest task's way, whosever it is.
fn last(grid: &Grid) -> Value {
    grid.grid(["explain", "last", "--everyone", "--json"]).json()
}

fn reasons(explained: &Value, server: &str) -> String {
    let all = explained["servers"].as_array().unwrap();
    let found = all.iter().find(|s| s["server"] == server).unwrap_or_else(|| panic!("{server} in {explained}"));
    found["reasons"].to_string()
}

#[test]
fn claim_6_matched_by_the_applications_residing_on_a_server() {
    let _among = load::together();
    let mut grid = fast_and_slow(&["--app", "blender=4.1"], &["--app", "blender=3.6", "--app", "ffmpeg"]);
    assert_eq!(server_of(&grid, &["--app", "ffmpeg"]), "slow");
    assert_eq!(server_of(&grid, &["--app", "blender>=4.0"]), "fast");
    assert_eq!(server_of(&grid, &["--app", "blender>=3.6", "--app", "ffmpeg"]), "slow");
    let refused = grid.grid(["submit", "--app", "blender>=5", "--", "true"]).expect(75);
    refused.says(&["fast", "4.1", "slow", "3.6"]);
    grid.grid(["submit", "--app", "maya", "--", "true"]).expect(75).says(&["maya"]);
    // Found on PATH with its version, not declared: a program of ours, watched for.
    let bin = grid.file("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("grid-test-app");
    std::fs::write(&program, "#!/bin/sh\necho grid-test-app 2.5\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    grid.grid(["config", "set", "watch", "sh,grid-test-app,grid-no-such-app"]).ok();
    grid.grid(["submit", "--app", "grid-test-app", "--", "true"]).expect(75).says(&["grid-test-app is not there"]);
    // The agent looks along the PATH that it was started with.
    grid.grid(["dispatcher", "stop"]).ok();
    let path = grid.sh("echo $PATH").ok();
    grid.set_env("PATH", &format!("{}:{path}", bin.display()));
    grid.grid(["server", "refresh"]).ok();
    let apps = grid.attribute("fast", "apps");
    let has = |name: &str| apps.as_array().is_some_and(|all| all.contains(&name.into()));
    assert!(has("sh") && has("grid-test-app") && !has("grid-no-such-app"), "{apps}");
    grid.grid(["run", "--app", "sh", "--app", "grid-test-app>=2.4", "--", "true"]).ok();
    grid.grid(["submit", "--app", "grid-test-app>=3", "--", "true"]).expect(75).says(&["found 2.5"]);
}

#[test]
fn claim_8_matched_by_computing_power() {
    let _among = load::together();
    let grid = fast_and_slow(&["--cpus", "1"], &[]);
    let power = |name: &str| grid.attribute(name, "power").as_f64().unwrap();
    let cpus = |name: &str| grid.attribute(name, "cpus").as_f64().unwrap();
    assert!(power("slow") > 0.0, "it is measured");
    let each = (power("fast") / cpus("fast"), power("slow") / cpus("slow"));
    assert!((each.0 - each.1).abs() < 0.01 * each.0, "power is processors times the score of one: {each:?}");
    // More power than there is anywhere: refused, and told what was found.
    let above = format!("server.power > {}", power("slow") * 1000.0);
    grid.grid(["submit", "-C", &above, "--", "true"]).expect(75).says(&["server.power"]);
    let stronger = if power("slow") > power("fast") { "slow" } else { "fast" };
    assert_eq!(server_of(&grid, &["--prefer", "server.power"]), stronger);
    let weaker = if power("slow") >= power("fast") { "fast" } else { "slow" };
    if power("slow") > power("fast") {
        assert_eq!(server_of(&grid, &["--prefer", "-server.power"]), weaker);
        // Halfway: what is shown may be rounded, and is read again meanwhile.
        let between = (power("fast") + power("slow")) / 2.0;
        assert_eq!(server_of(&grid, &["-C", &format!("server.power > {between}")]), "slow");
    }
}

#[test]
fn claim_9_matched_to_an_attribute_of_the_client() {
    let _among = load::together();
    let grid = fast_and_slow(&["--set", "site=brno"], &["--set", "site=oslo"]);
    let me = grid.sh("uname -n").ok();
    for (site, server) in [("oslo", "slow"), ("brno", "fast")] {
        grid.grid(["client", "set", &me, "--set", &format!("site={site}")]).ok();
        assert_eq!(server_of(&grid, &["-C", "server.site == client.site"]), server);
        assert_eq!(server_of(&grid, &["--prefer", "server.site == client.site"]), server);
    }
    // An attribute that the client does not have matches nothing, and that is said.
    grid.grid(["client", "unset", &me, "site"]).ok();
    grid.grid(["submit", "-C", "server.site == client.site", "--", "true"]).expect(75).says(&["client.site"]);
    // The other way round: a server that takes only tasks of some clients.
    grid.grid(["server", "set", "fast", "--accepts", "client.host == 'elsewhere'"]).ok();
    assert_eq!(server_of(&grid, &["--prefer", "server.site == 'brno'"]), "slow");
    assert!(reasons(&grid.explain("last"), "fast").contains("accepts"));
}

#[test]
fn claim_10_matched_to_an_attribute_of_the_user() {
    let _among = load::together();
    let grid = fast_and_slow(&["--set", "rack=7"], &["--accepts", "'staff' in user.groups"]);
    grid.grid(["user", "add", "alice", "--group", "staff", "--prefer", "server.name == 'slow'"]).ok();
    grid.grid(["user", "add", "bob", "--set", "rack=7"]).ok();
    assert_eq!(server_of(&grid, &["--user", "alice"]), "slow", "her group lets her in, and she prefers it");
    assert_eq!(server_of(&grid, &["--user", "bob"]), "fast", "his groups do not");
    assert!(reasons(&last(&grid), "slow").contains("staff"));
    assert_eq!(server_of(&grid, &["--user", "bob", "-C", "server.rack == user.rack"]), "fast");
    grid.grid(["submit", "--user", "bob", "-w", "slow", "--", "true"]).expect(75).says(&["accepts"]);
    // What a user requires holds for every task.
    grid.grid(["user", "set", "bob", "-C", "server.rack == 8"]).ok();
    grid.grid(["submit", "--user", "bob", "--", "true"]).expect(75).says(&["server.rack"]);
}

#[test]
fn claim_16_task_attributes_user_preferences_and_client_attributes_together() {
    let _among = load::together();
    let grid = Grid::new();
    grid.grid(["server", "remove", "local"]).ok();
    for (name, app, site, quiet) in [
        ("a", "blender", "brno", "true"),
        ("b", "blender", "brno", "false"),
        ("c", "blender", "oslo", "true"),
        ("d", "ffmpeg", "brno", "true"),
    ] {
        let (site, quiet) = (format!("site={site}"), format!("quiet={quiet}"));
        grid.grid(["server", "add", name, "--local", "--app", app, "--set", &site, "--set", &quiet]).ok();
    }
    let me = grid.sh("uname -n").ok();
    grid.grid(["client", "set", &me, "--set", "site=brno"]).ok();
    grid.grid(["user", "add", "alice", "--prefer", "server.quiet"]).ok();
    grid.grid(["user", "add", "bob", "--prefer", "!server.quiet"]).ok();
    let all = ["--app", "blender", "-C", "server.site == client.site"];
    let of = |user: &str, more: &[&str]| {
        let mut options = vec!["--user", user];
        options.extend(all);
        options.extend(more);
        server_of(&grid, &options)
    };
    assert_eq!(of("alice", &[]), "a", "application, client's site, her preference");
    assert_eq!(of("bob", &[]), "b", "application, client's site, his preference");
    assert_eq!(of("alice", &["--prefer", "server.name == 'b'"]), "b", "the task's own preference comes first");
    assert_eq!(of("alice", &["--prefer", "1"]), "a", "where it ties, hers decides");
    let why = last(&grid);
    assert!(reasons(&why, "c").contains("client.site"), "{why}");
    assert!(reasons(&why, "d").contains("blender"), "{why}");
}
