//! A database of every released version opens with this program, and goes on where it was.

use crate::support::{Grid, process};
use grid::model::failpoint::UPGRADE_POINTS;
use grid::protocol::dispatcher::{FromDispatcher, ToDispatcher, VERSION};
use grid::protocol::frame;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, read_to_string};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;

/// The versions before the newest, each with a fixture.
const OLDER: [u32; 7] = [1, 2, 3, 4, 5, 6, 7];

/// A home out of a fixture.
pub fn home_of(version: &str) -> Grid {
    home_in(Grid::bare(), version)
}

/// A home out of a fixture, where this grid has its own.
pub fn home_in(grid: Grid, version: &str) -> Grid {
    std::fs::DirBuilder::new().mode(0o700).create(grid.home()).unwrap();
    let dump = format!("{}/fixtures/db/v{version}.sql", env!("CARGO_MANIFEST_DIR"));
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    database.execute_batch(&read_to_string(dump).unwrap()).unwrap();
    grid
}

#[test]
fn version_1_opens_and_goes_on() {
    let grid = home_of("1");
    grid.grid(["config", "set", "idle_exit", "2s"]).ok();
    assert_eq!(grid.number("select count(*) n from task_view"), 7);
    assert_eq!(grid.state("2"), "FAILED");
    assert_eq!(grid.grid(["logs", "1"]).ok(), "hello");
    assert_eq!(grid.show("5")["attempts"].as_array().unwrap().len(), 2, "a retry keeps both attempts");
    assert_eq!(grid.show("3")["env"].to_string().matches("\"A\"").count(), 1);
    assert_eq!(grid.state("6"), "PENDING");
    // What waited goes on, what was held stays until it is released.
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "6"]).ok();
    assert_eq!(grid.grid(["logs", "6"]).ok(), "went on");
    grid.grid(["release", "7"]).ok();
    grid.grid(["wait", "7"]).ok();
    assert_eq!(grid.state("4"), "HELD", "nothing here has 999 processors");
    // The next id is a new one.
    grid.grid(["submit", "--profile", "render", "-n", "--", "true"]).ok();
    assert_eq!(grid.submit(["--", "true"]), "8");
    grid.grid(["wait", "8"]).ok();
}

#[test]
fn version_2_opens_and_goes_on() {
    let grid = home_of("2");
    assert_eq!(grid.number("select count(*) n from task_view"), 7);
    assert_eq!(grid.show("4")["attempts"].as_array().unwrap().len(), 2, "a retry keeps both attempts");
    assert_eq!(grid.attribute("fast", "shared_account"), true);
    assert_eq!(
        grid.grid(["server", "show", "old", "--json"]).json()["attributes"]["ssh_option"]["value"][0],
        "Port=2222"
    );
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "6", "7"]).ok();
    assert_eq!(grid.grid(["logs", "6"]).ok(), "went on");
    // A server that goes leaves its name to what ran there.
    assert_eq!(grid.show("5")["server"], "fast");
    grid.grid(["server", "remove", "fast"]).ok();
    assert_eq!(grid.show("5")["server"], "fast");
    assert_eq!(grid.sql("select server from task_view where id = 5")[0]["server"], "fast");
    assert!(grid.grid(["status"]).ok().lines().any(|line| line.contains("cat in") && line.contains("fast")));
}

#[test]
fn version_3_opens_and_goes_on() {
    let grid = home_of("3");
    assert_eq!(grid.number("select count(*) n from task_view"), 8);
    assert_eq!(grid.show("2")["server"], "gone", "the server was removed");
    assert_eq!(grid.show("5")["attempts"].as_array().unwrap().len(), 2, "a retry keeps both attempts");
    assert_eq!(grid.grid(["logs", "1"]).ok(), "hello");
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "7", "8"]).ok();
    assert_eq!(grid.grid(["logs", "7"]).ok(), "went on");
    assert_eq!(grid.state("4"), "HELD");
}

#[test]
fn version_4_opens_and_goes_on() {
    let mut grid = home_of("4");
    grid.set_env("WANTED", "a");
    assert_eq!(grid.number("select count(*) n from task_view"), 8);
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "7", "8"]).ok();
    // What was submitted to an older grid inherits nothing; what is submitted now does.
    assert_eq!(grid.show("7")["inherits"], serde_json::Value::Null);
    assert_eq!(grid.grid(["logs", "7"]).ok(), "went on");
    assert_eq!(grid.grid(["run", "--", "sh", "-c", "echo $WANTED"]).ok(), "a");
}

