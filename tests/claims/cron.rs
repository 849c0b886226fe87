//! 12, 17: cron keeps the databases fresh, and the next match sees it. With the real cron, and real load on the host.

use crate::support::crontab::Crontab;
use crate::support::load::{Busy, alone, limit_above};
use crate::support::{Grid, process};

/// What the kernel says now; nobody's record.
fn load1() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn claim_12_and_17_the_next_task_goes_elsewhere_because_of_crons_line() {
    let _alone = alone();
    let grid = Grid::new();
    let Some(table) = Crontab::new(&grid, "claims 12 and 17 by cron") else { return };
    grid.grid(["server", "add", "calm", "--local"]).ok();
    grid.grid(["server", "add", "any", "--local"]).ok();
    grid.grid(["server", "remove", "local"]).ok();
    let limit = limit_above(|| grid.measured("calm", "load1"));
    grid.grid(["server", "set", "calm", "--max-load", &limit.to_string()]).ok();
    grid.grid(["server", "refresh"]).ok();
    table.sh(&grid, "grid cron install").expect(0);
    // Nobody else reads the host: the record stays as it is.
    grid.grid(["dispatcher", "stop"]).expect(0);
    let chosen = || {
        let would = ["submit", "-n", "--json", "--prefer", "server.name == 'calm'", "--", "true"];
        grid.grid(would).json()["chosen"].as_str().map(str::to_owned)
    };
    assert_eq!(chosen().as_deref(), Some("calm"));
    let _busy = Busy::put_above(limit + 0.5);
    process::until("real load is above the limit", || load1() > limit + 0.5);
    assert_eq!(chosen().as_deref(), Some("calm"), "the record is an old one");
    let read_at = || grid.sql("SELECT read_at FROM server_view WHERE name = 'calm'");
    let before = read_at();
    let cron = table.boot();
    process::until("cron's line has read the host", || read_at() != before);
    let id = grid.submit(["--prefer", "server.name == 'calm'", "--", "true"]);
    grid.grid(["wait", &id]).ok();
    assert_eq!(grid.show(&id)["server"], "any");
    let why = grid.explain(&id)["servers"].to_string();
    assert!(why.contains("load") && why.contains("max-load"), "{why}");
    drop(cron);
}
