//! A task that waits in one second tier while another one is idle.

use super::way::three;
use crate::support::{Grid, process};
use serde_json::json;
use std::io::{BufRead, BufReader};

#[test]
fn explain_names_another_second_tier_that_could_start_a_waiting_task_now() {
    let (client, front, lab) = three();
    let other = Grid::new();
    front.grid(["distributor", "drain", "tier2"]).ok();
    for home in [&lab, &other] {
        home.grid(["server", "set", "local", "--slots", "1"]).ok();
    }
    front.grid(["distributor", "add", "lab-y", "--tier", "2", "--endpoint", other.home().to_str().unwrap()]).ok();
    lab.fifo("go");
    other.fifo("go");
    let busy = lab.submit(["--", "sh", "-c", "cat go"]);
    let also = other.submit(["--", "sh", "-c", "cat go"]);
    lab.until_state(&busy, "RUNNING");
    other.until_state(&also, "RUNNING");
    // Both are busy: it waits in the first one.
    let done = client.grid(["submit", "--json", "--", "true"]).json();
    assert_eq!(done["route"], json!(["front-a", "lab-x"]), "{done}");
    let id = done["id"].as_str().unwrap();
    assert_eq!(client.explain(id)["elsewhere"], json!(null));
    // The lab has another number for it.
    let mut follows = client.beside(["logs", "-f", id]);
    let mut said = String::new();
    BufReader::new(follows.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with(&format!("grid: task {id} waits in lab-x: ")) && lab.tasks() == 2, "{said}");
    std::fs::write(other.file("go"), "on").unwrap();
    other.grid(["wait", &also]).ok();
    process::until("the other one is seen to be idle", || client.explain(id)["elsewhere"] == "lab-y");
    client.grid(["explain", id]).shows(&["lab-y could start it now", &format!("grid move {id}")]);
    // It takes nothing, and moves nothing.
    assert_eq!((client.state(id).as_str(), lab.tasks(), other.tasks()), ("PENDING", 2, 1));
    std::fs::write(lab.file("go"), "on").unwrap();
    client.grid(["wait", id]).ok();
    assert!(follows.wait().unwrap().success());
    assert_eq!(client.explain(id)["elsewhere"], json!(null));
}
