//! What is taken of servers while ends come home: long outputs and files on their way, with agents, links and the dispatcher shot at
//! any moment, cancels, retries, and a home that is restored from a backup of that moment.

use super::deaths::pids;
use crate::support::{Grid, process, said};
use grid::store::{Home, Store, StoreError};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// So many are shot, unless GRID_TEST_KILLS says otherwise.
const KILLS: usize = 16;
/// Members of each task, and the bytes that each prints and makes.
const MEMBERS: usize = 8;
const LONG: usize = 4_000_000;

/// What is taken is what lives, in one state of the database; and whoever reads it is told.
#[track_caller]
fn check(grid: &Grid, id: &str) {
    let mut store = Store::open(&Home::at(grid.home())).unwrap();
    let wrong = store.read::<_, StoreError>(|view| view.miscounted()).unwrap();
    assert!(wrong.is_empty(), "{wrong:?}");
    for line in ["status", "server list"] {
        grid.grid(line.split(' ')).expect(0);
    }
    for verb in ["show", "explain"] {
        grid.grid([verb, id]).expect(0);
    }
}

/// Kills these; false where none was there.
fn kill(pids: &[i32]) -> bool {
    for pid in pids.iter().copied().filter_map(Pid::from_raw) {
        // It may have left by itself.
        if kill_process(pid, Signal::KILL).is_ok() {
            process::wait_pid_gone(pid, process::HANG);
        }
    }
    !pids.is_empty()
}

/// Processes of this test whose command line has these words.
fn with_words(grid: &Grid, words: &str) -> Vec<i32> {
    let line = |pid: &i32| {
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
    };
    grid.processes().into_iter().filter(|pid| line(pid).contains(words)).collect()
}

/// A server `far`, behind a stand-in for ssh: two relays carry the bytes, and die without taking the agent along.
fn add_far(grid: &Grid) {
    let (link, there) = (grid.file("link"), grid.file("there"));
    std::fs::create_dir(&there).unwrap();
    std::fs::write(grid.file("nothing"), "").unwrap();
    let relay = format!("cat - '{}'", grid.file("nothing").display());
    let script =
        format!("#!/bin/sh\nfor last; do :; done\n{relay} | HOME='{}' sh -c \"$last\" | {relay}\n", there.display());
    std::fs::write(&link, script).unwrap();
    std::fs::set_permissions(&link, PermissionsExt::from_mode(0o755)).unwrap();
    let line = "server add far --ssh far --ssh-command ./link --slots 4 --cpus 4";
    grid.grid(line.split(' ')).ok();
    grid.grid(["server", "add", "farm", "--of", "far,local"]).ok();
}

/// What befalls the way home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shot {
    Agent,
    Link,
    /// One direction of it.
    HalfALink,
    Dispatcher,
    /// A backup takes the home's place.
    Restored,
}

impl Shot {
    const ALL: [Self; 7] =
        [Self::Link, Self::Agent, Self::Restored, Self::HalfALink, Self::Agent, Self::Link, Self::Dispatcher];

    /// False where nobody was there to be shot.
    fn hit(self, grid: &Grid, moment: Duration) -> bool {
        let relays = || with_words(grid, "cat - /");
        match self {
            Self::Agent => kill(&with_words(grid, "grid agent ")),
            Self::Link => kill(&relays()),
            Self::HalfALink => {
                let relays = relays();
                let at = usize::from(moment.subsec_micros() % 2 == 1);
                relays.get(at).or(relays.first()).is_some_and(|pid| kill(&[*pid]))
            }
            Self::Dispatcher => kill(&pids(grid.home(), "dispatcher")),
            Self::Restored => {
                grid.grid(["backup", "copy.db"]).ok();
                // What came home since is unknown to the backup.
                std::thread::sleep(moment);
                kill(&pids(grid.home(), "dispatcher"));
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(grid.home().join(format!("grid.db{suffix}")));
                }
                grid.grid(["restore", "copy.db"]).ok();
                std::fs::remove_file(grid.file("copy.db")).unwrap();
                true
            }
        }
    }
}

