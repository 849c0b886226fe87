//! Distributors that are drained: told as drained, and waited for where they alone could run a task.

use super::way::three;
use crate::support::{Grid, process};
use serde_json::{Value, json};

#[test]
fn drained_first_tier_is_told_as_drained() {
    let (client, front, _lab) = three();
    front.grid(["distributor", "drain", "tier1", "--reason", "moves"]).ok();
    for line in [&["submit", "--", "true"][..], &["submit", "-n", "--", "true"]] {
        let told = client.grid(line).expect(75).says(&["front-a: no answer: it is drained: moves"]);
        assert!(!told.err().contains("no live second-tier"), "{told:?}");
    }
    assert_eq!(client.tasks(), 0);
}

#[test]
fn task_waits_for_a_drained_second_tier_that_alone_could_run_it() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    front.grid(["server", "set", "local", "--set", "site=here"]).ok();
    lab.grid(["server", "set", "local", "--set", "site=brno"]).ok();
    lab.grid(["distributor", "drain", "tier2", "--reason", "moves"]).ok();
    let asks = ["-C", "server.site == 'brno'", "--", "echo", "went on"];
    client.grid([&["submit", "-n"], &asks[..]].concat()).shows(&["waits for a distributor", "lab-x is drained: moves"]);
    let id = client.submit(asks);
    let shown = client.show(&id);
    assert_eq!(shown["state"], "PENDING", "{shown}");
    let words = "lab-x is drained: moves; in its home, `grid distributor resume` lets it take tasks again";
    assert!(shown["reason"].as_str().unwrap().contains(words), "{shown}");
    assert_eq!(lab.tasks(), 0, "it takes nothing while it is drained");
    lab.grid(["distributor", "resume", "tier2"]).ok();
    client.grid(["wait", &id]).ok();
    assert_eq!((client.grid(["logs", &id]).ok().as_str(), lab.tasks()), ("went on", 1));
    // Drained by the first tier: the same.
    front.grid(["distributor", "drain", "lab-x"]).ok();
    let id = client.submit(asks);
    let (reason, words) = (client.show(&id)["reason"].clone(), "lab-x is drained; `grid distributor resume lab-x`");
    let reason = reason.as_str().unwrap();
    assert!(reason.starts_with("front-a: waits for a distributor") && reason.contains(words), "{reason}");
    client.grid(["cancel", "--wait", &id]).ok();
    assert_eq!((client.state(&id).as_str(), lab.tasks()), ("CANCELLED", 1));
    // Where the front's own could run it too, neither is told to be the only one.
    let told = client
        .grid(["submit", "-n", "--", "true"])
        .shows(&["front-a: waits for one of the distributors", "tier2 is drained"]);
    told.shows(&["lab-x is drained", "resume lab-x"]);
    // What not even a drained one could run is refused, and says what is wrong.
    let told = client.grid(["submit", "-C", "server.site == 'oslo'", "--", "true"]).expect(75);
    told.says(&["no server could ever run this", "server.site is \"brno\""]);
    front.grid(["distributor", "resume", "lab-x"]).ok();
    assert_eq!(client.route(&["-C", "server.site == 'brno'"]), json!(["front-a", "lab-x"]));
}

#[test]
fn task_of_one_home_waits_for_its_drained_distributor_and_becomes_its_task() {
    let grid = Grid::new();
    grid.grid(["distributor", "drain", "tier2", "--reason", "moves"]).ok();
    let id = grid.submit(["--", "echo", "went on"]);
    let words = "tier2 is drained: moves; `grid distributor resume tier2` lets it take tasks again";
    assert!(grid.show(&id)["reason"].as_str().unwrap().contains(words));
    grid.grid(["submit", "-c", "999", "--", "true"])
        .expect(75)
        .says(&["no server could ever run this", "cpus: wants 999"]);
    let mut waits = grid.beside(["wait", &id]);
    grid.grid(["distributor", "resume", "tier2"]).ok();
    process::wait_for(&mut waits, process::HANG).expect("it ends");
    process::finish(waits, "grid wait".to_owned()).ok();
    assert_eq!(grid.grid(["logs", &id]).ok(), "went on");
    assert_eq!(grid.show(&id)["server"], "local");
}

#[test]
fn task_that_waits_for_a_drained_distributor_is_explained_and_cancelled_at_once() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    front.grid(["distributor", "drain", "lab-x", "--reason", "moves"]).ok();
    let own = Grid::new();
    own.grid(["distributor", "drain", "tier2", "--reason", "moves"]).ok();
    for (grid, drained) in [(&client, "lab-x"), (&own, "tier2")] {
        let id = grid.submit(["--", "true"]);
        let why = grid.explain(&id);
        let searched = why["tiers"][1]["searched"].as_array().unwrap();
        let of = |member: &Value| member["distributor"].as_str().is_some_and(|name| name.ends_with(drained));
        let said = searched.iter().find(|member| of(member)).map(Value::to_string).unwrap_or_default();
        assert!(said.contains("drained") && said.contains("moves"), "{why}");
        let words = format!("only `grid cancel {id}` changes it");
        grid.grid(["hold", &id]).expect(1).says(&["waits in this home", &words]);
        let told = grid.grid(["cancel", "--wait", &id]).expect(0);
        assert!(!told.err().contains("cancel asked"), "{told:?}");
        assert_eq!(grid.state(&id), "CANCELLED");
        grid.grid(["retry", &id]).expect(1).says(&["no distributor had taken it", "submit it again"]);
        assert_eq!(grid.state(&id), "CANCELLED");
    }
    assert_eq!(lab.tasks(), 0);
}
