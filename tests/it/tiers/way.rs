//! A submit from one home through a first tier in a second one to a third, over path endpoints, with everything that follows it.

use crate::support::Grid;
use crate::support::caller::{Caller, stranger};
use crate::support::process;
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, FromServe, Question, ToServe, Verb};
use grid::protocol::frame;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::io::Read;

/// Client, first tier, second tier: three homes.
pub fn three() -> (Grid, Grid, Grid) {
    let (client, front, lab) = (Grid::new(), Grid::new(), Grid::new());
    front.grid(["distributor", "add", "lab-x", "--tier", "2", "--endpoint", lab.home().to_str().unwrap()]).ok();
    front.grid(["distributor", "order", "--tier", "2", "lab-x,tier2"]).ok();
    client.grid(["distributor", "add", "front-a", "--tier", "1", "--endpoint", front.home().to_str().unwrap()]).ok();
    client.grid(["distributor", "remove", "tier1"]).ok();
    (client, front, lab)
}

#[test]
fn a_task_goes_through_both_tiers_and_everything_follows_it() {
    let (client, front, lab) = three();
    let done = client.grid(["submit", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).json();
    assert_eq!(done["route"], json!(["front-a", "lab-x"]), "{done}");
    let id = done["id"].as_str().unwrap();
    client.grid(["wait", id]).expect(3);
    assert_eq!(client.grid(["logs", id, "--out"]).ok(), "out");
    let shown = client.show(id);
    assert_eq!(shown["state"], "FAILED");
    assert_eq!(shown["exit_code"], 3);
    assert_eq!(shown["remote"], json!({"distributor": "lab-x", "id": "1"}), "{shown}");
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 1);
    let why = client.explain(id);
    assert_eq!(why["tiers"][0]["searched"][0]["distributor"], "front-a", "{why}");
    assert_eq!(why["tiers"][1]["searched"][0]["distributor"], "lab-x", "{why}");
    assert_eq!(why["chosen"], "local");
    assert_eq!(why["servers"][0]["distributor"], "lab-x", "{why}");
    // A server of the other home is not taken for one of this.
    client.grid(["status"]).shows(&["lab-x/local, exit 3"]);
    client.grid(["show", id]).shows(&["server       lab-x/local"]);
    // And one that was named is told as it was.
    let told =
        client.grid(["submit", "-w", "lab-q/local", "--", "true"]).expect(75).says(&["lab-x/local", "lab-q/local"]);
    assert!(!told.err().contains("elsewhere"), "{told:?}");
    // Who owns what: the second tier has the task, the first tier nothing.
    assert_eq!((lab.tasks(), front.tasks(), client.tasks()), (1, 0, 1));
    // It can be started again, held, released and cancelled from here.
    client.grid(["retry", id]).ok();
    client.grid(["wait", id]).expect(3);
    assert_eq!(client.show(id)["attempts"].as_array().unwrap().len(), 2);
    let id = client.submit(["-H", "--", "sleep", "60"]);
    assert_eq!(client.state(&id), "HELD");
    client.grid(["release", &id]).ok();
    client.until_state(&id, "RUNNING");
    client.grid(["cancel", "--wait", &id]).ok();
    assert_eq!(client.state(&id), "CANCELLED");
    client.grid(["run", "--", "sh", "-c", "echo here; exit 7"]).expect(7);
    // Nothing can ever run it: told, and no trace of it anywhere.
    let before = (lab.tasks(), client.tasks());
    client.grid(["submit", "-c", "999", "--", "true"]).expect(75).says(&["lab-x/local", "999"]);
    assert_eq!((lab.tasks(), client.tasks()), before);
}