/// Ends that are on their way home: their process is gone, and they are not taken in.
fn on_the_way(grid: &Grid) -> i64 {
    let database = Connection::open(grid.home().join("grid.db")).unwrap();
    let sql = "SELECT count(*) FROM member WHERE state IN ('STARTING', 'RUNNING') AND lane IS NULL";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn goes_on(grid: &Grid, id: &str) -> bool {
    matches!(grid.state(id).as_str(), "PENDING" | "STARTING" | "RUNNING" | "HELD")
}

/// A kind of work: what is added to the submit, and what the command does behind its output.
const WORK: [(&[&str], &str, bool); 4] = [
    (&["-w", "farm", "--fetch", "made"], "true", false),
    (&["-w", "farm", "--retries", "1", "--fetch", "made"], "test $GRID_ATTEMPT != 1", false),
    (&["-w", "far"], "true", false),
    // Cancelled while its ends are on their way.
    (&["--retries", "2", "--fetch", "made"], "false", true),
];

#[test]
fn reserved_resources_match_live_tasks_wherever_the_return_of_results_is_cut() {
    let grid = Grid::new();
    std::fs::write(grid.file("in"), "in").unwrap();
    add_far(&grid);
    for server in ["far", "local"] {
        grid.grid(["run", "-w", server, "--", "true"]).ok();
    }
    let kills = std::env::var("GRID_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let random = RandomState::new();
    let moment = |shot: usize| Duration::from_micros(random.hash_one(shot) % 60_000);
    let mut shots = Vec::new();
    let (mut released, mut met) = (0, 0);
    for (options, last, cancelled) in WORK.iter().cycle() {
        if shots.len() >= kills {
            break;
        }
        let array = format!("1-{MEMBERS}%6");
        let marks = grid.file("marks");
        let line = format!(
            "echo $GRID_TASK_ID.$GRID_ARRAY_INDEX.$GRID_ATTEMPT >> {}; yes long | head -c {LONG}; yes made | head -c {LONG} > made; {last}",
            marks.display()
        );
        let mut words = vec!["--array", &array, "--send", "in"];
        words.extend(*options);
        words.extend(["--", "sh", "-c", &line]);
        let id = grid.submit(words);
        let mut restored = false;
        let mut steps = 0;
        while goes_on(&grid, &id) {
            // Who waits has the dispatcher call its agents again at once.
            let mut waiter = grid.beside(["wait", &id]);
            process::until("an end is on its way home", || on_the_way(&grid) > 0 || !goes_on(&grid, &id));
            std::thread::sleep(moment(shots.len()));
            if shots.len() < kills {
                let meets = on_the_way(&grid) > 0;
                let shot = Shot::ALL[shots.len() % Shot::ALL.len()];
                if shot == Shot::Restored {
                    waiter.kill().unwrap();
                    waiter.wait().unwrap();
                }
                if shot.hit(&grid, moment(shots.len() + 1)) {
                    met += usize::from(meets);
                    restored |= shot == Shot::Restored;
                    shots.push(shot);
                }
            }
            check(&grid, &id);
            steps += 1;
            if *cancelled && steps == 3 {
                grid.grid(["cancel", &id]).ok();
            }
            if restored && grid.number(&format!("SELECT held FROM task WHERE id = {id}")) > 0 {
                // What a restored home holds may have run: it runs again because somebody says so.
                grid.grid(["release", &id]).expect(0);
                released += 1;
            }
            let _ = waiter.kill();
            let _ = waiter.wait();
        }
        check(&grid, &id);
        let rows = grid.sql(&format!("SELECT idx, state, out_len FROM member WHERE task_id = {id}"));
        let whole = |row: &&serde_json::Value| row["state"] != "CANCELLED";
        if !cancelled {
            assert!(rows.len() == MEMBERS && rows.iter().all(|row| row["state"] == "COMPLETED"), "{rows:?}");
        }
        for row in rows.iter().filter(whole) {
            assert_eq!(row["out_len"], LONG, "{row}");
            let told = grid.grid(["logs", &format!("{id}.{}", row["idx"])]).expect(0);
            assert_eq!(told.out.len(), LONG, "{row}");
        }
        let mut runs = grid.lines("marks");
        std::fs::remove_file(&marks).unwrap();
        let all = runs.len();
        runs.sort();
        runs.dedup();
        assert!(restored || runs.len() == all, "an attempt ran twice: {id}: {options:?}");
    }
    assert_eq!(grid.number("SELECT sum(abs(taken_slots) + abs(taken_cpus) + abs(taken_mem)) FROM server"), 0);
    let of = |kind| shots.iter().filter(|shot| **shot == kind).count();
    said::tell(&format!(
        "{} cuts, {met} while ends were on their way home, each followed by a recount: agents {}, links {}, halves of links {}, dispatchers {}, restored homes {} ({released} releases)",
        shots.len(),
        of(Shot::Agent),
        of(Shot::Link),
        of(Shot::HalfALink),
        of(Shot::Dispatcher),
        of(Shot::Restored),
    ));
}

/// Files below a directory: their inodes, and what they take of the disk.
fn files(dir: &Path) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => found.extend(files(&entry.path())),
            Ok(meta) => drop(found.insert(meta.ino(), meta.blocks() * 512)),
            Err(_) => {}
        }
    }
    found
}