#[test]
fn version_5_opens_and_goes_on() {
    let grid = home_of("5");
    assert_eq!(grid.number("select count(*) n from task_view"), 10);
    // Another server is drained: a retry would wait for it.
    grid.grid(["config", "set", "retry_elsewhere", "0s"]).ok();
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "9"]).ok();
    assert_eq!(grid.grid(["logs", "9"]).ok(), "a", "with what it inherited then");
    grid.grid(["wait", "10"]).expect(1);
    assert_eq!(grid.show("10")["counts"]["FAILED"], 3);
    assert_eq!(
        grid.number("select count(*) n from attempt where task_id = 10"),
        3,
        "each was retried once, on the same server"
    );
}

#[test]
fn version_6_opens_and_goes_on() {
    let grid = home_of("6");
    assert_eq!(grid.number("select count(*) n from task_view"), 6);
    // It ended in another home, which was told so then.
    assert_eq!(grid.show("6")["server"], "local");
    assert_eq!(grid.number("select count(*) n from away where unconfirmed = 0"), 1);
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "4"]).ok();
    assert_eq!(grid.grid(["logs", "4"]).ok(), "a");
    assert_eq!(grid.state("5"), "HELD");
}

#[test]
fn version_7_opens_and_goes_on() {
    let grid = home_of("7");
    assert_eq!(grid.number("select count(*) n from task_view"), 5);
    // Much failed there; for which classes was not kept.
    assert_eq!(grid.number("select count(*) n from server where failing = 7 and failing_classes is null"), 1);
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "5"]).ok();
    assert_eq!(grid.grid(["logs", "5"]).ok(), "went on");
    // It was refused by the one server, and waits for the other.
    grid.grid(["explain", "3"]).shows(&["not started on local: no /nonexistent/dir", "refused this task"]);
    grid.grid(["release", "4"]).ok();
    grid.grid(["wait", "4"]).ok();
    assert_eq!(grid.grid(["logs", "4"]).ok(), "a");
}

#[test]
fn reports_and_registrations_of_version_5_are_taken_over() {
    let grid = home_of("5-registered");
    grid.grid(["server", "resume", "local"]).ok();
    grid.grid(["wait", "4"]).ok();
    assert_eq!(grid.grid(["logs", "4"]).ok(), "went on late");
    // A report that came without a period, and a registration, which now may end with a farewell.
    let shown = grid.grid(["distributor", "show", "lab-f", "--json"]).json();
    assert_eq!(shown["attributes"]["servers"]["value"], 1, "{shown}");
    let own = grid.grid(["distributor", "show", "tier2", "--json"]).json();
    assert!(own["attributes"]["registered_with"]["value"].to_string().contains("as lab-x"), "{own}");
}

#[test]
fn a_newer_database_is_left_alone() {
    let grid = home_of("1");
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("PRAGMA user_version = 999").unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["newer", "999"]);
    assert_eq!(database.query_row("select count(*) from task", [], |row| row.get(0)), Ok(7));
}

#[test]
fn file_that_is_no_database_is_reported_and_left_alone() {
    let grid = Grid::bare();
    std::fs::create_dir(grid.home()).unwrap();
    let path = grid.home().join("grid.db");
    let text = "this is a letter, not a database ".repeat(200);
    std::fs::write(&path, &text).unwrap();
    grid.grid(["submit", "--", "true"]).expect(1).says(&["grid.db", "not a database"]);
    assert_eq!(read_to_string(&path).unwrap(), text);
}

/// Tables as sets of their definitions (an added column stands last), everything else as it was written; without
/// comments, quotes and the form of spaces.
fn schema(database: &rusqlite::Connection) -> BTreeMap<String, BTreeSet<String>> {
    let mut statement =
        database.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    rows.map(|row| {
        let (name, sql) = row.unwrap();
        let plain: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
        let plain = plain.join(" ").replace('"', "");
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !name.starts_with("table ") {
            return (name, BTreeSet::from([words(&plain)]));
        }
        let (mut depth, mut parts) = (0, vec![String::new()]);
        for c in plain.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            match (c, depth) {
                ('(', 1) | (',', 1) | (')', 0) => parts.push(String::new()),
                _ => parts.last_mut().unwrap().push(c),
            }
        }
        (name, parts.iter().map(|part| words(part)).collect())
    })
    .collect()
}

