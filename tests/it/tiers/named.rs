//! Where a task waits is named wherever people read of it: another home has servers of the same names.

use super::moving::Labs;
use crate::support::{Grid, process};
use serde_json::json;

#[test]
fn lab_that_a_task_waits_in_is_named_by_every_verb() {
    let labs = Labs::busy();
    let client = &labs.client;
    assert_eq!(client.grid(["submit", "--", "true"]).ok(), "1 PENDING in lab-x: no server fits now");
    process::until("its reason is known", || client.grid(["status"]).out().contains("in lab-x (local: slots"));
    client.grid(["status"]).shows(&["1 pending (1: in lab-x: local: slots", "grid explain 1"]);
    client.grid(["show", "1"]).shows(&["PENDING in lab-x (local: slots", "remote       2 in lab-x"]);
    let explained = client.grid(["explain", "1"]);
    let named = ["task 1 is PENDING in lab-x: local: slots", "lab-x/local  no"];
    explained.shows(&[&named[..], &["tiers, as they answered ", "tier 1  front-a: redirects"]].concat());
    assert_eq!((&client.show("1")["waits_in"], &client.explain("1")["waits_in"]), (&json!("lab-x"), &json!("lab-x")));
    assert!(client.explain("1")["searched_at"].is_string());
    // In the lab itself it is one of its own.
    let own = labs.x.grid(["explain", "2"]);
    own.shows(&["task 2 is PENDING: local: slots", "\nlocal   no"]);
    // Its number there is another one.
    client.grid(["logs", "1"]).says(&["grid: 1 has no output: it never started (PENDING: local: slots"]);
    labs.frees(&labs.x);
    client.grid(["wait", "1"]).ok();
    client.grid(["status"]).shows(&["lab-x/local"]);
    client.grid(["explain", "1"]).shows(&["task 1 is COMPLETED on lab-x/local", "lab-x/local"]);
    assert_eq!(client.show("1")["waits_in"], json!(null));
}

#[test]
fn move_is_a_step_of_show_as_of_explain() {
    let labs = Labs::busy();
    let id = labs.waits_while_y_is_free(&[]);
    labs.client.grid(["move", &id]).expect(0);
    labs.client.grid(["wait", &id]).ok();
    labs.client.grid(["show", &id]).shows(&[
        "front-a > lab-y",
        "  lab-x gave it up: it moves",
        "  moved from lab-x to lab-y",
    ]);
    let (shown, explained) = (labs.client.show(&id), labs.client.explain(&id));
    assert!(shown["steps"].to_string().contains("moved from lab-x to lab-y"), "{shown}");
    assert_eq!(shown["steps"], explained["steps"]);
}

#[test]
fn of_two_labs_of_one_home_the_one_that_a_task_waits_in_and_the_one_that_is_idle_are_named() {
    let grid = Grid::new();
    grid.grid(["distributor", "add", "lab-b", "--tier", "2"]).ok();
    grid.grid(["server", "add", "b1", "--local", "--slots", "1", "--cpus", "1", "--distributor", "lab-b"]).ok();
    grid.grid(["server", "set", "local", "--slots", "1", "--cpus", "1"]).ok();
    grid.fifo("go");
    let busy: Vec<String> = ["local", "b1"].map(|on| grid.submit(["-w", on, "--", "sh", "-c", "read x < go"])).to_vec();
    busy.iter().for_each(|id| grid.until_state(id, "RUNNING"));
    assert_eq!(grid.grid(["submit", "--", "true"]).ok(), "3 PENDING in tier2: no server fits now");
    grid.grid(["explain", "3"]).shows(&["task 3 is PENDING in tier2: "]);
    assert_eq!(grid.explain("3")["elsewhere"], json!(null));
    grid.grid(["cancel", "--wait", &busy[1]]);
    process::until("the other lab is seen to be idle", || grid.explain("3")["elsewhere"] == "lab-b");
    grid.grid(["explain", "3"]).shows(&["lab-b could start it now", "`grid move 3` takes it there"]);
    grid.grid(["move", "3"]).expect(0).says(&["3: moved from tier2 to lab-b"]);
    grid.grid(["wait", "3"]).ok();
    assert_eq!(grid.show("3")["server"], "b1");
    grid.grid(["cancel", "--wait", &busy[0]]);
}
