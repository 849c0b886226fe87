//! Situations of `grid explain`: each names its culprit. What lacks on a server is tried one by one in `src/matching/tests/reasons.rs`;
//! here is what only a whole home knows.

use crate::support::{Grid, process};

/// Waits until `explain` says all of this.
#[track_caller]
fn explains(grid: &Grid, id: &str, words: &[&str]) {
    let mut said = String::new();
    process::until(&format!("{words:?} is explained"), || {
        let done = grid.grid(["explain", id]);
        said = format!("{}{}", done.out(), done.err());
        words.iter().all(|word| said.contains(word))
    });
}

/// A home with one more server on this host.
fn two_servers() -> Grid {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local", "--slots", "4", "--cpus", "2"]).ok();
    grid.grid(["server", "set", "local", "--slots", "1", "--cpus", "1"]).ok();
    grid
}

#[test]
fn limit_of_an_array_is_named_while_servers_are_free() {
    let grid = two_servers();
    grid.fifo("go");
    let id = grid.submit(["-a", "1-4%1", "--", "sh", "-c", "read x < go"]);
    grid.until_state(&id, "RUNNING");
    explains(&grid, &id, &["task 1 is RUNNING", "3 wait: at most 1 run at once (%1)"]);
    let waits = "3 wait: at most 1 run at once (%1)";
    grid.grid(["status"]).shows(&[&format!("3 pending, 1 running ({waits})")]);
    grid.grid(["show", &id]).shows(&[&format!("RUNNING ({waits})")]);
    explains(&grid, "1.3", &["task 1.3 is PENDING: at most 1 run at once (%1)"]);
    grid.grid(["cancel", &id]).ok();
}

#[test]
fn what_decided_between_servers_is_named() {
    let grid = two_servers();
    let dry = |options: &[&str]| grid.grid([&["submit", "-n"], options, &["--", "true"]].concat()).ok();
    assert!(dry(&["--prefer", "server.slots"]).contains("first by --prefer: 4, before local with 1"));
    grid.grid(["user", "add", "bob", "--prefer", "-server.slots"]).ok();
    let said = dry(&["--user", "bob"]);
    assert!(said.contains("first by the user's preference: -1, before fast with -4"), "{said}");
    // What a task ran by is kept with it.
    grid.grid(["run", "--prefer", "server.slots", "--", "true"]).ok();
    explains(&grid, "1", &["COMPLETED on fast", "first by --prefer: 4, before local with 1"]);
    // Equals on one host differ in their names alone.
    grid.grid(["server", "add", "equal", "--local", "--slots", "4", "--cpus", "2"]).ok();
    assert!(dry(&["-x", "local"]).contains("first by name: fast ranks the same"));
}

#[test]
fn member_of_a_group_that_runs_a_task_is_named() {
    let grid = two_servers();
    grid.grid(["server", "add", "farm", "--of", "fast,local"]).ok();
    let on_farm = ["-w", "farm", "-x", "local", "--", "true"];
    grid.grid(["submit", "-n"].into_iter().chain(on_farm)).shows(&["farm", "would run on fast"]);
    let id = grid.submit(on_farm);
    grid.grid(["wait", &id]).ok();
    grid.grid(["show", &id]).shows(&["farm (fast)"]);
    let shown = grid.show(&id);
    assert_eq!(
        (&shown["server"], &shown["member"], &shown["attempts"][0]["member"]),
        (&"farm".into(), &"fast".into(), &"fast".into())
    );
    grid.grid(["server", "drain", "fast", "--reason", "fan is loud"]).ok();
    let id = grid.submit(on_farm);
    explains(&grid, &id, &["farm: no member can take it: fast: drained: fan is loud; local: -x local: excluded"]);
}

#[test]
fn waiting_task_names_the_server_that_it_waits_for() {
    let grid = two_servers();
    // First by name, and never: it has too few processors. `far` is not reached.
    grid.grid(["server", "add", "a-small", "--local", "--cpus", "1"]).ok();
    grid.grid(["server", "drain", "local", "--reason", "moving"]).ok();
    let go = grid.fifo("go");
    let first = grid.submit(["-w", "fast", "--", "sh", "-c", "read x < go"]);
    grid.until_state(&first, "RUNNING");
    let second = grid.submit(["-c", "2", "--", "true"]);
    let words = "fast: cpus: wants 2, 1 of 2 is free (and 2 more)";
    explains(&grid, &second, &[&format!("task 2 is PENDING: {words}"), "a-small", "drained: moving"]);
    grid.grid(["status"]).shows(&[words]);
    explains(&grid, &second, &["as it is: 1 server could run it later", "with -c 1: it could start now on 2 servers"]);
    std::fs::write(go, "\n").unwrap();
    grid.grid(["wait", &second]).ok();
}

#[test]
fn task_that_waits_for_its_retry_shows_the_failed_attempt() {
    let grid = Grid::new();
    grid.grid(["server", "add", "fast", "--local"]).ok();
    grid.grid(["server", "drain", "fast", "--reason", "moving"]).ok();
    let id = grid.submit(["--retries", "2", "--", "sh", "-c", "exit 7"]);
    let words = "not yet again on local, where it failed";
    explains(&grid, &id, &[words, "it failed there: for "]);
    let shown = grid.grid(["show", &id]).shows(&["PENDING", words, "ATTEMPT", "FAILED"]);
    assert_eq!(shown.out().matches("FAILED").count(), 1, "fast may be resumed: {shown:?}");
    grid.grid(["server", "resume", "fast"]).ok();
    process::until("it is tried there", || grid.number("SELECT count(*) FROM attempt") >= 2);
    assert_eq!(grid.show(&id)["attempts"][1]["server"], "fast");
}

