//! A task that waits in one home moves to another one: given up by its owner first, held by one home at each moment, run once.

use crate::support::{Grid, process};
use grid::model::failpoint::MOVE_POINTS;
use serde_json::json;

/// A client, a front, and two labs of one slot each. What waits came to `x` while both were busy.
pub struct Labs {
    pub client: Grid,
    pub front: Grid,
    pub x: Grid,
    pub y: Grid,
}

impl Labs {
    /// Both labs are idle.
    pub fn idle() -> Self {
        let [client, front, x, y] = [(); 4].map(|()| Grid::new());
        front.grid(["distributor", "drain", "tier2"]).ok();
        for (name, home) in [("lab-x", &x), ("lab-y", &y)] {
            home.grid(["server", "set", "local", "--slots", "1"]).ok();
            front.grid(["distributor", "add", name, "--tier", "2", "--endpoint", home.home().to_str().unwrap()]).ok();
        }
        client
            .grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", front.home().to_str().unwrap()])
            .ok();
        client.grid(["distributor", "remove", "tier1"]).ok();
        Self { client, front, x, y }
    }

    /// Both labs are busy until [`Labs::frees`].
    pub fn busy() -> Self {
        let labs = Self::idle();
        for lab in [&labs.x, &labs.y] {
            lab.fifo("go");
            let id = lab.submit(["--", "sh", "-c", "cat go"]);
            lab.until_state(&id, "RUNNING");
        }
        labs
    }

    pub fn frees(&self, lab: &Grid) {
        std::fs::write(lab.file("go"), "on").unwrap();
        lab.grid(["wait", "1"]).ok();
    }

    /// A task that leaves a mark for each run; it waits in lab-x.
    pub fn waits(&self, options: &[&str]) -> String {
        let mark = format!("echo ran >> {}", self.client.file("marks").display());
        let line: Vec<&str> =
            ["submit", "--json"].iter().chain(options).copied().chain(["--", "sh", "-c", &mark]).collect();
        let done = self.client.grid(line).json();
        assert_eq!(done["route"], json!(["front-a", "lab-x"]), "{done}");
        done["id"].as_str().unwrap().to_owned()
    }

    /// lab-y could start it now.
    pub fn waits_while_y_is_free(&self, options: &[&str]) -> String {
        let id = self.waits(options);
        self.frees(&self.y);
        id
    }

    pub fn runs(&self) -> usize {
        self.client.lines("marks").len()
    }
}

#[test]
fn waiting_task_moves_to_the_lab_that_could_start_it_and_everything_follows_it() {
    let labs = Labs::busy();
    let id = labs.waits(&[]);
    let uuid = labs.client.show(&id)["uuid"].clone();
    labs.client.grid(["move", &id]).expect(1).says(&["not moved: no other distributor could start it now", "lab-y"]);
    // Of all that waits none was named: what gains nothing is no fault.
    labs.client.grid(["move", "all"]).expect(0).says(&[&format!("{id}: not moved: no other distributor")]);
    assert_eq!((labs.x.tasks(), labs.y.tasks()), (2, 1));
    labs.frees(&labs.y);
    let waits = labs.client.beside(["wait", &id]);
    labs.client.grid(["move", &id]).expect(0).says(&[&format!("{id}: moved from lab-x to lab-y")]);
    process::finish(waits, "grid wait".to_owned()).expect(0);
    let shown = labs.client.show(&id);
    assert_eq!((&shown["uuid"], &shown["route"]), (&uuid, &json!(["front-a", "lab-y"])), "{shown}");
    assert_eq!(shown["remote"]["distributor"], "lab-y");
    assert_eq!((labs.x.tasks(), labs.y.tasks(), labs.client.tasks(), labs.runs()), (1, 2, 1, 1));
    let steps = labs.client.explain(&id)["steps"].to_string();
    assert!(steps.contains("lab-x gave it up") && steps.contains("moved from lab-x to lab-y"), "{steps}");
    labs.client.grid(["move", &id]).expect(1).says(&["it has ended: COMPLETED"]);
    labs.frees(&labs.x);
    assert_eq!(labs.runs(), 1);
}

/// Kills the process that passes a point while a task moves: the command, or `grid serve` of a home on the way. Gives the task's id.
fn shoot_at(labs: &mut Labs, point: &str) -> String {
    for grid in [&labs.client, &labs.front] {
        grid.grid(["config", "set", "peer_timeout", "3s"]).ok();
    }
    let id = labs.waits_while_y_is_free(&[]);
    // All homes on the way are started by the client's dispatcher, and so inherit this.
    for grid in [&labs.client, &labs.front] {
        grid.grid(["dispatcher", "stop"]).expect(0);
    }
    let once = labs.client.file("shot");
    labs.client.set_env("GRID_FAILPOINT", point);
    labs.client.set_env("GRID_FAILPOINT_ONCE", once.to_str().unwrap());
    let done = labs.client.grid(["move", &id]);
    assert!(matches!(done.code(), 0 | 1 | 137), "{point}: {done:?}");
    assert!(once.exists(), "{point}: no process passed it: {done:?}");
    id
}

fn each_at_once(points: &[&str], shoot: impl Fn(&str) + Sync) {
    let shoot = &shoot;
    for few in points.chunks(4) {
        std::thread::scope(|scope| few.iter().for_each(|point| drop(scope.spawn(|| shoot(point)))));
    }
}

#[test]
fn crash_of_any_process_while_a_task_moves_keeps_it_to_one_run_in_the_other_lab() {
    each_at_once(MOVE_POINTS, |point| {
        let mut labs = Labs::busy();
        let id = shoot_at(&mut labs, point);
        labs.client.grid(["wait", &id]).expect(0);
        assert_eq!((labs.client.state(&id).as_str(), labs.runs()), ("COMPLETED", 1), "{point}");
        assert_eq!((labs.x.tasks(), labs.y.tasks(), labs.front.tasks()), (1, 2, 0), "{point}");
        assert_eq!(labs.client.show(&id)["route"], json!(["front-a", "lab-y"]), "{point}");
        labs.frees(&labs.x);
        assert_eq!(labs.runs(), 1, "{point}");
    });
}

#[test]
fn crash_of_any_process_in_the_search_of_a_move_keeps_the_task_to_one_run() {
    let points = ["way-row-written", "way-before-place", "way-after-place", "way-before-commit", "way-after-commit"];
    each_at_once(&[&points[..], &["way-before-answer", "way-commit-asked", "way-commit-made"]].concat(), |point| {
        let mut labs = Labs::busy();
        let id = shoot_at(&mut labs, point);
        // A lab that was killed has refused it: then it waits in the busy one again.
        labs.frees(&labs.x);
        labs.client.grid(["wait", &id]).expect(0);
        assert_eq!((labs.client.state(&id).as_str(), labs.runs()), ("COMPLETED", 1), "{point}");
        assert_eq!((labs.x.tasks() + labs.y.tasks(), labs.front.tasks()), (3, 0), "{point}");
    });
}
