//! What commands and the dispatcher's memory cost against what waits and how many servers there are.

use crate::program::{grid, memory_of_dispatcher, pid_of_dispatcher, said, times, times_of};
use crate::world;
use grid::model::task::Members;
use grid::model::time::Timestamp;
use grid::store::{Durability, Log, Store, StoreError};
use std::path::Path;
use std::time::{Duration, Instant};

/// What waits in a home.
#[derive(Clone, Copy)]
enum Waiting {
    /// Single tasks, dealt out to so many classes.
    Singles { tasks: usize, classes: usize },
    /// Arrays of a hundred members.
    Arrays { members: usize },
}

/// A home in which nothing can start: its own host is drained, and no server is what tasks want.
struct Case {
    servers: i64,
    waiting: Waiting,
}

const CASES: [Case; 9] = [
    Case { servers: 0, waiting: Waiting::Singles { tasks: 0, classes: 1 } },
    Case { servers: 0, waiting: Waiting::Singles { tasks: 10_000, classes: 10 } },
    Case { servers: 0, waiting: Waiting::Singles { tasks: 100_000, classes: 10 } },
    Case { servers: 0, waiting: Waiting::Singles { tasks: 1_000_000, classes: 10 } },
    Case { servers: 0, waiting: Waiting::Arrays { members: 1_000_000 } },
    Case { servers: 0, waiting: Waiting::Singles { tasks: 100_000, classes: 100_000 } },
    Case { servers: 1_000, waiting: Waiting::Singles { tasks: 100_000, classes: 1_000 } },
    Case { servers: 10_000, waiting: Waiting::Singles { tasks: 0, classes: 1 } },
    Case { servers: 10_000, waiting: Waiting::Singles { tasks: 1_000_000, classes: 1_000 } },
];

/// The table, as Markdown.
pub fn table(dir: &Path, scale: f64) -> String {
    let mut lines = vec![
        "| servers | waiting | database | dispatcher: memory | looks at all in | submit (CPU) | status | explain | cancel | server list | cancel all |".to_owned(),
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|".to_owned(),
    ];
    for (at, case) in CASES.iter().enumerate() {
        let home = dir.join(format!("growth{at}"));
        let line = measure(&home, case, scale);
        println!("{line}");
        lines.push(line);
        std::fs::remove_dir_all(home).expect("the home's directory");
    }
    lines.join("\n")
}

fn measure(home: &Path, case: &Case, scale: f64) -> String {
    let waits = fill(home, case, scale);
    let begun = Instant::now();
    said(home, &["dispatcher", "start"]);
    let looked = settled(home, begun);
    let size = std::fs::metadata(home.join("grid.db")).expect("the database").len() >> 20;
    let ids: Vec<String> = (0..40).map(|_| said(home, &SUBMIT)).collect();
    let submit = times(home, &SUBMIT);
    let status = times(home, &["status"]);
    let explain = times(home, &["explain", &ids[0]]);
    let cancel = times_of(home, ids.iter().map(|id| vec!["cancel".to_owned(), id.clone()]));
    let servers = times(home, &["server", "list"]);
    let memory = memory_of_dispatcher(home, "VmHWM") >> 10;
    let begun = Instant::now();
    assert!(grid(home, &["cancel", "all"]).stdout(std::process::Stdio::null()).status().is_ok_and(|s| s.success()));
    let all = begun.elapsed();
    said(home, &["dispatcher", "stop"]);
    format!(
        "| {} | {waits} | {size} MiB | {memory} MiB | {looked:.1?} | {:.1?} ({:.1?}) | {:.1?} | {:.1?} | {:.1?} | {:.1?} | {all:.1?} |",
        case.servers, submit.median, submit.cpu, status.median, explain.median, cancel.median, servers.median
    )
}

/// A task that waits for this host, which is drained.
const SUBMIT: [&str; 6] = ["submit", "--parsable", "-C", "server.name == \"local\"", "--", "true"];

fn fill(home: &Path, case: &Case, scale: f64) -> String {
    let (_, mut store) = world::home(home, case.servers);
    let count = |all: usize| (all as f64 * scale) as usize;
    let words = match case.waiting {
        Waiting::Singles { tasks, classes } => {
            let (tasks, classes) = (count(tasks), count(classes).max(1));
            world::add_tasks(&mut store, tasks, classes, false);
            format!("{tasks} tasks in {classes} classes")
        }
        Waiting::Arrays { members } => {
            add_arrays(&mut store, count(members) / 100);
            format!("{} arrays of 100", count(members) / 100)
        }
    };
    store.checkpoint(Log::Goes).expect("a checkpoint");
    words
}

fn add_arrays(store: &mut Store, arrays: usize) {
    let members = Members::Range { first: 1, step: 1, count: 100, at_once: None };
    store
        .write(Durability::Normal, |tx| {
            let class = world::class(tx, 0, false)?;
            for _ in 0..arrays {
                world::add_task(tx, class, &world::demand(0, false), members.clone(), Timestamp::now())?;
            }
            Ok::<_, StoreError>(())
        })
        .expect("arrays");
}

/// Until the dispatcher has looked at everything: it rests, or only says why classes wait.
fn settled(home: &Path, begun: Instant) -> Duration {
    loop {
        let before = cpu_of_dispatcher(home);
        let at = begun.elapsed();
        std::thread::sleep(Duration::from_millis(500));
        if cpu_of_dispatcher(home) - before < Duration::from_millis(150) || begun.elapsed() > Duration::from_secs(300) {
            return at;
        }
    }
}

/// What it has used of processors.
fn cpu_of_dispatcher(home: &Path) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid_of_dispatcher(home))).expect("its stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    Duration::from_millis(ticks * 10)
}