#[test]
fn a_dry_run_asks_both_tiers_and_takes_nothing() {
    let (client, front, lab) = three();
    let told = client.grid(["submit", "-n", "--json", "--", "true"]).json();
    assert_eq!((&told["chosen"], &told["servers"][0]["server"]), (&json!("local"), &json!("local")), "{told}");
    assert_eq!(told["servers"][0]["distributor"], "lab-x", "{told}");
    client.grid(["submit", "-n", "--", "true"]).shows(&["would run on lab-x/local now"]);
    let first = &told["tiers"][0]["searched"][0];
    assert_eq!((&first["distributor"], &first["answer"]), (&json!("front-a"), &json!("redirects to lab-x, tier2")));
    assert_eq!(told["tiers"][1]["searched"][0]["distributor"], "lab-x", "{told}");
    client.grid(["submit", "-n", "-c", "999", "--", "true"]).expect(75).says(&["lab-x/local", "999"]);
    // What could run later is told too.
    front.grid(["distributor", "drain", "tier2"]).ok();
    lab.grid(["server", "drain", "local"]).ok();
    let told = client.grid(["submit", "-n", "--json", "--", "true"]).json();
    assert!(told["chosen"].is_null() && told["servers"][0]["reasons"].to_string().contains("drained"), "{told}");
    assert_eq!((lab.tasks(), front.tasks(), client.tasks()), (0, 0, 0));
    // A first tier that is gone is passed over.
    client.grid(["distributor", "add", "front-0", "--tier", "1", "--endpoint", "/nowhere/at-all"]).ok();
    client.grid(["distributor", "order", "--tier", "1", "front-0,front-a"]).ok();
    let told = client.grid(["submit", "-n", "--json", "--", "true"]).json();
    let answers = told["tiers"][0]["searched"].as_array().unwrap();
    assert!(answers.iter().any(|s| s["distributor"] == "front-a" && s["answer"] != ""), "{told}");
}

#[test]
fn an_array_of_many_lines_travels_in_pieces_and_its_members_are_told_apart() {
    let (client, _front, lab) = three();
    // More than an envelope holds.
    let lines: String = (1..=6_000).map(|n| format!("{n} {}\n", "x".repeat(300))).collect();
    std::fs::write(client.file("lines"), &lines).unwrap();
    let id = client.submit([
        "-H",
        "--each-line",
        "lines",
        "--",
        "sh",
        "-c",
        "echo $GRID_ARRAY_INDEX ${#GRID_ENTRY}; exit 3",
    ]);
    assert_eq!(lab.show("1")["size"], 6_000);
    assert_eq!(client.show(&id)["counts"], json!({"HELD": 6_000}));
    client.grid(["cancel", &id]).ok();
    assert_eq!(client.state(&id), "CANCELLED");
    let id = client.submit(["-a", "5-7", "--", "sh", "-c", "echo member $GRID_ARRAY_INDEX; exit $GRID_ARRAY_INDEX"]);
    client.grid(["wait", &format!("{id}.6")]).expect(6);
    client.grid(["wait", &id]).expect(7);
    assert_eq!(client.grid(["logs", &format!("{id}.7")]).ok(), "member 7");
    assert_eq!(client.show(&id)["counts"], json!({"FAILED": 3}));
    client.grid(["submit", "--stdin", "--", "wc", "-c"]).expect(0);
    let long = "x".repeat(2 << 20);
    client.grid_with(long.as_bytes(), ["submit", "--stdin", "--", "wc", "-c"]).expect(75).says(&["1048576 at most"]);
}

#[test]
fn reported_attributes_are_listed_with_their_age_apart_from_declared_ones() {
    let (front, lab) = (Grid::new(), Grid::new());
    lab.grid(["server", "set", "local", "--app", "blender"]).ok();
    lab.grid(["distributor", "register", "--as", "lab-x", "--with", front.home().to_str().unwrap()]).ok();
    front.grid(["distributor", "set", "lab-x", "--set", "site=brno"]).ok();
    front.grid(["distributor", "set", "tier2", "--set", "site=oslo"]).ok();
    let listed = front.grid(["distributor", "list"]).ok();
    let lines: Vec<&str> = listed.lines().collect();
    let cell = |name: &str, column: &str, until: &str| {
        let row = lines.iter().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{listed}"));
        let [from, to] = [column, until].map(|title| lines[0].find(title).unwrap_or_else(|| panic!("{listed}")));
        row.get(from..to.min(row.len())).or(row.get(from..)).unwrap_or_default().trim().to_owned()
    };
    assert!(cell("lab-x", "READ", "REPORTED").ends_with(" ago"), "{listed}");
    let reported = cell("lab-x", "REPORTED", "DECLARED");
    assert!(reported.contains("apps=blender") && reported.contains("health=UP"), "{listed}");
    let declared = |name: &str| {
        lines.iter().find(|line| line.contains(name)).unwrap()[lines[0].find("DECLARED").unwrap()..].trim()
    };
    assert_eq!((declared("lab-x"), declared("tier2")), ("site=brno", "site=oslo"), "{listed}");
    // What is of this home has no age: it is counted when it is asked for.
    assert_eq!(cell("tier2", "READ", "DECLARED"), "", "{listed}");
}

