//! Homes that are removed, moved, replaced or restored while others have links to them, and while their own dispatcher runs:
//! no task is acknowledged that nobody has, and none runs twice.

use super::way::three;
use super::world::{Wire, World, found};
use crate::support::caller::{Caller, stranger};
use crate::support::{Done, Grid, process};
use grid::distributor::front::{Sought, question};
use grid::distributor::peers::Peers;
use grid::model::endpoint::Endpoint;
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, FromServe, Question};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happens to a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    MadeAnew,
    Moved,
    Restored,
}

const FATES: [Fate; 4] = [Fate::Removed, Fate::MadeAnew, Fate::Moved, Fate::Restored];

impl Fate {
    /// Its dispatcher runs, and so does whatever serves it.
    fn befall(self, grid: &Grid) {
        let home = grid.home();
        match self {
            Self::Removed => remove(home),
            Self::Moved => std::fs::rename(home, moved(grid)).unwrap(),
            Self::MadeAnew => {
                remove(home);
                grid.grid(["status"]).ok();
            }
            Self::Restored => {
                grid.grid(["backup", "copy.db"]).ok();
                remove(home);
                grid.grid(["restore", "copy.db"]).ok();
            }
        }
    }
}

/// As `rm -rf`, also where somebody still makes files.
fn remove(home: &Path) {
    process::until("it is removed", || std::fs::remove_dir_all(home).is_ok() || !home.exists());
}

fn moved(grid: &Grid) -> PathBuf {
    grid.home().with_extension("moved")
}

/// A task that leaves a mark in the client's directory: a mark for each run.
fn submit(client: &Grid, mark: &str) -> Done {
    client.grid([
        "submit",
        "--parsable",
        "--",
        "sh",
        "-c",
        &format!("echo {mark} >> {}", client.file("marks").display()),
    ])
}

/// Submits behind the fate of a home of which links stand. Whatever is acknowledged runs, once.
fn nothing_is_lost(fate: Fate, of: fn(&(Grid, Grid, Grid)) -> &Grid) {
    let homes = three();
    let (client, ..) = &homes;
    client.grid(["wait", &submit(client, "before").ok()]).ok();
    fate.befall(of(&homes));
    let acknowledged: Vec<(String, String)> = (0..4)
        .filter_map(|n| {
            let mark = format!("n{n}");
            let done = submit(client, &mark);
            // Refused in words, or taken.
            assert!(matches!(done.code(), 0 | 75), "{fate:?}: {done:?}");
            (done.code() == 0).then(|| (mark, done.out().trim().to_owned()))
        })
        .collect();
    for (mark, id) in &acknowledged {
        client.grid(["wait", id]).ok();
        assert_eq!(client.lines("marks").iter().filter(|line| *line == mark).count(), 1, "{fate:?}: {mark}");
    }
    let taken_again = matches!(fate, Fate::MadeAnew | Fate::Restored);
    // A front knows of nobody when it is made anew, save its own servers; either has somebody who takes tasks again.
    assert_eq!(!acknowledged.is_empty(), taken_again, "{fate:?}: {acknowledged:?}");
    let marks = client.lines("marks").len();
    assert_eq!(marks, acknowledged.len() + 1, "what was refused did not run: {fate:?}");
    if fate == Fate::Moved {
        // Where it lies now it goes on, with no task that it was asked to take meanwhile.
        let there = Grid::bare().at(moved(of(&homes)));
        assert_eq!(there.number("SELECT count(*) FROM task WHERE waiting + running > 0"), 0);
        there.grid(["run", "--", "true"]).ok();
        there.grid(["dispatcher", "stop"]).ok();
        remove(there.home());
    }
}

#[test]
fn a_lab_that_was_lost_behind_a_standing_link_acknowledges_nothing() {
    for fate in FATES {
        // The front's own servers would take what the lab can't.
        nothing_is_lost(fate, |(_, front, lab)| {
            front.grid(["distributor", "drain", "tier2"]).ok();
            lab
        });
    }
}