#[test]
fn long_output_of_the_own_host_takes_its_room_once_wherever_agent_and_dispatcher_are_shot() {
    const OUTPUT: usize = 20_000_000;
    let grid = Grid::new();
    let spool = grid.home().join("spool");
    let random = RandomState::new();
    for round in 0..8_u64 {
        grid.fifo(&format!("go{round}"));
        let script = format!("head -c {OUTPUT} /dev/zero | tr '\\0' x; echo {round} >> marks; read line < go{round}");
        let id = grid.submit(["--", "sh", "-c", &script]);
        process::until("it has written", || grid.lines("marks").len() as u64 == round + 1);
        let written = files(&spool.join("agent"));
        let mut waiter = grid.beside(["wait", &id]);
        std::fs::write(grid.file(&format!("go{round}")), "go\n").unwrap();
        // The first one is left alone.
        std::thread::sleep(Duration::from_micros(random.hash_one(round) % 40_000));
        match round % 3 {
            1 => drop(kill(&with_words(&grid, "grid agent "))),
            2 => drop(kill(&pids(grid.home(), "dispatcher"))),
            _ => {}
        }
        let mut most = 0;
        process::until("it has ended", || {
            most = most.max(files(&spool).values().sum());
            !goes_on(&grid, &id)
        });
        let _ = waiter.kill();
        let _ = waiter.wait();
        assert_eq!(grid.state(&id), "COMPLETED");
        let before = round * OUTPUT as u64;
        assert!(most < before + OUTPUT as u64 + 1_000_000, "{round}: {} beside what was there", most - before);
        let mut home = files(&spool.join("out"));
        home.retain(|_, bytes| *bytes > 0);
        assert_eq!(home.len() as u64, round + 1);
        assert_eq!(home.keys().filter(|inode| written.contains_key(inode)).count(), 1, "{round}: it is the same file");
        assert_eq!(grid.grid(["logs", &id]).expect(0).out.len(), OUTPUT);
    }
    process::until("nothing is left of the runs", || files(&spool.join("agent")).values().sum::<u64>() < 1_000_000);
}

#[test]
fn reservation_is_released_once_if_the_agent_dies_before_its_files_are_fetched() {
    let mut grid = Grid::new();
    grid.grid(["dispatcher", "stop"]).expect(0);
    let once = grid.file("shot");
    grid.set_env("GRID_FAILPOINT", "agent-packed");
    grid.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    std::fs::write(grid.file("in"), "in").unwrap();
    let id = grid.submit(["--send", "in", "--fetch", "made", "--", "sh", "-c", "echo made > made"]);
    grid.grid(["wait", &id]).expect(0);
    assert!(once.exists(), "nobody was shot");
    check(&grid, &id);
    assert_eq!(grid.number("SELECT taken_slots FROM server WHERE name = 'local'"), 0);
}

#[test]
fn number_out_of_range_fails_no_reading_verb_is_named_by_doctor_and_mended_by_a_dispatcher() {
    let grid = Grid::new();
    let id = grid.submit(["--", "true"]);
    grid.grid(["wait", &id]).expect(0);
    grid.grid(["dispatcher", "stop"]).ok();
    let database = Connection::open(grid.home().join("grid.db")).unwrap();
    let spoilt = "UPDATE server SET taken_slots = -1, taken_cpus = 5000000000; UPDATE host SET taken_cpus = -3, started_since = 9000000000";
    database.execute_batch(spoilt).unwrap();
    for line in ["status", "server list", "server show local", "show 1", "explain 1", "submit -n -- true"] {
        let done = grid.grid(line.split(' '));
        assert!(matches!(done.code(), 0 | 75), "{line}: {done:?}");
    }
    let told = grid.grid(["doctor"]);
    assert!(told.out().contains("local: slots -1, 0 are held"), "{}", told.out());
    grid.grid(["run", "--", "true"]).expect(0);
    check(&grid, &id);
    assert!(!grid.grid(["doctor"]).out().contains("are held"));
}
