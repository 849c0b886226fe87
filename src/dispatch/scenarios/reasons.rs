//! Scenarios of what people read of waiting tasks: the reason in `status`, and the verdicts of `explain`.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::distributor::fleets::Fleets;
use crate::distributor::tier2::{Candidates, VERDICTS_FREE};
use crate::matching::{Outlook, Query, Verdict};
use crate::model::ambient::Ambient;
use crate::model::demand::Version;
use crate::model::facts::Facts;
use crate::model::id::{ClassId, Index, TaskId};
use crate::model::server::BEING_REMOVED;
use crate::model::task::State;
use crate::protocol::agent::Refusal;
use crate::store::declared::Declared;
use crate::store::failing::{Failing, SuspectClasses};
use std::time::Duration;

/// What `explain` finds of a waiting task, or of a member of it, server by server.
pub(super) fn verdicts(bench: &Bench, task: TaskId, index: Option<u32>) -> Vec<Verdict> {
    asked(bench, task, index, |asked| asked.verdicts(Some(task)))
}

/// What `explain` asks about the servers of a waiting task, or of a member of it.
fn asked<T>(bench: &Bench, task: TaskId, index: Option<u32>, ask: impl FnOnce(&Candidates<'_>) -> T) -> T {
    let (view, now) = (bench.store.view(), bench.clock.now().wall);
    let row = view.task(task).unwrap().unwrap();
    let class = view.class(row.class).unwrap().unwrap();
    let (user, client) =
        (view.user_by_id(class.user).unwrap().unwrap(), view.client_by_id(class.client).unwrap().unwrap());
    let mut fleets = Fleets::default();
    let query = Query::new(&class.demand, &user, &client).unwrap();
    let mut asked = Candidates::new(&view, &mut fleets, class.distributor, query, now).unwrap();
    asked.avoid_for(&view, &row, index.map(Index)).unwrap();
    ask(&asked)
}

/// The verdict on one server.
pub(super) fn of(all: &[Verdict], server: &str) -> (bool, String) {
    let verdict = all.iter().find(|verdict| verdict.server.as_str() == server).unwrap();
    (verdict.qualifies, verdict.reasons.join("; "))
}

#[test]
fn reason_becomes_what_lacks_now() {
    let mut bench = Bench::new();
    bench.declare("local", &Declared { slots: Some(1), max_load: Some(2.0), ..Declared::default() });
    let (runs, waits) = (bench.submit(&Task::default()), bench.submit(&Task::default()));
    bench.pass(Duration::from_secs(3));
    assert_eq!((bench.state(runs), bench.state(waits)), (State::Running, State::Pending));
    let reason = bench.reason(waits).unwrap();
    assert!(reason.starts_with("local: slots: the only one is taken"), "{reason}");
    // The slot is free, and nothing but what is measured keeps the task.
    bench.agent("local", |agent| agent.facts.load1 = 8.0);
    bench.pass(Duration::from_secs(6));
    bench.end_all(0);
    bench.pass(Duration::from_secs(10));
    let reason = bench.reason(waits).unwrap();
    assert!(reason.starts_with("local: load 8 is at or above"), "{reason}");
    bench.agent("local", |agent| agent.facts.load1 = 5.0);
    bench.pass(Duration::from_secs(10));
    let reason = bench.reason(waits).unwrap();
    assert!(reason.starts_with("local: load 5 is at or above"), "{reason}");
    bench.check();
}

#[test]
fn server_that_a_retry_avoids_does_not_fit_until_it_may_return() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    let task = bench.submit(&Task::default().retries(2));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(60));
    assert_eq!((bench.running("bad"), bench.state(task)), (Vec::new(), State::Pending));
    let told = of(&verdicts(&bench, task, Some(0)), "bad");
    let words = "it failed there: for 4 min yet a retry waits for another server";
    assert_eq!(told, (false, words.to_owned()));
    // Nor as the member of a group; a task that did not fail there goes there.
    bench.add_group("farm", &["bad"]);
    let (fits, why) = of(&verdicts(&bench, task, Some(0)), "farm");
    assert!(!fits && why.contains(&format!("bad: {words}")), "{why}");
    let fresh = bench.submit(&Task { hold: true, ..Task::default() });
    assert!(of(&verdicts(&bench, fresh, Some(0)), "bad").0);
    // No other server is left to wait for.
    bench.drain("local", BEING_REMOVED);
    assert_eq!(bench.running("bad"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn retry_that_waits_for_a_drained_server_is_told_to_resume_it() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    bench.drain("local", "fan is loud");
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.state(task), State::Pending);
    let hints = asked(&bench, task, Some(0), |asked| asked.relaxations(Some(task)));
    assert_eq!(hints, ["as it is: 1 server could run it later", "`grid server resume local`: it could start now"]);
    bench.check();
}

