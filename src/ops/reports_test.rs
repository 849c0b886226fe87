//! Reports that scripts rely on, against a real home.

use super::fixture::{self, name};
use super::follow::FollowEvent;
use super::selecting::{All, select, select_one};
use super::servers::{NewWay, Unprobed};
use super::status::StatusFilter;
use super::users::UserParts;
use super::{
    Grid, OpsError, clients, distributors, explain, gc, logs, profiles, servers, settings, show, sql, status, users,
};
use crate::model::attempt::{Cut, Stream};
use crate::model::clock::Reading;
use crate::model::distributor::{Policy, Tier};
use crate::model::facts::Facts;
use crate::model::id::{AttemptKey, Index, TaskId};
use crate::model::resources::{Bytes, Needs};
use crate::model::selector::Selector;
use crate::model::task::{EndState, Members};
use crate::model::time::Timestamp;
use crate::store::ledger::Ledger;
use crate::store::{Durability, StoreError, Tx};
use serde_json::{Value, json};

fn to_json<T: serde::Serialize>(report: &T) -> Value {
    serde_json::to_value(report).unwrap()
}

fn word(text: &str) -> Selector {
    text.parse().unwrap()
}

#[test]
fn status_and_show_have_the_promised_fields() {
    let (_dir, mut grid) = fixture::grid();
    let id = fixture::add_task(&mut grid, fixture::draft());
    let report = to_json(&status::status(&mut grid, &StatusFilter::default()).unwrap());
    assert_eq!(report["counts"]["PENDING"], 1);
    assert_eq!(report["servers"][0]["name"], "local");
    assert_eq!(report["servers"][0]["engine"], "local");
    assert_eq!(report["servers"][0]["state"], "UP");
    assert_eq!(report["servers"][0]["running"], 0);
    assert_eq!(report["tasks"][0]["id"], "1");
    assert_eq!(report["tasks"][0]["attempts"], Value::Null);
    let what = select_one(&mut grid, &word("last"), false).unwrap();
    assert_eq!(what.task, id);
    let shown = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!(shown["state"], "PENDING");
    assert_eq!(shown["server"], Value::Null);
    assert_eq!(shown["route"], json!(["tier1", "tier2"]));
    assert_eq!(shown["attempts"], json!([]));
    for field in ["exit_code", "signal", "started_at", "ended_at", "mem", "constraint", "prefer", "remote"] {
        assert!(shown.as_object().unwrap().contains_key(field), "{field}");
        assert_eq!(shown[field], Value::Null, "{field}");
    }
    for field in ["uuid", "command", "submitted_at", "user", "client", "cpus", "apps", "reason"] {
        assert_ne!(shown[field], Value::Null, "{field}");
    }
    assert!(shown.get("size").is_none());
}

#[test]
fn cut_output_is_shown_by_show_status_and_logs_until_the_next_attempt() {
    const WORDS: &str = "its output was cut: the disk was full";
    let (_dir, mut grid) = fixture::grid();
    let id = fixture::add_task(&mut grid, fixture::draft());
    let began = fixture::start(&mut grid, id);
    let key = AttemptKey { task: id, index: began.index, number: began.number };
    let half = fixture::FixtureEnd { code: 3, out: "half a li", again: false, cut: Some(Cut::DiskFull) };
    fixture::end_cut(&mut grid, key, half);
    let what = select_one(&mut grid, &word("last"), false).unwrap();
    let shown = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!((&shown["reason"], &shown["cut"]), (&json!(WORDS), &json!("disk_full")));
    let asked = StatusFilter { only: Some(vec![what]), ..StatusFilter::default() };
    assert_eq!(to_json(&status::status(&mut grid, &asked).unwrap())["tasks"][0]["reason"], WORDS);
    let wanted = logs::LogRequest { streams: vec![Stream::Out], attempt: None };
    let mut said = Vec::new();
    let mut sink = |event: FollowEvent<'_>| {
        said.push(match event {
            FollowEvent::Output { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
            other => format!("{other:?}"),
        });
        Ok(())
    };
    logs::logs(&mut grid, what, &wanted, &mut sink).unwrap();
    assert_eq!(said, ["half a li".to_owned(), format!("{:?}", FollowEvent::Note(&format!("task 1: {WORDS}")))]);
    let retry = |tx: &Tx<'_>| {
        let mut ledger = Ledger::open(tx, Timestamp::now());
        ledger.again(id, None, &[EndState::Failed])?;
        ledger.close()
    };
    grid.store.write::<_, StoreError>(Durability::Normal, retry).unwrap();
    let again = fixture::start(&mut grid, id);
    fixture::end(&mut grid, id, &again, 0, "whole", false);
    let shown = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!((&shown["reason"], shown.get("cut")), (&Value::Null, None));
}