#[test]
fn a_front_that_was_lost_behind_a_standing_link_acknowledges_nothing() {
    for fate in FATES {
        nothing_is_lost(fate, |(_, front, _)| front);
    }
}

#[test]
fn a_dispatcher_whose_database_is_removed_acknowledges_nothing() {
    for what in ["grid.db", "grid.db grid.db-wal grid.db-shm", "run", "."] {
        let grid = Grid::bare();
        grid.grid(["run", "--", "true"]).ok();
        assert!(grid.dispatcher().is_some());
        match what {
            "." => remove(grid.home()),
            parts => drop(grid.sh(&format!("cd {} && rm -rf {parts}", grid.home().display())).ok()),
        }
        let done = grid.grid(["submit", "--parsable", "--", "sh", "-c", "echo ran >> marks"]);
        if done.code() == 0 {
            grid.grid(["wait", done.out().trim()]).ok();
            assert_eq!(grid.lines("marks").len(), 1, "{what}");
        }
        // What lies there next is a home that works.
        assert_eq!(grid.grid(["run", "--", "echo", "hello"]).ok(), "hello", "{what}");
    }
}

#[test]
fn whoever_waits_in_a_home_that_is_replaced_is_not_told_of_another_task() {
    let grid = Grid::new();
    grid.fifo("go");
    grid.submit(["--", "sh", "-c", "read x < go; exit 3"]);
    let waits = ["wait", "logs -f"].map(|line| grid.beside(line.split(' ').chain(["1"])));
    grid.until_state("1", "RUNNING");
    std::fs::rename(grid.home(), moved(&grid)).unwrap();
    // A home of its own, whose task 1 is another.
    grid.grid(["run", "--", "true"]).ok();
    for child in waits {
        process::finish(child, "of the home that was moved".to_owned()).says(&["moved, removed or replaced"]);
    }
    std::fs::write(grid.file("go"), "on\n").unwrap();
    let there = Grid::bare().at(moved(&grid));
    there.grid(["wait", "1"]).expect(3);
    there.grid(["dispatcher", "stop"]).ok();
    remove(there.home());
}

#[test]
fn serve_ends_with_the_home_that_it_was_greeted_for() {
    let lab = Grid::new();
    let id = lab.submit(["-H", "--", "true"]);
    let uuid: TaskUuid = serde_json::from_value(lab.show(&id)["uuid"].clone()).unwrap();
    let owner: HomeId = serde_json::from_value(lab.sql("SELECT id FROM home")[0]["id"].clone()).unwrap();
    let mut caller = Caller::greeted(&mut lab.typed(["serve"]), stranger());
    let states = || Question::States { owner, user: None, uuids: vec![uuid] };
    assert!(matches!(caller.ask(states()), Answer::States(known) if known.len() == 1));
    lab.grid(["dispatcher", "stop"]).expect(0);
    remove(lab.home());
    lab.grid(["status"]).ok();
    caller.denied(states(), &["moved, removed or replaced"]);
    let unfit = caller.hear();
    assert!(matches!(&unfit, Some(FromServe::Unfit { .. })), "{unfit:?}");
    caller.leaves();
}

#[test]
fn a_home_from_after_a_task_was_asked_for_does_not_say_that_nobody_has_it() {
    let (world, dir) = World::new();
    let lab = found(&dir.join("lab"), 2);
    let find = |age| {
        let (uuid, round) = (TaskUuid::new(), 1_999);
        let sought = Sought { uuid, round, onward: false, age: Duration::from_secs(age), among: None };
        let endpoint = Endpoint::Path(lab.home().dir().to_owned());
        Wire::of_client(&world).ask(&endpoint, &question(&sought), &mut |_| true).unwrap()
    };
    assert_eq!(find(0), Answer::Nowhere);
    let said = find(3600);
    assert!(matches!(&said, Answer::Unsure { why, .. } if why.contains("made anew")), "{said:?}");
}