#[test]
fn task_behind_others_names_them() {
    let grid = Grid::new();
    grid.grid(["server", "set", "local", "--slots", "1"]).ok();
    grid.grid(["config", "set", "starve_after", "100ms"]).ok();
    grid.fifo("go");
    let runs = grid.submit(["--", "sh", "-c", "read x < go"]);
    grid.until_state(&runs, "RUNNING");
    let large = grid.submit(["-c", "2", "--", "sh", "-c", "read x < go"]);
    let small = grid.submit(["--", "true"]);
    process::until("the server is kept", || {
        grid.number(&format!("SELECT count(*) FROM server WHERE kept_for = {large}")) == 1
    });
    explains(&grid, &small, &["task 3 is PENDING: local: kept for task 2"]);
    explains(&grid, &large, &["waits too long: local is kept for it", "slots: the only one is taken"]);
    grid.grid(["cancel", "all"]).ok();
}

#[test]
fn requirement_of_the_user_is_told_as_the_users() {
    let grid = Grid::new();
    grid.grid(["user", "add", "bob", "--constraint", "server.site == \"oslo\""]).ok();
    grid.grid(["server", "set", "local", "--set", "site=brno"]).ok();
    let done = grid.grid(["submit", "--user", "bob", "-C", "server.cpus > 0", "--", "true"]).expect(75);
    let words = "user requires: server.site == \"oslo\" is false: server.site is \"brno\"";
    done.says(&[words, "without the user's requirement: it could start now on 1 server"]);
    let id = grid.submit(["--user", "bob", "--hold-unmatched", "--", "true"]);
    explains(&grid, &id, &["HELD: unmatched: no server could ever run it", words]);
}

#[test]
fn held_tasks_say_who_holds_them() {
    let grid = Grid::new();
    let id = grid.submit(["-H", "--", "true"]);
    explains(&grid, &id, &["task 1 is HELD: held until `grid release`"]);
}

#[test]
fn application_outside_the_watch_list_is_named_and_found_once_it_is_watched() {
    let grid = Grid::new();
    grid.grid(["config", "set", "watch", "cat"]).ok();
    let wants = |app: &str| grid.grid(["submit", "-n", "--app", app, "--", "true"]);
    wants("cat").expect(0);
    wants("env").expect(75).says(&["application env is not known: it is not in `watch`", "grid config get watch"]);
    // At once, without a refresh.
    grid.grid(["config", "set", "watch", "env,nosuch"]).ok();
    wants("env").expect(0);
    wants("nosuch").expect(75).says(&["application nosuch is not there"]);
    grid.grid(["config", "set", "probe_script", "echo app.scope=2.1"]).ok();
    wants("scope>=2").expect(0);
}

#[test]
fn of_many_servers_the_nearest_are_shown() {
    let grid = two_servers();
    grid.grid(["server", "drain", "local"]).ok();
    for at in 0..25 {
        grid.grid(["server", "add", &format!("a{at}"), "--local", "--cpus", "1"]).ok();
    }
    let go = grid.fifo("go");
    let first = grid.submit(["-w", "fast", "--", "sh", "-c", "read x < go"]);
    grid.until_state(&first, "RUNNING");
    let id = grid.submit(["-c", "2", "--", "true"]);
    let said = grid.grid(["explain", &id]).ok();
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("SERVER")).collect();
    assert!(lines[1].starts_with("fast ") && lines[1].contains("1 of 2 is free"), "{said}");
    assert!(said.contains("and 7 more servers; --json shows all"), "{said}");
    assert_eq!(grid.explain(&id)["servers"].as_array().unwrap().len(), 27);
    std::fs::write(go, "\n").unwrap();
    grid.grid(["wait", &id]).ok();
}

#[test]
fn servers_of_members_that_refuse_are_listed_with_the_member() {
    let (grid, lab) = (Grid::new(), Grid::new());
    lab.grid(["server", "set", "local", "--set", "site=oslo"]).ok();
    grid.grid(["distributor", "add", "lab", "--tier", "2", "--endpoint", &lab.home().display().to_string()]).ok();
    let constraint = "server.site == \"oslo\"";
    let dry = grid.grid(["submit", "-n", "-C", constraint, "--", "true"]);
    dry.shows(&["it would run on lab/local now", "tier2/local", "-C: server.site is not set", "lab/local", "chosen"]);
    // Both refuse.
    let done = grid.grid(["submit", "-C", "server.site == \"lyon\"", "--", "true"]).expect(75);
    done.says(&["tier2/local: -C: server.site is not set", "lab/local: -C: server.site == \"lyon\" is false"]);
    // Its home is gone: what is known is told, and who can't be asked.
    let id = grid.submit(["-H", "-C", constraint, "--", "true"]);
    for home in [&grid, &lab] {
        home.grid(["dispatcher", "stop"]);
    }
    let away = lab.home().with_extension("away");
    std::fs::rename(lab.home(), &away).unwrap();
    explains(&grid, &id, &["task 1 is HELD", " in lab: no answer from where it is: ", "tier 2  lab: "]);
    std::fs::rename(away, lab.home()).unwrap();
    explains(&grid, &id, &["task 1 is HELD in lab: held until `grid release`"]);
}
