//! The session that must work as typed: line by line in a shell, with a look at what each prints.

use crate::support::{Done, Grid, skipped};
use serde_json::Value;

/// Types a line; it must end with 0.
#[track_caller]
fn typed(grid: &Grid, line: &str) -> String {
    grid.sh(&format!("set -e; {line}")).ok()
}

#[test]
fn a_session_works_as_typed() {
    let grid = Grid::bare();
    let two_processors = grid.sh("test $(nproc) -ge 2").code() == 0;
    let host = grid.sh("uname -n").ok();

    assert_eq!(typed(&grid, "grid run -- uname -n"), host, "a fresh machine: everything comes by itself");
    grid.grid(["config", "set", "idle_exit", "2s"]).ok();
    let quiet = |line: &str| assert_eq!(typed(&grid, line), "", "{line}");
    quiet("grid server add fast --local --slots 2 --set site=brno --set rack=7 --app blender --app ffmpeg");
    quiet(r#"grid server add slow --local --slots 1 --set site=oslo --accepts '"staff" in user.groups'"#);
    let shown = typed(
        &grid,
        "grid server set slow --set rack=9 --max-load 6 ; grid server unset slow rack ; grid server show fast",
    );
    for word in ["rack", "7", "declared", "idle_cpus", "probed", "blender"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let listed = typed(
        &grid,
        r#"grid server drain slow --reason "fan is loud" ; grid server resume slow ; grid server list --json"#,
    );
    let listed: Value = serde_json::from_str(&listed).expect("one JSON document");
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fast", "local", "slow"]);
    let slow = &listed[2];
    assert_eq!((&slow["state"], &slow["attributes"]["max_load"]["value"]), (&"UP".into(), &6.0.into()), "{slow}");
    assert!(slow["attributes"].get("rack").is_none(), "{slow}");
    quiet("grid server add farm --of fast,slow");
    quiet(r#"grid user add alice --group staff --share 2 --prefer 'server.site == "brno"'"#);
    quiet("grid task add render --cpus 2 --mem 1G --app blender --prefer server.power");
    quiet(r#"grid client set "$(uname -n)" --set site=brno"#);

    let render = "grid submit --profile render -C 'server.site == client.site' -- blender -b scene.blend";
    let mut next = 2;
    if two_processors {
        let said = typed(&grid, render);
        assert!(said.starts_with("2 "), "the id comes first: {said}");
        next += 1;
    } else {
        grid.sh(render).expect(75);
        skipped("the session's render task", "it asks for 2 processors, this host has one");
    }
    let said = typed(&grid, "grid submit --user alice --app ffmpeg --array 1-100%2 -- sh -c 'echo $GRID_ARRAY_INDEX'");
    assert!(said.starts_with(&format!("{next} ")) && said.contains("100"), "{said}");
    let array = next;
    let said = typed(&grid, r"printf 'a b\nc\n' | grid submit --each-line - -- echo {}");
    assert!(said.starts_with(&format!("{} ", array + 1)) && said.contains('2'), "{said}");
    let lines = array + 1;

    let said = typed(
        &grid,
        "grid submit -w fast --json -- true ; grid wait last ; grid logs last ; grid show last --json ; grid explain last",
    );
    let mut parts = said.splitn(3, '\n');
    let submitted: Value = serde_json::from_str(parts.next().unwrap()).expect("one JSON document");
    let shown: Value = serde_json::from_str(parts.next().unwrap()).expect("one JSON document, and no line from logs");
    assert_eq!(submitted["id"], shown["id"]);
    assert_eq!(
        (&shown["state"], &shown["server"], &shown["exit_code"]),
        (&"COMPLETED".into(), &"fast".into(), &0.into())
    );
    assert_eq!(submitted["route"], serde_json::json!(["tier1", "tier2"]));
    let explained = parts.next().unwrap();
    for word in ["tier 1", "tier 2", "fast", "-w fast"] {
        assert!(explained.contains(word), "{word}: {explained}");
    }

    let refused: Done = grid.sh("grid submit -c 999 -- true ; echo $?");
    assert_eq!(refused.out(), "75\n");
    refused.says(&["fast", "slow", "local", "farm", "wants 999"]);
    let held = typed(&grid, "grid submit --hold-unmatched -c 999 --parsable -- true");
    assert!(held.bytes().all(|b| b.is_ascii_digit()), "its id alone: {held}");
    assert_eq!(grid.state(&held), "HELD");

    quiet("grid distributor add lab-a --tier 2 ; grid distributor add lab-b --tier 2");
    let listed = typed(
        &grid,
        "grid server add n1 --local --distributor lab-b ; grid distributor drain lab-a ; grid distributor list",
    );
    for word in ["tier1", "tier2", "lab-a", "DRAINED", "lab-b"] {
        assert!(listed.contains(word), "{word}: {listed}");
    }

    let view = grid.sh(r#"sqlite3 -readonly "$GRID_HOME/grid.db" 'select name, state from server_view'"#);
    if view.code() == 127 {
        skipped("the session's sqlite3 line", "sqlite3 is not installed; .ci/setup does that");
    } else {
        let mut rows: Vec<String> = view.ok().lines().map(str::to_owned).collect();
        rows.sort();
        assert_eq!(rows, ["farm|UP", "fast|UP", "local|UP", "n1|UP", "slow|UP"]);
        for other in ["task_view", "user_view", "client_view", "distributor_view"] {
            let rows = grid.sh(&format!(r#"sqlite3 -readonly "$GRID_HOME/grid.db" 'select * from {other}'"#)).ok();
            assert!(!rows.is_empty(), "{other} is empty");
        }
    }

    // What was queued ends as it must.
    let ended = grid.grid(["wait", &array.to_string(), &lines.to_string()]);
    ended.ok();
    let outputs: Vec<String> = (1..=100).map(|i| grid.grid(["logs", &format!("{array}.{i}")]).ok()).collect();
    assert_eq!(outputs, (1..=100).map(|i| i.to_string()).collect::<Vec<_>>());
    let logs = [1, 2].map(|i| grid.grid(["logs", &format!("{lines}.{i}")]).ok());
    assert_eq!(logs, ["a b", "c"]);
    if two_processors && grid.sh("command -v blender").code() != 0 {
        grid.grid(["wait", "2"]).expect(127);
        assert_eq!(grid.state("2"), "FAILED", "a command missing on the server");
    }
}

#[test]
fn grid_without_arguments_prints_the_status() {
    let grid = Grid::new();
    assert_eq!(typed(&grid, "grid"), typed(&grid, "grid status"));
}

#[test]
fn times_are_shown_in_the_callers_zone() {
    let mut grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    let mut shown = |zone: &str| {
        grid.set_env("TZ", zone);
        let task = grid.grid(["show", "1"]).ok();
        task.lines().find_map(|line| line.strip_prefix("submitted")).unwrap().trim().to_owned()
    };
    let far = shown("<+09>-9");
    assert_ne!(shown("UTC0"), far);
    if std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        assert_eq!(shown("Asia/Tokyo"), far);
    }
}

#[test]
fn zone_that_is_no_file_is_reported_and_times_are_shown_in_utc() {
    let mut grid = Grid::new();
    grid.grid(["run", "--", "true"]).ok();
    grid.set_env("TZ", "/dev/zero");
    grid.grid(["show", "1"]).expect(0).says(&["TZ=/dev/zero", "no such time zone", "UTC"]);
    // Nothing is said where no time is shown.
    let quiet = grid.grid(["status"]).expect(0);
    assert!(quiet.err.is_empty(), "{quiet:?}");
}