/// Gives a home so many servers more: s1, s2, ..
pub fn many_servers(home: &Grid, count: u32) {
    let database = rusqlite::Connection::open(home.home().join("grid.db")).unwrap();
    let many = format!(
        "CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n;
         INSERT INTO host (machine, boot_id, hostname, os, arch, kernel, cpus, power, load1, idle_cpus, mem_total, mem_available, disk_free, read_at)
            SELECT 'm' || i, boot_id, 'm' || i, os, arch, kernel, cpus, power, 0, cpus, mem_total, mem_available, disk_free, read_at FROM n, host;
         INSERT INTO server (name, distributor_id, engine, address, host_id, health, contacted_at, slots, declared_at)
            SELECT 's' || i, s.distributor_id, 'ssh', 'm' || i || '.invalid', h.id, 'UP', s.contacted_at, 1, s.declared_at
            FROM n JOIN host h ON h.machine = 'm' || i, server s WHERE s.name = 'local';"
    );
    database.execute_batch(&many).unwrap();
}

/// A requirement that no server meets, and that each verdict gives in full.
pub fn never() -> String {
    format!("server.os == '{}'", "z".repeat(1_900))
}

#[test]
fn a_dry_run_that_tells_of_some_servers_tells_of_those_that_fit() {
    let grid = Grid::new();
    // More than the bytes of one answer, not more than its verdicts.
    many_servers(&grid, 900);
    let few = format!("server.name in ['s98', 's99'] || {}", never());
    let told = grid.grid(["submit", "-n", "--json", "-C", &few, "--", "true"]).json();
    let verdicts = told["servers"].as_array().unwrap();
    let fit: Vec<_> = verdicts.iter().filter(|v| v["qualifies"] == true).map(|v| &v["server"]).collect();
    assert_eq!(fit, ["s98", "s99"]);
    let left_out = told["left_out"].as_u64().unwrap();
    assert!(left_out > 100 && verdicts.len() as u64 + left_out == 901, "{left_out}");
}

#[test]
fn an_explanation_with_ten_thousand_servers_comes_through_both_tiers() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    many_servers(&lab, 10_000);
    // Ten thousand verdicts take a loaded machine long, and how long is no matter here.
    for grid in [&client, &front] {
        grid.grid(["config", "set", "peer_timeout", "60s"]).ok();
        grid.grid(["dispatcher", "stop"]).ok();
    }
    // More than the longest frame.
    let never = never();
    let id = client.submit(["--hold-unmatched", "-C", &never, "--", "true"]);
    let told = client.explain(&id);
    assert_eq!(told["servers"].as_array().unwrap().len(), 10_001);
    assert!(told.to_string().len() > frame::FRAME_MAX);
    // A dry run gets as many as one answer holds, and says how many it does not.
    let dry = ["submit", "-n", "--hold-unmatched", "-C", &never];
    let told = client.grid(dry.into_iter().chain(["--json", "--", "true"])).json();
    let (listed, left_out) = (told["servers"].as_array().unwrap().len(), told["left_out"].as_u64().unwrap());
    assert!(listed > 100 && listed as u64 + left_out == 10_001, "{listed} {left_out}");
    let more = 10_001 - 20;
    client.grid(dry.into_iter().chain(["--", "true"])).shows(&[&format!("and {more} more servers")]);
    a_report_waits_for_its_reader(&lab);
    client.grid(["cancel", &id]).ok();
}

