//! Each kind of reason, as people read it.

use super::world::*;
use crate::matching::{Fleet, Query};
use crate::model::attribute::Value;
use crate::model::demand::Demand;
use crate::model::id::{HostId, ServerId, TaskId};
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Health, Server, Taken};
use std::collections::BTreeMap;

fn reasons(server: Server, query: &Query) -> Vec<String> {
    let fleet = spread(vec![server]);
    let verdict = fleet.explain(query, None, NOW).remove(0);
    assert_eq!(verdict.qualifies, fleet.best(query, None).is_some(), "{:?}", verdict.reasons);
    verdict.reasons
}

fn reason(change: impl FnOnce(&mut Server), query: &Query) -> String {
    let mut server = server(1, "fast");
    change(&mut server);
    let mut all = reasons(server, query);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn plain() -> Query {
    query(&demand())
}

#[test]
fn probe_that_is_stale_or_of_the_future_is_a_reason() {
    let mut far = server(1, "far");
    far.engine = Engine::Ssh(crate::model::ssh::SshTarget::new("far", Vec::new(), None).unwrap());
    let mut fleet = spread(vec![far]);
    let minute = std::time::Duration::from_secs(60);
    for (now, believed) in [(NOW, true), (READ.plus(minute * 2), false), (READ.minus(minute), false)] {
        fleet.trust(minute, now);
        assert_eq!(chosen(&fleet, &plain()).is_some(), believed, "{now}");
        let told = &fleet.explain(&plain(), None, now)[0].reasons;
        assert_eq!(told.iter().any(|reason| reason.starts_with("too stale to trust: read ")), !believed, "{told:?}");
    }
}

#[test]
fn server_health_is_a_reason() {
    assert_eq!(reason(|s| s.drained = Some("fan is loud".into()), &plain()), "drained: fan is loud");
    assert_eq!(reason(|s| s.drained = Some(String::new()), &plain()), "drained");
    assert_eq!(reason(|s| s.pool = None, &plain()), "not yet probed");
    assert_eq!(reason(|s| s.health = Health::Unknown, &plain()), "not yet probed");
    assert_eq!(reason(|s| s.kept_for = Some(TaskId(12)), &plain()), "kept for task 12");
    let (mut kept, mut twin) = (server(1, "fast"), server(2, "twin"));
    kept.kept_for = Some(TaskId(12));
    twin.pool.as_mut().unwrap().host = HostId(1);
    let mut fleet = spread(vec![kept.clone(), twin]);
    assert_eq!(fleet.explain(&plain(), None, NOW)[1].reasons, ["its host is kept for task 12"]);
    assert!(fleet.best(&plain(), None).is_none() && fleet.best(&plain(), Some(TaskId(12))).is_some());
    kept.kept_for = None;
    fleet.set(kept);
    assert!(fleet.explain(&plain(), None, NOW).iter().all(|verdict| verdict.qualifies));
    let down = reason(|s| s.health = Health::Down { error: "no route".into(), since: READ }, &plain());
    assert!(down.starts_with("down since ") && down.ends_with(": no route"), "{down}");
}

#[test]
fn server_kept_for_this_task_qualifies() {
    let mut server = server(1, "fast");
    server.kept_for = Some(TaskId(12));
    let fleet = spread(vec![server]);
    assert!(fleet.best(&plain(), Some(TaskId(12))).is_some());
    assert!(fleet.best(&plain(), Some(TaskId(13))).is_none());
}

#[test]
fn missing_room_is_a_reason() {
    let four = query(&Demand { needs: Needs { cpus: 4, mem: None }, ..demand() });
    assert_eq!(reason(|s| (s.slots, s.taken.slots) = (2, 2), &plain()), "slots: all 2 are taken");
    assert_eq!(reason(|s| s.taken.cpus = 7, &four), "cpus: wants 4, 1 of 8 is free");
    assert_eq!(
        reason(|s| s.pool.as_mut().unwrap().taken.cpus = 6, &four),
        "cpus: wants 4, 2 of 8 are free on its host"
    );
    let eight = query(&Demand { needs: Needs { cpus: 1, mem: Some(Bytes(8 * GIB)) }, ..demand() });
    assert_eq!(
        reason(|s| s.pool.as_mut().unwrap().mem_available = Bytes(3_435_973_837), &eight),
        "memory: wants 8G, 3.2G is free (of 16G; read 12 s ago)"
    );
    assert_eq!(
        reason(|s| s.pool.as_mut().unwrap().mem_since = 5 * GIB as i64, &eight),
        "memory: wants 8G, 7G is free (of 16G; read 12 s ago)"
    );
    assert_eq!(reason(|s| s.mem = Bytes(4 * GIB), &eight), "memory: wants 8G, 4G is free of its part of 4G");
}

#[test]
fn high_load_is_a_reason() {
    let loaded = |s: &mut Server| {
        probe(s, "load1", 4.8);
        s.max_load = Some(6.0);
        s.pool.as_mut().unwrap().started_since = 3;
    };
    assert_eq!(
        reason(loaded, &plain()),
        "load 7.8 is at or above --max-load 6 (measured 4.8, plus 3 started since; read 12 s ago)"
    );
    let ended = |s: &mut Server| {
        probe(s, "load1", 9.0);
        s.max_load = Some(6.0);
        s.pool.as_mut().unwrap().started_since = -2;
    };
    assert_eq!(
        reason(ended, &plain()),
        "load 7 is at or above --max-load 6 (measured 9, less 2 ended since; read 12 s ago)"
    );
}

#[test]
fn missing_application_is_a_reason() {
    let wants = |app: &str| query(&Demand { apps: vec![app.parse().unwrap()], ..demand() });
    let installed = |s: &mut Server| {
        probe(s, "apps", Value::texts(["blender", "gcc"]));
        probe(s, "app_version", Value::Map(BTreeMap::from([("blender".into(), "3.6".into())])));
    };
    assert_eq!(reason(installed, &wants("blender>=4.1")), "application blender>=4.1: found 3.6");
    assert_eq!(reason(installed, &wants("gcc>=4.1")), "application gcc>=4.1: found, but its version is not known");
    assert_eq!(reason(installed, &wants("ffmpeg")), "application ffmpeg is not there");
    let mut good = server(1, "fast");
    installed(&mut good);
    assert_eq!(reasons(good, &wants("blender>=3.2")), Vec::<String>::new());
}

#[test]
fn excluded_target_is_a_reason() {
    let on = |t: &str| query(&Demand { on: Some(t.parse().unwrap()), ..demand() });
    let mut fleet = spread(vec![server(1, "fast"), server(2, "slow")]);
    let of_fast = |fleet: &Fleet, on: &Query| fleet.explain(on, None, NOW)[0].reasons.clone();
    assert_eq!(of_fast(&fleet, &on("slow")), ["excluded by -w slow"]);
    fleet.remove(ServerId(2));
    for removed in ["slow", "tier2/slow"] {
        let words = format!("excluded by -w {removed}: tier2 has no server slow");
        assert_eq!(of_fast(&fleet, &on(removed)), [words]);
    }
    assert_eq!(reason(|_| {}, &on("lab-b/fast")), "excluded by -w lab-b/fast");
    assert_eq!(reasons(server(1, "fast"), &on("tier2/fast")), Vec::<String>::new());
    let not = query(&Demand { exclude: vec!["fast".parse().unwrap()], ..demand() });
    assert_eq!(reason(|_| {}, &not), "-x fast: excluded");
}

#[test]
fn failed_expression_is_a_reason() {
    let site = |s: &mut Server| declare(s, "site", "oslo");
    assert_eq!(
        reason(site, &wanting(r#"server.site == "brno""#)),
        r#"-C: server.site == "brno" is false: server.site is "oslo" (declared 12 s ago)"#
    );
    assert_eq!(reason(|_| {}, &wanting("server.rack == 7")), "-C: server.rack is not set");
    let rack = |s: &mut Server| declare(s, "rack", 7);
    assert_eq!(
        reason(rack, &wanting(r#"server.rack == "7""#)),
        r#"-C: server.rack == "7" is false: server.rack is 7 (declared 12 s ago); an int is never equal to a text"#
    );
    assert_eq!(
        reason(rack, &wanting(r#"server.rack in ["7", "8"]"#)),
        r#"-C: server.rack in ["7", "8"] is false: server.rack is 7 (declared 12 s ago); an int is never equal to a text"#
    );
    assert_eq!(
        reason(|s| declare(s, "rack", "007"), &wanting("server.rack == 7")),
        r#"-C: server.rack == 7 is false: server.rack is "007" (declared 12 s ago); a text is never equal to an int"#
    );
    assert_eq!(
        reason(rack, &wanting("server.rack == 8.0")),
        "-C: server.rack == 8.0 is false: server.rack is 7 (declared 12 s ago)"
    );
    assert_eq!(
        reason(site, &wanting("server.site > 3")),
        r#"-C: server.site > 3: > does not take a text and a int: server.site is "oslo" (declared 12 s ago)"#
    );
    assert_eq!(
        reason(site, &wanting(r#"(server.os == "linux" && (server.site == client.site))"#)),
        r#"-C: server.site == client.site is false: server.site is "oslo" (declared 12 s ago), client.site is "brno""#
    );
    assert_eq!(
        reason(|s| s.accepts = Some(r#""guests" in user.groups"#.into()), &plain()),
        r#"server accepts: "guests" in user.groups is false: user.groups is ["staff"]"#
    );
    assert!(
        reason(|s| s.accepts = Some("user.groups ==".into()), &plain()).starts_with("server accepts: cannot be read:")
    );
    let mut demanding = user();
    demanding.constraint = Some("server.load1 < 2.0".into());
    let query = Query::new(&demand(), &demanding, &client()).unwrap();
    let busy = |s: &mut Server| s.pool.as_mut().unwrap().started_since = 3;
    assert_eq!(
        reason(busy, &query),
        "user requires: server.load1 < 2.0 is false: server.load1 is 3.5 (measured 0.5, plus 3 started since; read 12 s ago)"
    );
}

#[test]
fn versions_are_compared_part_by_part() {
    let kernel = |text: &'static str| move |s: &mut Server| probe(s, "kernel", text);
    let holds = |found: &'static str, expression: &str| {
        let mut server = server(1, "fast");
        kernel(found)(&mut server);
        declare(&mut server, "fw", "v0.10.2");
        declare(&mut server, "rel", 9);
        probe(&mut server, "app_version", Value::Map(BTreeMap::from([("git".into(), "2.39.5".into())])));
        reasons(server, &wanting(expression)).is_empty()
    };
    for (found, expression, expected) in [
        ("6.18.5", r#"server.kernel >= version("6.9")"#, true),
        ("6.18.5", r#"version("6.9") < server.kernel && version(server.kernel) < version("7")"#, true),
        ("6.8.0-40-generic", r#"server.kernel >= version("6.9")"#, false),
        ("6.9", r#"server.kernel == version("6.9.0")"#, true),
        ("6.9", r#"server.kernel != version("6.9.0")"#, false),
        ("6.9", r#"server.fw > version("0.9") && server.rel < version("9.1")"#, true),
        ("6.9", r#"server.app_version.git >= version("2.100")"#, false),
        ("6.9", r#"["5.4", "6.10"].exists(v, version(v) > server.kernel)"#, true),
    ] {
        assert_eq!(holds(found, expression), expected, "{found}: {expression}");
    }
    assert_eq!(
        reason(kernel("6.8"), &wanting(r#"server.kernel >= version("6.9")"#)),
        r#"-C: server.kernel >= version("6.9") is false: server.kernel is "6.8" (read 12 s ago)"#
    );
    assert_eq!(
        reason(|s| declare(s, "fw", true), &wanting(r#"server.fw > version("1")"#)),
        r#"-C: server.fw > version("1"): version() does not take a bool: server.fw is true (declared 12 s ago)"#
    );
}

#[test]
fn preference_without_a_number_is_reported() {
    let note = |text: &str| {
        let mut server = server(1, "fast");
        declare(&mut server, "rack", "seven");
        let verdict = spread(vec![server]).explain(&preferring(text), None, NOW).remove(0);
        assert!(verdict.qualifies && verdict.score.is_none(), "{verdict:?}");
        verdict.reasons.join("|")
    };
    assert_eq!(note("server.speed"), "--prefer: server.speed is not set, so it ranks below every number");
    assert_eq!(
        note("server.rack"),
        r#"--prefer: server.rack is a text, no number: server.rack is "seven" (declared 12 s ago), so it ranks below every number"#
    );
    assert_eq!(note("0.0 / 0.0"), "--prefer: 0.0 / 0.0 is not a number, so it ranks below every number");
}

#[test]
fn group_without_a_fitting_member_names_each_member() {
    let mut one = server(1, "fast");
    one.drained = Some("fan is loud".into());
    let mut two = server(2, "slow");
    two.taken = Taken { slots: 8, ..Taken::default() };
    let mut farm = server(3, "farm");
    farm.engine = Engine::Group { members: vec![ServerId(1), ServerId(2)] };
    farm.pool = None;
    let fleet = spread(vec![one, two, farm]);
    let verdicts = fleet.explain(&plain(), None, NOW);
    assert_eq!(verdicts[0].server.as_str(), "farm");
    assert_eq!(
        verdicts[0].reasons,
        ["no member can take it: fast: drained: fan is loud; slow: slots: all 8 are taken"]
    );
}

#[test]
fn group_has_the_application_of_the_member_that_runs_the_task() {
    let with = |id, name: &str, version: &str| {
        let mut server = server(id, name);
        probe(&mut server, "apps", Value::texts(["blender"]));
        probe(&mut server, "app_version", Value::Map(BTreeMap::from([("blender".into(), version.into())])));
        server
    };
    let wants =
        |app: &str| query(&Demand { apps: vec![app.parse().unwrap()], on: Some("farm".parse().unwrap()), ..demand() });
    for order in [[1, 2], [2, 1]] {
        let mut farm = with(3, "farm", "3.6");
        farm.engine = Engine::Group { members: order.map(ServerId).to_vec() };
        farm.pool = None;
        let fleet = spread(vec![with(1, "old", "3.6"), with(2, "new", "4.1"), farm]);
        for (app, host) in [("blender>=4", 2), ("blender<4", 1)] {
            let place = fleet.best(&wants(app), None).map(|choice| choice.place);
            assert_eq!(place, Some(crate::matching::Place { server: ServerId(3), host: ServerId(host) }), "{app}");
            assert!(fleet.could_ever(&wants(app)));
        }
        assert!(fleet.best(&wants("blender>=5"), None).is_none() && !fleet.could_ever(&wants("blender>=5")));
        let verdict = &fleet.explain(&wants("blender>=5"), None, NOW)[0];
        let each = ["old: application blender>=5: found 3.6", "new: application blender>=5: found 4.1"];
        let each = if order[0] == 1 { each.join("; ") } else { [each[1], each[0]].join("; ") };
        assert_eq!(verdict.reasons, [format!("no member can take it: {each}")]);
    }
}

#[test]
fn group_runs_on_its_best_member_and_books_the_shared_host() {
    let mut one = server(1, "fast");
    probe(&mut one, "idle_cpus", 2.0);
    let two = server(2, "slow");
    let mut twin = server(4, "twin");
    twin.pool.as_mut().unwrap().host = HostId(2);
    let mut farm = server(3, "farm");
    farm.engine = Engine::Group { members: vec![ServerId(1), ServerId(2)] };
    farm.pool = None;
    let mut fleet = spread(vec![one, two, farm, twin]);
    let query = query(&Demand {
        on: Some("farm".parse().unwrap()),
        needs: Needs { cpus: 3, mem: Some(Bytes(GIB)) },
        ..demand()
    });
    let place = fleet.best(&query, None).unwrap().place;
    assert_eq!((place.server, place.host), (ServerId(3), ServerId(2)));
    let before: Vec<Server> = fleet.servers().cloned().collect();
    fleet.take(place, query.needs());
    let taken = |fleet: &Fleet, id| fleet.get(ServerId(id)).unwrap().taken;
    let held = Taken { slots: 1, cpus: 3, mem: Bytes(GIB) };
    assert_eq!((taken(&fleet, 3), taken(&fleet, 2)), (held, held));
    assert_eq!((taken(&fleet, 1), taken(&fleet, 4)), (Taken::default(), Taken::default()));
    for id in [2, 4] {
        let pool = fleet.get(ServerId(id)).unwrap().pool.clone().unwrap();
        assert_eq!((pool.taken, pool.started_since, pool.mem_since), (held, 3, GIB as i64));
    }
    fleet.give_back(place, query.needs());
    assert_eq!(fleet.servers().cloned().collect::<Vec<_>>(), before);
}

#[test]
fn what_a_client_says_of_itself_counts_in_its_own_expressions_and_lifts_no_requirement_of_the_home() {
    let mut open = server(1, "n1");
    declare(&mut open, "pit", "7");
    declare(&mut open, "shared_account", true);
    let mut strict = open.clone();
    strict.accepts = Some("client.badge == 'gold'".into());
    let (open, strict) = (spread(vec![open]), spread(vec![strict]));
    for shared_account in [false, true] {
        let fits = |fleet: &Fleet, (name, value): (&str, &str), constraint: Option<&str>| {
            let (client, constraint) = ([(name.into(), value.into())].into(), constraint.map(Into::into));
            let query = query(&Demand { client, constraint, shared_account, ..demand() });
            assert_eq!(fleet.explain(&query, None, NOW)[0].qualifies, chosen(fleet, &query).is_some());
            chosen(fleet, &query).is_some()
        };
        assert!(fits(&open, ("want", "7"), Some("server.pit == client.want")));
        assert!(!fits(&open, ("want", "8"), Some("server.pit == client.want")));
        // What is declared of it here goes first.
        assert!(fits(&open, ("site", "oslo"), Some("client.site == 'brno'")));
        // The home's own requirement believes only clients that are trusted like its owner.
        assert_eq!(fits(&strict, ("badge", "gold"), None), !shared_account);
    }
}