#[test]
fn array_avoids_a_server_only_if_all_of_it_that_waits_failed_there() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    let array = bench.submit(&Task::array(5).retries(2));
    bench.run();
    // Four run there, and one waits that never had an attempt.
    let (now, first) = (bench.clock.now().wall, bench.running("bad")[0]);
    bench.submit(&Task::array(4).on("bad").priority(5));
    bench.agent("bad", |agent| agent.end(first, 1, b"", now));
    bench.pass(Duration::from_secs(5));
    let failed = first.index.0;
    let free = |verdicts: &[Verdict]| of(verdicts, "bad").1.contains("failed there");
    assert!(free(&verdicts(&bench, array, Some(failed))), "{:?}", verdicts(&bench, array, Some(failed)));
    assert!(!free(&verdicts(&bench, array, None)), "{:?}", verdicts(&bench, array, None));
    bench.check();
}

#[test]
fn server_that_pauses_does_not_fit_a_waiting_task() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.submit(&Task::array(4).on("local"));
    bench.pass(Duration::from_secs(2));
    let id = bench.server("bad").id;
    let now = bench.clock.now().wall;
    bench.write(|tx| tx.set_failing(id, Some(&Failing { failures: 7, at: now, about: SuspectClasses::Any })));
    bench.restart();
    // The first start there is due at once; it fails too.
    let tasks = [(); 2].map(|()| bench.submit(&Task::default()));
    bench.run();
    bench.end("bad", 1);
    bench.pass(Duration::from_secs(3));
    let waits = tasks.into_iter().find(|task| bench.state(*task) == State::Pending).unwrap();
    let (fits, why) = of(&verdicts(&bench, waits, Some(0)), "bad");
    assert!(!fits && why.starts_with("pauses: ") && why.contains("attempts in a row failed there"), "{why}");
    // It pauses for each of them, not only for the first.
    bench.submit(&Task::default());
    bench.pass(Duration::from_secs(3));
    let reason = bench.reason(waits).unwrap();
    assert!(reason.starts_with("local: ") && reason.ends_with("; bad pauses, for much fails there"), "{reason}");
    assert!(!reason.contains("the first of these tasks"), "{reason}");
    bench.check();
}

#[test]
fn server_pauses_for_those_tasks_alone_that_fail_there() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    let task = bench.submit(&Task::default());
    let class = bench.store.view().task(task).unwrap().unwrap().class;
    let (id, now) = (bench.server("bad").id, bench.clock.now().wall);
    let pauses = |bench: &Bench| of(&verdicts(bench, task, Some(0)), "bad").1.contains("pauses: ");
    for (fails, wanted) in [(class, true), (ClassId(class.0 + 1), false)] {
        let about = SuspectClasses::These([fails].into());
        bench.write(|tx| tx.set_failing(id, Some(&Failing { failures: 7, at: now, about })));
        assert_eq!(pauses(&bench), wanted, "{fails:?}");
    }
}

#[test]
fn verdict_of_a_retry_elsewhere_says_why_the_first_server_was_not_chosen() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    let mut task = Task::default().retries(1);
    task.demand.prefer = Some("server.name == \"bad\"".into());
    let task = bench.submit(&task);
    bench.run();
    bench.end("bad", 1);
    assert_eq!(bench.running("local"), [bench.attempt(task)]);
    let view = bench.store.view();
    let kept = view.note(view.member(task, Index(0)).unwrap().unwrap().verdict.unwrap()).unwrap().unwrap();
    let kept: Vec<Verdict> = serde_json::from_str(&kept).unwrap();
    let words = "it failed there: for 5 min yet a retry waits for another server";
    assert_eq!((of(&kept, "bad"), of(&kept, "local").0), ((false, words.to_owned()), true));
}

