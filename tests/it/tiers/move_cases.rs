//! What moves, and what stays with a reason: held tasks, arrays, files, cancels, silent homes, tasks of this home.

use super::moving::Labs;
use crate::support::{Grid, process};
use serde_json::json;

#[test]
fn held_task_stays_and_one_whose_hold_is_over_moves_and_starts() {
    let labs = Labs::busy();
    let id = labs.waits(&["-H"]);
    let held = ["not moved: it is held; `grid release` it first"];
    labs.client.grid(["move", &id]).expect(1).says(&held);
    labs.frees(&labs.y);
    labs.client.grid(["move", &id]).expect(1).says(&held);
    assert_eq!((labs.client.state(&id).as_str(), labs.x.tasks()), ("HELD", 2));
    labs.client.grid(["release", &id]).ok();
    let follows = labs.client.beside(["logs", "-f", &id]);
    labs.client.grid(["move", &id]).expect(0).says(&["moved from lab-x to lab-y"]);
    process::finish(follows, "grid logs -f".to_owned()).expect(0);
    assert_eq!((labs.client.state(&id).as_str(), labs.runs()), ("COMPLETED", 1));
}

#[test]
fn array_moves_whole_or_not_at_all() {
    let labs = Labs::busy();
    let whole = labs.waits(&["-a", "5-7"]);
    labs.client.grid(["move", &format!("{whole}.6")]).expect(2).says(&["a member moves with its task only"]);
    labs.frees(&labs.y);
    // Its first member begins in lab-x.
    labs.frees(&labs.x);
    labs.client.grid(["wait", &whole]).ok();
    labs.x.fifo("again");
    let busy = labs.x.submit(["--", "sh", "-c", "cat again"]);
    labs.x.until_state(&busy, "RUNNING");
    // Two wait there: of one a member was cancelled.
    labs.y.fifo("again");
    let also = labs.y.submit(["--", "sh", "-c", "cat again"]);
    labs.y.until_state(&also, "RUNNING");
    let [part, all] = [(); 2].map(|()| labs.waits(&["-a", "1-3"]));
    labs.client.grid(["cancel", &format!("{part}.2")]).ok();
    std::fs::write(labs.y.file("again"), "on").unwrap();
    labs.y.grid(["wait", &also]).ok();
    process::until("lab-y is seen to be idle", || labs.client.explain(&all)["elsewhere"] == "lab-y");
    assert_eq!(labs.client.explain(&part)["elsewhere"], json!(null), "what can't move gets no hint");
    let told = labs.client.grid(["move", "--json", &part, &all]).expect(1);
    let told: serde_json::Value = serde_json::from_str(&told.out()).unwrap();
    assert!(
        told[0]["note"].as_str().unwrap().contains("it has begun, or some of its members have begun or ended"),
        "{told}"
    );
    assert_eq!((&told[0]["changed"], &told[1]["changed"]), (&json!(0), &json!(3)), "{told}");
    labs.client.grid(["wait", &all]).ok();
    assert_eq!(labs.client.show(&all)["route"], json!(["front-a", "lab-y"]));
    assert_eq!(labs.runs(), 6);
}

#[test]
fn files_and_environment_follow_a_task_that_moves() {
    let mut labs = Labs::busy();
    std::fs::write(labs.client.file("a.txt"), "sound").unwrap();
    labs.client.set_env("TUNE", "high");
    let line = ["submit", "--json", "--env", "TUNE", "--send", "a.txt", "--fetch", "out*", "--", "sh", "-c"];
    let done = labs.client.grid(line.iter().chain(&["cat a.txt > out; echo $TUNE >> out"])).json();
    labs.client.unset_env("TUNE");
    let id = done["id"].as_str().unwrap();
    assert_eq!((&done["route"], labs.x.number("select count(*) from bundle")), (&json!(["front-a", "lab-x"]), 1));
    labs.frees(&labs.y);
    labs.client.grid(["move", id]).expect(0).says(&["moved from lab-x to lab-y"]);
    labs.client.grid(["wait", id]).ok();
    assert_eq!(std::fs::read_to_string(labs.client.file("out")).unwrap(), "soundhigh\n");
    assert_eq!((labs.y.number("select count(*) from bundle"), labs.x.tasks()), (1, 1));
}

#[test]
fn task_stays_where_a_cancel_is_asked_or_its_home_does_not_answer() {
    let labs = Labs::busy();
    let id = labs.waits_while_y_is_free(&[]);
    for home in [&labs.client, &labs.front] {
        home.grid(["config", "set", "peer_timeout", "1s"]).ok();
        home.grid(["dispatcher", "stop"]).expect(0);
    }
    let away = labs.x.home().with_extension("away");
    std::fs::rename(labs.x.home(), &away).unwrap();
    let before = labs.client.sql("select * from away_view");
    labs.client.grid(["move", &id]).expect(1).says(&["not moved: no answer from lab-x", "nothing has changed"]);
    assert_eq!(labs.client.sql("select * from away_view"), before);
    labs.client.grid(["cancel", &id]).ok();
    std::fs::rename(&away, labs.x.home()).unwrap();
    process::until("the cancel has arrived", || labs.client.state(&id) == "CANCELLED");
    labs.client.grid(["move", &id]).expect(1).says(&["it has ended: CANCELLED"]);
    assert_eq!(labs.runs(), 0);
}