#[test]
fn an_array_has_counts_and_members() {
    let (_dir, mut grid) = fixture::grid();
    let mut draft = fixture::draft();
    draft.members = Members::Range { first: 1, step: 2, count: 5, at_once: None };
    fixture::add_task(&mut grid, draft);
    let whole = select_one(&mut grid, &word("1"), false).unwrap();
    let shown = to_json(&show::show(&mut grid, &[whole]).unwrap()[0]);
    assert_eq!((&shown["size"], &shown["counts"]), (&json!(5), &json!({"PENDING": 5})));
    let member = select_one(&mut grid, &word("1.3"), false).unwrap();
    let shown = to_json(&show::show(&mut grid, &[member]).unwrap()[0]);
    assert_eq!((&shown["id"], &shown["state"]), (&json!("1.3"), &json!("PENDING")));
    let missing = select_one(&mut grid, &word("1.2"), false).unwrap_err();
    assert_eq!(missing.to_string(), "no task \"1.2\"; 1 has the members 1 to 9");
}

#[test]
fn last_and_all_select_the_callers_own_tasks() {
    let (_dir, mut grid) = fixture::grid();
    fixture::add_task(&mut grid, fixture::draft());
    let mut held = fixture::draft();
    held.hold = true;
    fixture::add_task(&mut grid, held);
    let mut ids = |all, everyone| -> Vec<i64> {
        select(&mut grid, &[Selector::All], all, everyone).unwrap().iter().map(|c| c.task.0).collect()
    };
    assert_eq!(ids(All::Unended, false), [1, 2]);
    assert_eq!(ids(All::Active, false), [1]);
    assert_eq!(ids(All::Held, false), [2]);
    assert_eq!(ids(All::Failed, false), Vec::<i64>::new());
    assert_eq!(select(&mut grid, &[word("1-2"), word("2")], All::Any, false).unwrap().len(), 2);
    grid.me = name("other");
    assert!(matches!(select(&mut grid, &[word("last")], All::Any, false), Err(OpsError::Unknown { .. })));
    assert_eq!(select(&mut grid, &[word("last")], All::Any, true).unwrap().len(), 1);
    assert!(matches!(select(&mut grid, &[word("99")], All::Any, false), Err(OpsError::Unknown { .. })));
}

#[test]
fn explain_has_two_tiers_in_order_and_every_server() {
    let (_dir, mut grid) = fixture::grid();
    fixture::add_task(&mut grid, fixture::draft());
    let what = select_one(&mut grid, &word("1"), false).unwrap();
    let report = to_json(&explain::explain(&mut grid, what).unwrap());
    assert_eq!(
        report["tiers"][0],
        json!({"tier": 1, "searched": [{"distributor": "tier1", "answer": "redirect to tier2"}]})
    );
    assert_eq!(report["tiers"][1]["searched"][0]["distributor"], "tier2");
    assert_eq!(report["servers"][0]["server"], "local");
    // A waiting task is matched again: it would fit now.
    assert_eq!(report["servers"][0]["qualifies"], true);
    assert_eq!((&report["chosen"], &report["task"]), (&Value::Null, &json!("1")));
}

