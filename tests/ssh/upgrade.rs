//! A home of an older release runs under this one: its dispatcher is replaced, agents on hosts, journals and database are
//! taken over. And back again. GRID_TEST_OLD names the older program; `.ci/long versions` builds it.

use crate::support::grid::tested_program;
use crate::support::rig::Plan;
use crate::support::{Done, Grid, Rig, process, skipped};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tasks that run while programs change, ten on each host.
const RUNNING: u64 = 20;
/// Tasks that wait meanwhile.
const WAITING: u64 = 4;

/// Says where it began, waits for a word, and ends with a code of its own.
const TASK: &str = "echo $GRID_TASK_ID >> starts; until [ -e go ]; do sleep 0.1; done; echo out $GRID_TASK_ID; exit $((GRID_TASK_ID % 7))";

/// A head with both programs: the older one as `grid` on PATH, this one by its path.
struct Two {
    rig: Rig,
    old: Grid,
    new: Grid,
}

impl Two {
    #[track_caller]
    fn up(test: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("GRID_TEST_OLD").map(PathBuf::from) else {
            skipped(test, "no older program: GRID_TEST_OLD names one, `.ci/long versions` builds it");
            return None;
        };
        let rig = Plan::of(2).program(&program).up()?;
        let (old, mut new) = (rig.at("head"), rig.at("head"));
        old.sh("mkdir new").ok();
        install(tested_program(), &rig.home("head").join("new/grid"));
        new.set_env("PATH", "/home/ann/new:/usr/local/bin:/usr/bin:/bin");
        let two = Self { rig, old, new };
        assert_ne!(two.old.sh("sha256sum $(command -v grid)").ok(), two.new.sh("sha256sum $(command -v grid)").ok());
        for host in ["h1", "h2"] {
            let slots = (RUNNING / 2).to_string();
            two.old.grid(["server", "add", host, "--ssh", host, "--slots", &slots]).ok();
        }
        two.old.grid(["server", "remove", "local"]).ok();
        two.old.grid(["config", "set", "idle_exit", "10min"]).ok();
        two.old.grid(["dispatcher", "stop"]).expect(0);
        // The older grid lets a task have no less than one processor, and the hosts have fewer than that.
        let database = rusqlite::Connection::open(two.old.home().join("grid.db")).expect("a database");
        let sql = "UPDATE host SET cpus = 64, idle_cpus = 64";
        database.execute(sql, []).expect("more processors");
        drop(database);
        for _ in 0..RUNNING + WAITING {
            two.old.grid(["submit", "--hold", "--", "sh", "-c", TASK]).ok();
        }
        // In one pass: a host is probed soon after something has started there.
        two.old.grid(["release", "all"]).ok();
        process::until("all of them run", || {
            two.count(&two.old, "RUNNING") == RUNNING && two.starts().len() as u64 == RUNNING
        });
        Some(two)
    }

    fn count(&self, grid: &Grid, state: &str) -> u64 {
        let sql = format!("select count(*) n from task_view where state = '{state}'");
        grid.number(&sql).try_into().expect("a count")
    }

    /// How often each task was started, on both hosts.
    fn starts(&self) -> BTreeMap<u64, u32> {
        let mut starts = BTreeMap::new();
        for host in ["h1", "h2"] {
            let text = std::fs::read_to_string(self.rig.home(host).join("starts")).unwrap_or_default();
            for id in text.lines() {
                *starts.entry(id.parse().expect("an id")).or_default() += 1;
            }
        }
        starts
    }

    #[track_caller]
    fn started_once_each(&self, tasks: u64) {
        assert_eq!(self.starts(), (1..=tasks).map(|id| (id, 1)).collect());
    }

    fn go(&self) {
        for host in ["h1", "h2"] {
            self.rig.root(host, "touch /home/grid/go").expect(0);
        }
    }

    fn until_ended(&self, grid: &Grid) {
        process::until("all have ended", || {
            grid.number("select count(*) n from task_view where ended_at is null") == 0
        });
    }

    /// The older grid takes over, with the backup that the upgrade has kept.
    #[track_caller]
    fn back(&self, kept: &str) -> Done {
        self.new.grid(["dispatcher", "stop"]).ok();
        let home = "~/.local/share/grid";
        self.old.sh(&format!("mkdir -p aside; mv {home}/grid.db {home}/grid.db-* aside")).ok();
        self.old.sh(&format!("grid restore {home}/{kept}")).expect(0)
    }