#[test]
fn task_that_waits_in_this_home_moves_to_a_lab_and_one_of_a_lab_comes_back() {
    let (home, lab) = (Grid::new(), Grid::new());
    home.grid(["distributor", "add", "lab-y", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    let mark = format!("echo ran >> {}", home.file("marks").display());
    let held = |grid: &Grid, name: &str| {
        grid.grid(["server", "set", "local", "--slots", "1"]).ok();
        grid.fifo(name);
        let id = grid.grid(["submit", "--parsable", "-w", "local", "--", "sh", "-c", &format!("cat {name}")]).ok();
        grid.until_state(&id, "RUNNING");
        id
    };
    let frees = |grid: &Grid, name: &str, id: &str| {
        std::fs::write(grid.file(name), "on").unwrap();
        grid.grid(["wait", id]).ok();
    };
    let (own, other) = (held(&home, "go"), held(&lab, "go"));
    let [id, stays] = [(); 2].map(|()| home.submit(["--hold-unmatched", "--", "sh", "-c", &mark]));
    assert_eq!(home.show(&id)["route"], json!(["tier1", "tier2"]));
    home.grid(["move", &id]).expect(1).says(&["no other distributor could start it now", "lab-y"]);
    frees(&lab, "go", &other);
    assert_eq!(home.explain(&id)["elsewhere"], "lab-y");
    home.grid(["move", &id]).expect(0).says(&["moved from tier2 to lab-y"]);
    home.grid(["wait", &id]).ok();
    assert_eq!(home.show(&id)["route"], json!(["tier1", "lab-y"]));
    assert_eq!((home.state(&stays).as_str(), lab.tasks()), ("PENDING", 2));
    // The other way: it waits in the lab, and this home is free.
    home.grid(["distributor", "order", "--tier", "2", "lab-y,tier2"]).ok();
    let other = held(&lab, "more");
    let away = home.submit(["--", "sh", "-c", &mark]);
    assert_eq!(home.show(&away)["route"], json!(["tier1", "lab-y"]));
    let theirs = lab.number("select max(id) from task_view").to_string();
    frees(&home, "go", &own);
    home.grid(["wait", &stays]).ok();
    lab.grid(["move", &theirs]).expect(1).says(&["it was submitted in another home"]);
    home.grid(["move", &away]).expect(0).says(&["moved from lab-y to tier2"]);
    home.grid(["wait", &away]).ok();
    assert_eq!((home.show(&away)["remote"].clone(), home.show(&away)["server"].clone()), (json!(null), json!("local")));
    frees(&lab, "more", &other);
    assert_eq!((home.lines("marks").len(), lab.tasks()), (3, 3));
}

#[test]
fn run_wait_and_logs_of_a_task_that_leaves_this_home_end_with_its_output_and_code() {
    let (home, lab) = (Grid::new(), Grid::new());
    home.grid(["distributor", "add", "lab-y", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    lab.grid(["distributor", "drain", "tier2"]).ok();
    home.grid(["server", "set", "local", "--slots", "1"]).ok();
    home.fifo("go");
    let own = home.grid(["submit", "--parsable", "-w", "local", "--", "sh", "-c", "cat go"]).ok();
    home.until_state(&own, "RUNNING");
    let runs = home.beside(["run", "--", "sh", "-c", "echo there; exit 3"]);
    process::until("it waits here", || home.tasks() == 2);
    let id = home.number("select max(id) from task_view").to_string();
    let waits = home.beside(["wait", &id]);
    let follows = home.beside(["logs", "-f", &id]);
    lab.grid(["distributor", "resume", "tier2"]).ok();
    home.grid(["move", &id]).expect(0).says(&["moved from tier2 to lab-y"]);
    for (command, child, code) in [("grid run", runs, 3), ("grid logs -f", follows, 0)] {
        assert_eq!(process::finish(child, command.to_owned()).expect(code).out(), "there\n", "{command}");
    }
    process::finish(waits, "grid wait".to_owned()).expect(3);
    std::fs::write(home.file("go"), "on").unwrap();
    home.grid(["wait", &own]).ok();
}

#[test]
fn task_that_its_home_does_not_know_any_more_stays_and_can_be_given_up() {
    let labs = Labs::busy();
    labs.x.grid(["backup", "before.db"]).ok();
    let id = labs.waits_while_y_is_free(&[]);
    for home in [&labs.client, &labs.front, &labs.x] {
        home.grid(["dispatcher", "stop"]).expect(0);
    }
    std::fs::rename(labs.x.home(), labs.x.home().with_extension("lost")).unwrap();
    labs.x.grid(["restore", "before.db"]).ok();
    let words = ["not moved: lab-x: its home does not know it any more", "set back", "grid cancel --forget"];
    labs.client.grid(["move", &id]).expect(1).says(&words);
    assert!(labs.client.sql("select home from away_view")[0]["home"].is_string(), "it is not left half moved");
    labs.client.grid(["cancel", &id]).expect(1).says(&["does not know it any more", "grid cancel --forget"]);
    labs.client.grid(["cancel", "--forget", &id]).ok();
    assert_eq!((labs.client.state(&id).as_str(), labs.y.tasks(), labs.runs()), ("CANCELLED", 1, 0));
}