#[test]
fn servers_are_declared_drained_and_shown_with_source_and_age() {
    let (_dir, mut grid) = fixture::grid();
    let declared = servers::Declared {
        slots: Some(2),
        accepts: Some("true".into()),
        apps: vec![(name("blender"), Some("4.1".into()))],
        attributes: [("site".into(), "brno".into()), ("load1".into(), 9.5.into())].into(),
        ..servers::Declared::default()
    };
    servers::set(&mut grid, &name("local"), &NewWay::default(), &declared).unwrap();
    let shown = to_json(&servers::show(&grid, "local").unwrap());
    let attributes = &shown["attributes"];
    assert_eq!((&attributes["slots"]["value"], &attributes["slots"]["source"]), (&json!(2), &json!("declared")));
    assert_eq!((&attributes["load1"]["value"], &attributes["load1"]["source"]), (&json!(9.5), &json!("declared")));
    assert_eq!(
        (&attributes["idle_cpus"]["source"], &attributes["accepts"]["value"]),
        (&json!("probed"), &json!("true"))
    );
    assert_eq!(attributes["app_version"]["value"]["blender"], "4.1");
    assert!(attributes["site"]["read_at"].is_string());
    servers::drain(&mut grid, &["local".into()], Some("fan is loud")).unwrap();
    let listed = to_json(&servers::list(&grid).unwrap());
    assert_eq!((&listed[0]["state"], &listed[0]["reason"]), (&json!("DRAINED"), &json!("fan is loud")));
    // A second drain takes no reason away, and a drained host that does not answer says so.
    servers::drain(&mut grid, &["local".into()], None).unwrap();
    let local = grid.store.view().server("local").unwrap().unwrap().id;
    grid.store.write(Durability::Full, |tx| tx.record_down(local, "no route", Timestamp::now())).unwrap();
    let listed = to_json(&servers::list(&grid).unwrap());
    assert_eq!((&listed[0]["state"], &listed[0]["reason"]), (&json!("DRAINED"), &json!("fan is loud; down: no route")));
    servers::resume(&mut grid, &["local".into()]).unwrap();
    servers::unset(&mut grid, "local", &["slots".into(), "site".into(), "blender".into()]).unwrap();
    assert!(servers::unset(&mut grid, "local", &["site".into()]).is_err());
    let error = servers::show(&grid, "locol").unwrap_err().to_string();
    assert_eq!(error, "no server \"locol\"; did you mean \"local\"?");
}

#[test]
fn groups_are_made_of_servers_and_keep_the_last_one() {
    let (_dir, mut grid) = fixture::grid();
    let of = servers::NewEngine::Of(vec![name("local")]);
    let nothing = servers::Declared::default();
    servers::add(&mut grid, &name("farm"), &of, None, &nothing, Unprobed::Kept).unwrap();
    assert_eq!(servers::show(&grid, "farm").unwrap().engine, Some("group"));
    assert!(servers::remove(&mut grid, &["local".into()]).is_err());
    let of = servers::NewEngine::Of(vec![name("farm")]);
    assert!(servers::add(&mut grid, &name("x"), &of, None, &nothing, Unprobed::Kept).is_err());
    assert!(matches!(
        servers::add(&mut grid, &name("farm"), &of, None, &nothing, Unprobed::Kept),
        Err(OpsError::Refused(_))
    ));
    let wrong =
        servers::add(&mut grid, &name("y"), &servers::NewEngine::Local, Some(&name("tier1")), &nothing, Unprobed::Kept);
    assert!(matches!(wrong, Err(OpsError::Usage(_))));
    servers::remove(&mut grid, &["farm".into(), "local".into()]).unwrap();
    assert!(servers::list(&grid).unwrap().is_empty());
}

#[test]
fn user_set_keeps_what_is_not_named() {
    let (_dir, mut grid) = fixture::grid();
    let parts = UserParts {
        groups: vec![name("staff")],
        share: Some(2),
        prefer: Some("server.power".into()),
        attributes: [("room".into(), 7.into())].into(),
        ..UserParts::default()
    };
    users::add(&mut grid, &name("alice"), &parts).unwrap();
    assert!(users::add(&mut grid, &name("alice"), &parts).is_err());
    users::set(&mut grid, &name("alice"), &UserParts { share: Some(3), ..UserParts::default() }).unwrap();
    let shown = to_json(&users::show(&grid, "alice").unwrap());
    assert_eq!(shown["attributes"]["groups"]["value"], json!(["staff"]));
    assert_eq!(shown["attributes"]["share"]["value"], 3);
    assert_eq!(shown["attributes"]["prefer"]["value"], "server.power");
    assert_eq!(shown["attributes"]["room"]["value"], 7);
    users::unset(&mut grid, "alice", &["prefer".into(), "group".into(), "room".into()]).unwrap();
    assert!(users::unset(&mut grid, "alice", &["prefer".into()]).is_err());
    fixture::add_task(&mut grid, fixture::draft());
    assert!(users::remove(&mut grid, &["me".into()]).is_err());
    users::remove(&mut grid, &["alice".into()]).unwrap();
}