    /// Each task has ended with its own code and output.
    #[track_caller]
    fn ended_right(&self, grid: &Grid, tasks: u64) {
        for id in 1..=tasks {
            let shown = grid.show(&id.to_string());
            let code = shown["exit_code"].as_u64();
            assert_eq!(code, Some(id % 7), "{shown}");
            assert_eq!(grid.grid(["logs", &id.to_string()]).ok(), format!("out {id}"));
        }
    }
}

/// A program as it is installed, without what debuggers read.
#[track_caller]
fn install(program: &Path, to: &Path) {
    process::run(std::process::Command::new("strip").arg("-o").arg(to).arg(program)).expect(0);
    process::run(std::process::Command::new("chmod").arg("755").arg(to)).expect(0);
}

#[test]
fn twenty_tasks_go_on_under_the_newer_grid() {
    let Some(two) = Two::up("upgrade with running tasks") else { return };
    let (old, new) = (&two.old, &two.new);
    let waits = old.beside(["wait", "1"]);
    // The first command does it, a listing too.
    new.grid(["status"]).expect(0).says(&["is upgraded from version 3", "older grids refuse it", "grid.db.v3"]);
    process::finish(waits, "grid wait".to_owned()).expect(125).says(&["newer grid"]);
    assert!(new.dispatcher().is_some());
    for line in [&["status"][..], &["wait", "1"], &["dispatcher", "stop"], &["cancel", "all"], &["explain", "1"]] {
        let refused = old.grid(line);
        assert_ne!(refused.code(), 0, "{line:?}");
        refused.says(&["written by a newer grid", "use the newer grid"]);
    }
    // A submit goes to the dispatcher alone, which understands the older command.
    let all = RUNNING + WAITING + 1;
    assert_eq!(old.grid(["submit", "--parsable", "--", "sh", "-c", TASK]).ok(), all.to_string());
    assert_eq!((two.count(new, "RUNNING"), two.count(new, "PENDING")), (RUNNING, WAITING + 1));
    two.go();
    two.until_ended(new);
    two.started_once_each(all);
    two.ended_right(new, all);
    // The agents are new ones from here on.
    let digest = |grid: &Grid| grid.sh("sha256sum $(command -v grid) | cut -c1-16").ok();
    let used = new.grid(["run", "-w", "h1", "--", "sh", "-c", "readlink /proc/$PPID/exe"]).ok();
    assert_eq!(used, format!("/home/grid/.cache/grid/bin/{}/grid", digest(new)));
}

#[test]
fn twenty_tasks_go_on_under_the_older_grid_again_and_none_runs_twice() {
    let Some(two) = Two::up("upgrade and back again") else { return };
    let (old, new) = (&two.old, &two.new);
    new.grid(["status"]).expect(0).says(&["is upgraded"]);
    // What is submitted now is in no backup; it runs beside the others.
    new.grid(["server", "set", "h1", "--slots", "11", "--cpus", "64"]).ok();
    process::until("one more runs", || two.count(new, "RUNNING") == RUNNING + 1);
    two.back("grid.db.v3");
    assert_eq!(old.number("select count(*) n from task_view where state = 'HELD'"), WAITING as i64);
    process::until("those that run are found", || two.count(old, "RUNNING") >= RUNNING);
    two.go();
    process::until("they have ended", || two.count(old, "RUNNING") == 0);
    two.ended_right(old, RUNNING);
    two.started_once_each(RUNNING + 1);
    old.grid(["run", "-w", "h2", "--", "echo", "by the older"]).expect(0).shows(&["by the older"]);
    // And forward again: what is kept then is another file.
    new.grid(["status"]).expect(0).says(&["is upgraded", "grid.db.v3.2"]);
    two.ended_right(new, RUNNING);
    two.started_once_each(RUNNING + 1);
}

#[test]
fn what_ended_under_the_newer_grid_is_held_by_the_older() {
    let Some(two) = Two::up("back after the ends") else { return };
    let (old, new) = (&two.old, &two.new);
    new.grid(["status"]).expect(0).says(&["is upgraded"]);
    two.go();
    two.until_ended(new);
    two.back("grid.db.v3");
    process::until("all of them are held", || two.count(old, "HELD") == RUNNING + WAITING);
    two.started_once_each(RUNNING + WAITING);
    // The newer one's database was moved away, not removed: it comes back whole.
    old.grid(["dispatcher", "stop"]).ok();
    old.sh("rm ~/.local/share/grid/grid.db*; mv aside/grid.db* ~/.local/share/grid").ok();
    two.ended_right(new, RUNNING + WAITING);
}