/// The verdicts that were kept with the last placement of a member.
fn kept_verdicts(bench: &Bench, task: TaskId, index: u32) -> Option<Vec<Verdict>> {
    let view = bench.store.view();
    let note = view.member(task, Index(index)).unwrap().unwrap().verdict?;
    Some(serde_json::from_str(&view.note(note).unwrap().unwrap()).unwrap())
}

#[test]
fn verdict_of_a_task_that_avoids_a_server_is_found_once_a_second() {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    let mut array = Task::array(4).retries(1);
    array.demand.prefer = Some("server.name == \"bad\"".into());
    let array = bench.submit(&array);
    bench.run();
    let key = (array, bench.server("local").id);
    let (mut found_at, begun) = (Vec::new(), bench.clock.now().mono);
    for wait in [0, 400, 400, 400] {
        // Commands of more than a moment: nothing becomes a suspect.
        bench.clock.advance(Duration::from_millis(wait));
        let (now, first) = (bench.clock.now().wall, bench.running("bad")[0]);
        bench.agent("bad", |agent| agent.end(first, 1, b"", now));
        bench.run();
        let (at, _) = bench.dispatcher.schedule.verdicts.own[&key];
        found_at.push(at.duration_since(begun).as_millis());
    }
    assert_eq!(bench.running("local").len(), 4);
    assert_eq!(found_at, [0, 0, 0, 1_200]);
    for index in 0..4 {
        let told = of(&kept_verdicts(&bench, array, index).unwrap(), "bad");
        assert!(told.1.contains("it failed there"), "{told:?}");
    }
    bench.check();
}

#[test]
fn verdict_of_a_task_that_avoids_a_server_of_a_large_fleet_comes_in_a_later_pass() {
    let mut bench = Bench::new();
    let others: Vec<String> = (1..=VERDICTS_FREE).map(|number| format!("n{number:02}")).collect();
    for name in &others {
        bench.add_server(name, facts(name));
    }
    bench.pass(Duration::from_secs(2));
    let tasks = ["a", "b"].map(|class| {
        let mut task = Task::default().retries(1).of_class(class);
        task.demand.prefer = Some("server.name == \"n01\"".into());
        bench.submit(&task)
    });
    bench.run();
    // Others have used up the allowance: one placement adds too little to it for a verdict, two add enough.
    bench.dispatcher.schedule.verdicts.left = VERDICTS_FREE - 6;
    let mut kept = Vec::new();
    for task in tasks {
        let (attempt, now) = (bench.attempt(task), bench.clock.now().wall);
        assert!(bench.running("n01").contains(&attempt));
        bench.agent("n01", |agent| agent.end(attempt, 1, b"", now));
        bench.run();
        assert_eq!((bench.number(task, 0), bench.state(task)), (2, State::Running));
        let verdicts = kept_verdicts(&bench, task, 0);
        kept.push(verdicts.map(|all| of(&all, "n01").1.contains("it failed there")));
    }
    assert_eq!(kept, [None, Some(true)]);
    // Without a kept one it is found when it is asked for.
    assert_eq!(verdicts(&bench, tasks[0], Some(0)).len(), VERDICTS_FREE + 1);
    bench.check();
}