#[test]
fn profiles_clients_and_distributors_have_the_same_shape() {
    let (_dir, mut grid) = fixture::grid();
    let settings = crate::model::profile::ProfileSettings { cpus: Some(2), ..Default::default() };
    profiles::add(&mut grid, &name("render"), settings.clone()).unwrap();
    assert!(profiles::add(&mut grid, &name("12"), settings).is_err());
    let more = crate::model::profile::ProfileSettings { priority: Some(1), ..Default::default() };
    profiles::set(&mut grid, &name("render"), more).unwrap();
    let listed = to_json(&profiles::list(&grid).unwrap());
    assert_eq!(listed[0]["attributes"]["cpus"]["value"], 2);
    assert_eq!(listed[0]["attributes"]["priority"]["value"], 1);
    clients::set(&mut grid, "lab.example.org", &[("site".into(), "brno".into())].into()).unwrap();
    assert!(clients::set(&mut grid, "a\nb", &[].into()).is_err());
    let listed = to_json(&clients::list(&grid).unwrap());
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("desk"), &json!("SEEN")));
    assert_eq!((&listed[1]["state"], &listed[1]["attributes"]["site"]["value"]), (&json!("DECLARED"), &json!("brno")));
    clients::remove(&mut grid, &["lab.example.org".into()]).unwrap();
    distributors::add(&mut grid, &name("lab-a"), Tier::Second, None, &[].into()).unwrap();
    let order = distributors::order(&mut grid, Tier::Second, &["lab-a".into()]).unwrap();
    assert_eq!(order.order, ["lab-a", "tier2"]);
    let searching = distributors::search(&mut grid, Tier::Second, Some(Policy::RoundRobin)).unwrap();
    assert_eq!(searching.policy, Policy::RoundRobin);
    assert!(distributors::remove(&mut grid, &["tier2".into()]).is_err(), "it has a server");
    assert!(distributors::remove(&mut grid, &["tier1".into()]).is_err(), "it is the last of its tier");
    distributors::remove(&mut grid, &["lab-a".into()]).unwrap();
    let listed = to_json(&distributors::list(&grid).unwrap());
    assert_eq!((&listed[0]["tier"], &listed[1]["attributes"]["servers"]["value"]), (&json!(1), &json!(1)));
}

#[test]
fn sql_reads_and_can_not_write() {
    let (_dir, mut grid) = fixture::grid();
    fixture::add_task(&mut grid, fixture::draft());
    let answer = sql::query(&grid, "select id, state, exit_code from task_view").unwrap();
    assert_eq!(answer.columns, ["id", "state", "exit_code"]);
    assert_eq!(answer.rows, [[json!(1), json!("PENDING"), Value::Null]]);
    for bad in ["delete from task", "select", "pragma user_version = 9", "select 1; select 2", "attach 'x' as y"] {
        assert!(sql::query(&grid, bad).is_err(), "{bad}");
    }
}

#[test]
fn settings_have_defaults_and_go_back_to_them() {
    let (_dir, mut grid) = fixture::grid();
    assert_eq!(settings::get(&grid, "keep_outputs").unwrap().value, "30d");
    settings::set(&mut grid, "keep_outputs", "60d").unwrap();
    let setting = settings::get(&grid, "keep-outputs").unwrap();
    assert_eq!((setting.value.as_str(), setting.set), ("60d", true));
    settings::unset(&mut grid, "keep_outputs").unwrap();
    assert!(!settings::get(&grid, "keep_outputs").unwrap().set);
    let error = settings::set(&mut grid, "keep_output", "1d").unwrap_err().to_string();
    assert!(error.contains("keep_outputs"), "{error}");
    assert_eq!(settings::read(&grid.store.view(), &crate::model::settings::WATCH).unwrap()[0], "python3");
}

#[test]
fn task_that_never_started_has_no_logs_and_gc_keeps_it() {
    let (_dir, mut grid) = fixture::grid();
    fixture::add_task(&mut grid, fixture::draft());
    let what = select_one(&mut grid, &word("1"), false).unwrap();
    let mut said = Vec::new();
    let wanted = logs::LogRequest { streams: vec![Stream::Out, Stream::Err], attempt: None };
    logs::logs(&mut grid, what, &wanted, &mut |event| {
        said.push(format!("{event:?}"));
        Ok(())
    })
    .unwrap();
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("NeverStarted") && said[0].contains("PENDING: no server is free"), "{said:?}");
    let key = |task| AttemptKey { task, index: Index(0), number: 1 };
    let file = grid.store.home().output_file(key(what.task), Stream::Out);
    std::fs::write(&file, "x").unwrap();
    let orphan = grid.store.home().output_file(key(TaskId(99)), Stream::Out);
    std::fs::write(&orphan, "yy").unwrap();
    settings::set(&mut grid, "keep_rows", "1s").unwrap();
    let planned = gc::gc(&mut grid, gc::GcRequest { dry_run: true, ..Default::default() }, &Reading::now()).unwrap();
    assert_eq!((planned.files, planned.bytes, planned.tasks), (1, 2, 0));
    assert!(orphan.exists());
    assert_eq!(gc::gc(&mut grid, gc::GcRequest::default(), &Reading::now()).unwrap().files, 1);
    assert!(file.exists() && !orphan.exists());
}