/// Of a long report no more is on its way than a caller's window holds; the rest comes as it is taken.
fn a_report_waits_for_its_reader(lab: &Grid) {
    let owner = HomeId(lab.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    let uuid = TaskUuid(lab.show("1")["uuid"].as_str().unwrap().parse().unwrap());
    let mut caller = Caller::greeted(&mut lab.typed(["serve"]), stranger());
    let say = |message: ToServe, caller: &mut Caller| frame::write(&mut caller.say, &message).unwrap();
    let explain = Question::Task { owner, user: None, uuid, verb: Verb::Explain { index: None } };
    // One that knows no pieces is told why it gets nothing, and goes on.
    let mut old = Caller::greeted_in(2, &mut lab.typed(["serve"]), stranger());
    old.denied(explain.clone(), &["to an older grid"]);
    let states = Question::States { owner, user: None, uuids: Vec::new() };
    assert_eq!(old.ask(states.clone()), Answer::States(Vec::new()));
    old.leaves();
    say(ToServe::Ask { ticket: 1, question: explain }, &mut caller);
    let (mut got, mut taken, mut reads_on, mut working) = (0, 0, false, false);
    while let Some(FromServe::Answer { ticket, answer, last }) = caller.hear() {
        match answer {
            Answer::Part(part) => {
                got += part.len() as u64;
                if got == 4 << 20 {
                    // Whatever is asked meanwhile is answered before the next piece.
                    say(ToServe::Ask { ticket: 2, question: states.clone() }, &mut caller);
                }
            }
            Answer::States(_) => {
                assert_eq!((ticket, got), (2, 4 << 20));
                reads_on = true;
            }
            Answer::Working => working |= got == 0,
            _ if last => break,
            other => panic!("{other:?}"),
        }
        if reads_on && got > taken {
            say(ToServe::Taken { ticket: 1, bytes: got - taken }, &mut caller);
            taken = got;
        }
    }
    assert!(taken > 16 << 20, "{taken}");
    assert!(working, "nothing was said while it was made");
    caller.leaves();
}

/// `grid run` of a task that has begun in the lab.
fn run_there(client: &Grid, lab: &Grid, script: &str) -> std::process::Child {
    lab.fifo("go");
    let script = format!("cd {}; {script}", lab.work().display());
    let run = client.beside(["run", "--", "sh", "-c", &script]);
    process::until("the task has begun", || lab.lines("marks") == ["begun"]);
    run
}

#[test]
fn the_first_ctrl_c_cancels_what_runs_elsewhere() {
    for signal in [Signal::INT, Signal::TERM] {
        let (client, _front, lab) = three();
        let run = run_there(&client, &lab, "echo begun >> marks; read x < go");
        kill_process(Pid::from_child(&run), signal).unwrap();
        let done = process::finish(run, "grid run".to_owned()).expect(128 + signal.as_raw());
        done.says(&["task 1: cancel asked", "Ctrl-C again returns"]);
        assert_eq!((client.state("1").as_str(), lab.state("1").as_str()), ("CANCELLED", "CANCELLED"));
    }
}

#[test]
fn the_second_ctrl_c_leaves_what_runs_elsewhere_alone() {
    let (client, _front, lab) = three();
    // TERM does not end it, and its grace is longer than the test.
    let script = "trap 'echo term >> marks' TERM; echo begun >> marks; while ! read x < go; do :; done; exit 6";
    let run = run_there(&client, &lab, script);
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    process::until("the cancel has reached it", || lab.lines("marks").len() > 1);
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    process::finish(run, "grid run".to_owned()).expect(130).says(&["task 1 is being cancelled", "grid wait 1"]);
}

#[test]
fn reader_that_goes_is_noticed_while_a_task_elsewhere_writes_nothing() {
    let (client, _front, lab) = three();
    let go = lab.fifo("go");
    let script = format!("cd {}; echo begun; read x < go", lab.work().display());
    let id = client.submit(["--", "sh", "-c", &script]);
    let first = |mut child: std::process::Child| {
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        drop(child.stdout.take());
        process::finish(child, "grid".to_owned()).expect(141)
    };
    first(client.beside(["logs", "-f", &id]));
    assert_eq!(client.state(&id), "RUNNING");
    std::fs::write(go, "\n").unwrap();
    client.grid(["wait", &id]).ok();
    // It may have ended by the time it is told.
    let told = String::from_utf8(first(client.beside(["run", "--", "sh", "-c", &script])).err.clone()).unwrap();
    assert!(told.contains("task 2 is being cancelled") || told.contains("task 2 was cancelled"), "{told}");
    client.grid(["wait", "2"]).expect(130);
    assert_eq!(lab.state("2"), "CANCELLED");
}

#[test]
fn removal_of_a_task_elsewhere_takes_the_own_row_and_everywhere_the_task() {
    let (client, _front, lab) = three();
    for (options, left) in [(&[][..], 1), (&["--everywhere"], 1)] {
        let id = client.submit(["--", "sh", "-c", "echo out"]);
        lab.grid(["wait", "last"]).ok();
        // Whoever submitted it does not know yet how it ended.
        lab.grid(["remove", "last"]).expect(1).says(&["has not confirmed yet that it knows how it ended"]);
        client.grid(["wait", &id]).ok();
        client.grid(["remove", &id].iter().copied().chain(options.iter().copied())).ok();
        client.grid(["show", &id]).expect(1);
        assert_eq!(lab.tasks(), left, "{options:?}");
        // What was told may go there, too.
        lab.grid(["remove", "-n", "--ended"]).shows(&["would remove 1 task"]);
    }
    assert_eq!(client.number("select count(*) from removed_view"), 0, "usage is the owner's");
    assert_eq!(lab.number("select tasks from removed_view"), 1);
}

#[test]
fn end_of_a_task_started_again_is_to_be_told_again_before_it_is_removed() {
    let (client, _front, lab) = three();
    let id = client.submit(["--", "sh", "-c", "exit 3"]);
    client.grid(["wait", &id]).expect(3);
    lab.grid(["remove", "-n", "1"]).expect(0);
    lab.grid(["retry", "1"]).ok();
    lab.grid(["wait", "1"]).expect(3);
    lab.grid(["remove", "1"]).expect(1).says(&["has not confirmed yet that it knows how it ended"]);
    lab.grid(["remove", "--discard", "1"]).ok();
    // Its client is told that it is gone, and can let go of it.
    client.grid(["remove", "--everywhere", &id]).ok();
    assert_eq!((client.tasks(), lab.tasks()), (0, 0));
}

#[test]
fn uuid_of_a_removed_task_is_not_taken_again() {
    let (client, front, lab) = three();
    let id = client.submit(["--", "true"]);
    client.grid(["wait", &id]).ok();
    let uuid = TaskUuid(client.show(&id)["uuid"].as_str().unwrap().parse().unwrap());
    client.grid(["remove", "--everywhere", &id]).ok();
    assert_eq!((client.tasks(), lab.tasks()), (0, 0));
    for home in [&client, &lab] {
        assert_eq!(home.number("select count(*) from tombstone where round = 4294967295"), 1);
    }
    let mut caller = Caller::greeted(&mut lab.typed(["serve"]), stranger());
    let owner = HomeId(lab.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    let verb = Verb::Remove { discard: false };
    caller.denied(Question::Task { owner, user: None, uuid, verb }, &["no task"]);
    caller.leaves();
    drop(front);
}

#[test]
fn user_of_a_lab_removes_its_own_ended_tasks_alone() {
    let lab = Grid::new();
    for (name, role) in [("alice", "operate"), ("bob", "submit")] {
        lab.grid(["user", "add", name]).ok();
        lab.grid(["user", "allow", name, "--role", role]).ok();
    }
    let owner = HomeId(lab.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
    let of = |user: &str| {
        let id = lab.submit(["--user", user, "--", "true"]);
        lab.grid(["wait", &id]).ok();
        TaskUuid(lab.show(&id)["uuid"].as_str().unwrap().parse().unwrap())
    };
    let (hers, his) = (of("alice"), of("bob"));
    let remove = |uuid| Question::Task { owner, user: None, uuid, verb: Verb::Remove { discard: false } };
    let mut alice = Caller::greeted(&mut lab.typed(["serve", "--as", "alice"]), stranger());
    alice.denied(remove(his), &["another user's"]);
    assert!(matches!(alice.ask(remove(hers)), Answer::Report(text) if text.contains("\"tasks\":[\"1\"]")));
    alice.leaves();
    let mut bob = Caller::greeted(&mut lab.typed(["serve", "--as", "bob"]), stranger());
    bob.denied(remove(hers), &["no task"]);
    bob.leaves();
    assert_eq!(lab.tasks(), 1);
}