#[test]
fn versions_of_an_application_are_those_of_each_member_of_a_group() {
    let mut bench = Bench::new();
    let versions =
        [("old", Some(Some("1.9"))), ("new", Some(Some("1.10"))), ("unknown", Some(None)), ("without", None)];
    for (name, found) in versions {
        let version = |text: &str| Version(text.into());
        let apps = found.map(|found| ("hq".parse().unwrap(), found.map(version))).into_iter().collect();
        bench.add_server(name, Facts { apps, ..facts(name) });
    }
    bench.pass(Duration::from_secs(2));
    bench.add_group("farm", &["old", "new", "unknown", "without"]);
    let wants = |need: &str| {
        let mut task = Task::default().cpus(4).on("farm");
        task.demand.apps = vec![need.parse().unwrap()];
        task
    };
    let ran_on = |bench: &Bench, task: TaskId| {
        let host = bench.store.view().member(task, Index(0)).unwrap().and_then(|member| member.host());
        host.map(|host| bench.store.view().server_name(host).unwrap().unwrap().to_string())
    };
    for (need, server) in [("hq>=1.10", "new"), ("hq<1.10", "old")] {
        let task = bench.submit(&wants(need));
        bench.run();
        assert_eq!(ran_on(&bench, task).as_deref(), Some(server), "{need}");
    }
    bench.end("old", 0);
    // The member that has the version is full; the others name theirs.
    let waits = bench.submit(&wants("hq>=1.10"));
    bench.run();
    let (fits, why) = of(&verdicts(&bench, waits, None), "farm");
    let words = [
        "old: application hq>=1.10: found 1.9",
        "new: cpus: wants 4, 0 of 4 are free",
        "unknown: application hq>=1.10: found, but its version is not known",
        "without: application hq>=1.10",
    ];
    assert!(!fits && words.iter().all(|words| why.contains(words)), "{why}");
    for server in ["old", "unknown"] {
        let any = bench.submit(&wants("hq"));
        bench.run();
        assert_eq!(ran_on(&bench, any).as_deref(), Some(server));
    }
    let never = bench.submit(&wants("hq>=2"));
    bench.run();
    let told = verdicts(&bench, never, None);
    let farm = told.iter().find(|verdict| verdict.server.as_str() == "farm").unwrap();
    assert_eq!(farm.outlook, Outlook::Never, "{farm:?}");
    bench.check();
}

#[test]
fn server_that_refused_a_task_does_not_fit_until_it_is_declared_anew() {
    let mut bench = Bench::new();
    bench.add_server("other", facts("other"));
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    bench.agent("other", |agent| agent.refuses = Some(Refusal::Prologue { error: "exit 3".into() }));
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(5));
    let words = "it refused this task: the prologue fails (exit 3); it is asked again after a `grid server set`";
    assert_eq!(of(&verdicts(&bench, task, Some(0)), "other"), (false, words.to_owned()));
    bench.agent("other", |agent| agent.refuses = None);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.state(task), State::Pending);
    bench.declare("other", &Declared::default());
    assert_eq!(bench.running("other"), [bench.attempt(task)]);
    bench.check();
}

#[test]
fn several_servers_that_a_task_is_kept_from_are_counted() {
    let mut bench = Bench::new();
    for name in ["bad", "far"] {
        bench.add_server(name, facts(name));
        bench.agent(name, |agent| agent.refuses = Some(Refusal::NoDirectory { path: "/data".into() }));
    }
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(10));
    let reason = bench.reason(task).unwrap();
    assert!(reason.contains("refused: no /data on ") && reason.ends_with(" (and 1 more)"), "{reason}");
    bench.cancel(task);
    for name in ["bad", "far"] {
        bench.agent(name, |agent| agent.refuses = None);
    }
    let task = bench.submit(&Task::default().retries(3));
    bench.run();
    for _ in 0..2 {
        let on = if bench.running("bad").is_empty() { "far" } else { "bad" };
        bench.end(on, 1);
    }
    bench.pass(Duration::from_secs(10));
    let reason = bench.reason(task).unwrap();
    assert!(reason.ends_with("; not yet again on bad (and 1 more), where it failed"), "{reason}");
    bench.check();
}

#[test]
fn server_that_refused_a_task_is_named_in_its_reason() {
    let mut bench = Bench::new();
    bench.add_server("other", facts("other"));
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    bench.agent("other", |agent| agent.refuses = Some(Refusal::NoDirectory { path: "/data".into() }));
    let task = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.state(task), State::Pending);
    let reason = bench.reason(task).unwrap();
    assert!(reason.starts_with("local: ") && reason.ends_with("; refused: no /data on other"), "{reason}");
    // One of the same class has not tried it yet; both are told the same.
    bench.make_unreachable("other");
    let second = bench.submit(&Task::default());
    bench.pass(Duration::from_secs(10));
    let reason = bench.reason(second).unwrap();
    assert!(reason.ends_with("; the first of these tasks: refused: no /data on other"), "{reason}");
    bench.check();
}