#[test]
fn attempts_are_numbered_and_logs_print_each() {
    let (_dir, mut grid) = fixture::grid();
    let id = fixture::add_task(&mut grid, fixture::draft());
    let first = fixture::start(&mut grid, id);
    let what = select_one(&mut grid, &word("1"), false).unwrap();
    let running = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!((&running["state"], &running["server"]), (&json!("RUNNING"), &json!("local")));
    assert_eq!((&running["attempts"][0]["number"], &running["attempts"][0]["ended_at"]), (&json!(1), &Value::Null));
    fixture::end(&mut grid, id, &first, 3, "one\n", true);
    let waiting = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!((&waiting["state"], &waiting["attempts"][0]["state"]), (&json!("PENDING"), &json!("FAILED")));
    assert_eq!((&waiting["started_at"], &waiting["exit_code"]), (&Value::Null, &Value::Null));
    let second = fixture::start(&mut grid, id);
    fixture::end(&mut grid, id, &second, 0, "two\n", false);
    let ended = to_json(&show::show(&mut grid, &[what]).unwrap()[0]);
    assert_eq!(
        (&ended["state"], &ended["exit_code"], &ended["reason"]),
        (&json!("COMPLETED"), &json!(0), &Value::Null)
    );
    let codes: Vec<&Value> = ended["attempts"].as_array().unwrap().iter().map(|a| &a["exit_code"]).collect();
    assert_eq!(codes, [3, 0]);
    let explained = to_json(&explain::explain(&mut grid, what).unwrap());
    assert_eq!((&explained["chosen"], &explained["servers"][0]["qualifies"]), (&json!("local"), &json!(true)));
    for (attempt, text) in [(None, "two\n"), (Some(1), "one\n")] {
        let mut out = Vec::new();
        let wanted = logs::LogRequest { streams: vec![Stream::Out], attempt };
        logs::logs(&mut grid, what, &wanted, &mut |event| {
            if let FollowEvent::Output { bytes, .. } = event {
                out.extend_from_slice(bytes);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
    let wanted = logs::LogRequest { streams: vec![Stream::Out], attempt: Some(3) };
    assert!(matches!(logs::logs(&mut grid, what, &wanted, &mut |_| Ok(())), Err(OpsError::Unknown { .. })));
    settings::set(&mut grid, "keep_outputs", "1s").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(gc::gc(&mut grid, gc::GcRequest::default(), &Reading::now()).unwrap().outputs, 2);
    settings::set(&mut grid, "keep_rows", "1s").unwrap();
    let removed = gc::gc(&mut grid, gc::GcRequest::default(), &Reading::now()).unwrap();
    assert_eq!((removed.tasks, removed.classes), (1, 1));
}

#[test]
fn what_lanes_hold_goes_with_their_server_to_the_host_that_it_is_on() {
    let (_dir, mut grid) = fixture::grid();
    let local = grid.store.view().server("local").unwrap().unwrap();
    let needs = Needs { cpus: 2, mem: Some(Bytes(1 << 30)) };
    let write = |grid: &mut Grid, tell: &dyn Fn(&Tx<'_>) -> Result<(), StoreError>| {
        grid.store.write(Durability::Normal, tell).unwrap();
        let server = grid.store.view().server("local").unwrap().unwrap();
        let pool = server.pool.unwrap();
        (pool.host, pool.taken.cpus, pool.taken.mem)
    };
    let (before, taken, _) = write(&mut grid, &|tx| tx.take(local.id, local.id, needs));
    assert_eq!(taken, 2);
    let renamed = Facts { machine: "m2".into(), hostname: "other".into(), ..fixture::facts() };
    let (after, taken, mem) = write(&mut grid, &|tx| tx.record_facts(local.id, &renamed, Timestamp::now()));
    assert_ne!(before, after);
    assert_eq!((taken, mem), (2, Bytes(1 << 30)));
    let (_, taken, mem) = write(&mut grid, &|tx| tx.give_back(local.id, local.id, needs));
    assert_eq!((taken, mem), (0, Bytes(0)));
}