#[test]
fn an_upgraded_database_has_the_schema_of_a_new_one() {
    let fresh = Grid::new();
    let newest = schema(&rusqlite::Connection::open(fresh.home().join("grid.db")).unwrap());
    assert!(newest.len() > 40 && newest["table task"].len() > 40, "the scan sees too little: {newest:?}");
    for version in OLDER {
        let grid = home_of(&version.to_string());
        grid.grid(["status"]).ok();
        let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
        assert_eq!(database.query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
        let upgraded = schema(&database);
        let names = |schema: &BTreeMap<String, _>| schema.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&upgraded), names(&newest), "version {version}");
        for (name, parts) in &newest {
            assert_eq!(&upgraded[name], parts, "version {version}: {name} (left: upgraded)");
        }
    }
}

#[test]
fn an_upgrade_keeps_a_backup_and_says_so() {
    let grid = home_of("1");
    let done = grid.grid(["status"]);
    let copy = grid.home().join("grid.db.v1");
    done.expect(0).says(&["is upgraded from version 1 to ", "older grids refuse it", copy.to_str().unwrap()]);
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let old = rusqlite::Connection::open(&copy).unwrap();
    assert_eq!(old.query_row("PRAGMA user_version", [], |row| row.get(0)), Ok(1));
    assert_eq!(old.query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
    assert_eq!(old.query_row("SELECT count(*) FROM task", [], |row| row.get(0)), Ok(7));
    assert_eq!(grid.grid(["status"]).err(), "", "it is said once");
}

/// What waited in it has run under the newer grid since.
#[test]
fn the_backup_of_an_upgrade_starts_no_task_again() {
    for (version, waiting) in [("2", ["6", "7"]), ("3", ["7", "8"]), ("4", ["7", "8"])] {
        let grid = home_of(version);
        grid.grid(["server", "resume", "local"]).ok();
        grid.grid(["wait", waiting[0], waiting[1]]).ok();
        grid.grid(["dispatcher", "stop"]).ok();
        let kept = grid.home().join(format!("grid.db.v{version}"));
        for name in ["grid.db", "grid.db-wal", "grid.db-shm"] {
            std::fs::rename(grid.home().join(name), grid.file(name)).unwrap();
        }
        std::fs::copy(&kept, grid.home().join("grid.db")).unwrap();
        grid.grid(["server", "resume", "local"]).expect(0).says(&["restored from a backup", "held until"]);
        for id in waiting {
            assert_eq!(grid.state(id), "HELD", "version {version}");
        }
        // The older grid may have gone on with it: what is kept now is another one.
        let again = grid.home().join(format!("grid.db.v{version}.2"));
        assert!(again.exists() && kept.exists(), "version {version}");
        grid.grid(["release", waiting[0]]).ok();
        grid.grid(["wait", waiting[0]]).ok();
        grid.grid(["dispatcher", "stop"]).ok();
    }
}

#[test]
fn an_upgrade_that_is_killed_is_begun_again() {
    for point in UPGRADE_POINTS {
        let mut grid = home_of("1");
        grid.set_env("GRID_FAILPOINT", point);
        assert_ne!(grid.grid(["sql", "select 1"]).code(), 0, "{point}: it was not killed");
        grid.unset_env("GRID_FAILPOINT");
        let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
        let version = || database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
        assert!(version() == 1 || *point == "upgrade-committed", "{point}");
        grid.grid(["server", "resume", "local"]).ok();
        grid.grid(["wait", "6"]).ok();
        assert_eq!(database.query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
        assert!(version() > 1);
        assert_eq!(grid.number("select count(*) n from task_view"), 7);
        let old = rusqlite::Connection::open(grid.home().join("grid.db.v1")).unwrap();
        assert_eq!(old.query_row("SELECT count(*) FROM task", [], |row| row.get(0)), Ok(7), "{point}");
        assert_eq!(backups(&grid), ["grid.db.v1"], "{point}: the copy of the upgrade that was killed was not replaced");
    }
}

/// The backups of upgrades in a home, and what is to become one.
fn backups(grid: &Grid) -> Vec<String> {
    let all = std::fs::read_dir(grid.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    all.filter(|name| name.starts_with("grid.db.v")).collect()
}

/// With the lock held and no dispatcher that could be asked to leave, a command that waited for it would not end.
#[test]
fn upgrade_that_would_fail_stops_no_dispatcher_and_keeps_no_copy() {
    let grid = home_of("3");
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    database.execute_batch("CREATE TABLE discard (x)").unwrap();
    let run = grid.home().join("run");
    std::fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
    let lock = File::create(run.join("dispatcher.lock")).unwrap();
    lock.lock().unwrap();
    grid.grid(["status"]).expect(1).says(&["upgrade of the database from version 3", "discard already exists"]);
    assert_eq!(database.query_row("PRAGMA user_version", [], |row| row.get(0)), Ok(3));
    assert_eq!(backups(&grid), [""; 0]);
    database.execute_batch("DROP TABLE discard").unwrap();
    drop(lock);
    grid.grid(["status"]).expect(0).says(&["is upgraded from version 3"]);
    assert_eq!(backups(&grid), ["grid.db.v3"]);
}

/// The older dispatcher has left for it, and nobody else would start another.
#[test]
fn a_listing_that_upgrades_starts_the_dispatcher() {
    let grid = home_of("4");
    assert_eq!(grid.number("select count(*) n from task_view where state = 'PENDING'"), 2);
    assert!(grid.dispatcher().is_some(), "tasks wait, and nobody looks at them");
}

/// The older version's dispatcher is played by this test, with its lock, its socket and the real protocol.
#[test]
fn the_running_dispatcher_leaves_before_an_upgrade() {
    let grid = home_of("1");
    let run = grid.home().join("run");
    std::fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
    let lock = File::create(run.join("dispatcher.lock")).unwrap();
    lock.lock().unwrap();
    let listener = UnixListener::bind(run.join("dispatcher.sock")).unwrap();
    let command = grid.beside(["status"]);
    let (mut caller, _) = listener.accept().unwrap();
    frame::write(&mut caller, &FromDispatcher::Hello { version: VERSION, pid: 1 }).unwrap();
    assert_eq!(frame::read(&mut caller).unwrap(), Some(ToDispatcher::Leave));
    let database = rusqlite::Connection::open(grid.home().join("grid.db")).unwrap();
    let version = || database.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
    // It writes to its end.
    database.execute("UPDATE home SET changes = changes + 1", []).unwrap();
    assert_eq!(version(), 1);
    // The connection ends before the process does: the lock is what counts.
    drop((caller, listener));
    std::fs::remove_file(run.join("dispatcher.sock")).unwrap();
    assert_eq!(version(), 1);
    drop(lock);
    process::finish(command, "grid status".to_owned()).expect(0).says(&["is upgraded"]);
    assert!(version() > 1);
}

#[test]
fn many_commands_at_once_upgrade_once() {
    let grid = home_of("1");
    let commands: Vec<_> = (0..20).map(|_| grid.beside(["submit", "--parsable", "--", "true"])).collect();
    let ids: BTreeSet<String> =
        commands.into_iter().map(|c| process::finish(c, "grid submit".to_owned()).ok()).collect();
    assert_eq!(ids.len(), 20);
    grid.grid(["dispatcher", "stop"]).ok();
}

/// The agent says that it is of the first version, which looks at no features.
#[test]
fn start_that_needs_a_feature_is_not_sent_to_an_older_agent() {
    let mut grid = Grid::new();
    grid.set_env("GRID_TEST_AGENT_VERSION", "1");
    // A host that is this one, behind a stand-in for ssh: on the home's own host the agent is always of this very program.
    std::fs::write(grid.file("ssh"), "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").unwrap();
    grid.sh("chmod +x ssh").ok();
    grid.set_env("GRID_SSH_COMMAND", "./ssh");
    grid.grid(["server", "add", "far", "--ssh", "far", "--slots", "2"]).ok();
    let run = |options: &[&str]| grid.grid([&["run", "-w", "far"], options, &["--", "echo", "said"]].concat());
    run(&[]).expect(0).shows(&["said"]);
    run(&["--max-output", "1M"])
        .expect(125)
        .says(&["the grid for its architecture is too old for --max-output on far"]);
}
