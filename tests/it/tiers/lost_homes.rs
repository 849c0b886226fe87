//! Homes that are removed, moved, replaced or restored while others have links to them, and while their own dispatcher runs:
//! no task is acknowledged that nobody has, and none runs twice.

use super::back::envelope;
use super::world::{Plan, Wire, World, context, found, know, principal, request};
use crate::support::caller::{Caller, stranger};
use crate::support::{Grid, process};
use grid::distributor::front::{Sought, question};
use grid::distributor::peers::Peers;
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::model::distributor::Tier;
use grid::model::endpoint::Endpoint;
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, FromServe, Question};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As `rm -rf`, also where somebody still makes files.
fn remove(home: &Path) {
    process::until("it is removed", || std::fs::remove_dir_all(home).is_ok() || !home.exists());
}

fn moved(grid: &Grid) -> PathBuf {
    grid.home().with_extension("moved")
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
fn home_that_is_made_beside_the_rest_of_a_former_one_says_so_and_keeps_it() {
    let grid = Grid::new();
    let long = "yes former | head -c 100000";
    grid.grid(["run", "--", "sh", "-c", long]).ok();
    grid.fifo("go");
    let id = grid.submit(["--", "sh", "-c", "echo begun >> marks; read x < go; exit 3"]);
    process::until("it runs", || grid.lines("marks") == ["begun"]);
    grid.until_state(&id, "RUNNING");
    let aside = grid.file("aside");
    std::fs::create_dir(&aside).unwrap();
    let moves = |from: &Path, to: &Path| {
        for file in ["grid.db", "grid.db-wal", "grid.db-shm"] {
            let _ = std::fs::rename(from.join(file), to.join(file));
        }
    };
    moves(grid.home(), &aside);
    let said = grid.grid(["run", "--", "sh", "-c", "yes another | head -c 100000"]).expect(0);
    let said =
        said.says(&["grid.db is new", "spool/agent/", "spool/former.", "1 run is still running", "`grid restore`"]);
    assert_eq!(grid.grid(["status"]).expect(0).err(), "", "it is said once: {said:?}");
    // And back: the home before finds its run, and its output where it was put.
    grid.grid(["dispatcher", "stop"]).ok();
    let files =
        "rm $GRID_HOME/grid.db* && rm -r $GRID_HOME/spool/out && mv $GRID_HOME/spool/former.*/out $GRID_HOME/spool/";
    grid.sh(files).ok();
    moves(&aside, grid.home());
    std::fs::write(grid.file("go"), "on\n").unwrap();
    grid.grid(["wait", &id]).expect(3);
    assert!(grid.grid(["logs", "1"]).ok().starts_with("former"));
    assert_eq!(grid.lines("marks"), ["begun"]);
}

#[test]
fn wait_in_a_replaced_home_does_not_report_another_task() {
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
fn serve_ends_when_its_home_is_replaced() {
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
fn home_newer_than_a_task_does_not_deny_that_it_exists() {
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

#[test]
fn search_with_a_silent_member_does_not_say_that_no_server_could_ever_run_it() {
    let (world, dir) = World::new();
    let [mut client, lab] = ["client", "lab"].map(|name| found(&dir.join(name), 1));
    know(&mut client, "lab-x", Tier::Second, &lab);
    let mut request = request();
    request.demand.needs.cpus = 999;
    let mut refusal = |silent: bool| {
        let down = if silent { vec![(lab.home().dir().to_owned(), 9)] } else { vec![] };
        world.begin(Plan { down: down.into_iter().collect(), ..Plan::default() });
        let principal = principal();
        let mut order = PlacementRequest::new(envelope(&request), &request, &principal);
        match place(&mut context(&mut client, &mut Wire::of_client(&world)), &mut order).unwrap() {
            SearchOutcome::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    };
    assert!(refusal(false).summary().starts_with("no server could ever run this"));
    let told = refusal(true);
    assert!(told.summary().starts_with("some second-tier distributors gave no answer"), "{told:?}");
    assert!(told.reasons.iter().any(|reason| reason.starts_with("lab-x: no answer")), "{told:?}");
}
