//! What a waiting task could do without: each hint is applied as a person would type it, and gives the match that it names.

use super::drawn::*;
use super::world::*;
use crate::matching::capacity::is_open;
use crate::matching::{Fleet, Query, RelaxedPart, Waiting, When};
use crate::model::demand::Demand;
use crate::model::id::TaskId;
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{BEING_REMOVED, BEING_UNINSTALLED, Engine, Health, Server, Taken};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(500), ..ProptestConfig::default() })]

    #[test]
    fn hint_gives_the_match_that_it_names(servers in fleets(), query in queries(), task in proptest::option::of(Just(TaskId(5)))) {
        let fleet = spread(servers.clone());
        let hints = fleet.relaxations(&query, Waiting { task, without: &[] });
        let could = |fleet: &Fleet, query: &Query| fleet.servers().filter(|s| is_open(s) && fleet.could(s, query)).count();
        prop_assert_eq!(hints.as_it_is, could(&fleet, &query));
        if fleet.best(&query, task).is_some() {
            prop_assert!(hints.all.is_empty(), "it fits as it is");
        }
        for (name, when) in &hints.resumed {
            let resumed = servers.iter().cloned().map(|mut server| {
                server.drained = server.drained.filter(|_| server.name != *name);
                server
            });
            let resumed = spread(resumed.collect());
            prop_assert!(servers.iter().any(|server| server.name == *name && server.drained.is_some()));
            match when {
                When::Now => prop_assert!(resumed.best(&query, task).is_some(), "{}", name),
                _ => prop_assert!(hints.as_it_is == 0 && could(&resumed, &query) > 0, "{}", name),
            }
        }
        for hint in &hints.all {
            let relaxed = applied(&query, &hint.changes);
            let fits = fleet.explain(&relaxed, task, NOW).iter().filter(|v| v.qualifies).count();
            match hint.when {
                When::Now => prop_assert_eq!(fits, hint.servers, "{}", hint),
                // What can start later as it is needs no hint for later.
                _ => {
                    prop_assert_eq!((fits, hints.as_it_is), (0, 0), "{}", hint);
                    let away = could(&fleet, &relaxed);
                    prop_assert_eq!(away > 0, hint.when == When::Later, "{}", hint);
                    let fixed = servers.iter().map(|s| s.accepts.as_deref()).chain([relaxed.demand.constraint.as_deref()]);
                    // What was never read may turn out to be anything.
                    let read = servers.iter().all(|s| s.pool.is_some() || matches!(s.engine, Engine::Group { .. }));
                    let user = relaxed.user_constraint.as_ref().map(|folded| &*folded.whole.text);
                    if read && fixed.chain([user]).flatten().all(|text| !text.contains("load1") && !text.contains("idle_cpus")) {
                        prop_assert!(spread(idle(servers.clone())).best(&relaxed, None).is_some(), "{}", hint);
                    }
                }
            }
            if hint.changes.len() > 1 {
                for change in &hint.changes {
                    let one = fleet.relaxations(&applied(&query, &[]), Waiting { task, without: &[] }).all.iter().any(|hint| hint.changes == [change.clone()]);
                    prop_assert!(!one, "{} helps alone", change);
                }
            }
        }
    }
}

/// A query with these changes, made anew from its texts as a person would type them.
fn applied(query: &Query, changes: &[RelaxedPart]) -> Query {
    let mut demand = query.demand.clone();
    let mut user = user();
    user.constraint = query.user_constraint.as_ref().map(|f| f.whole.text.to_string());
    for change in changes {
        match change {
            RelaxedPart::Mem(mem) => demand.needs.mem = Some(*mem),
            RelaxedPart::Cpus(cpus) => demand.needs.cpus = *cpus,
            RelaxedPart::WithoutApp(app) => demand.apps.retain(|a| a != app),
            RelaxedPart::WithoutOn(_) => demand.on = None,
            RelaxedPart::WithoutExclude(_) => demand.exclude.clear(),
            RelaxedPart::WithoutConstraint => demand.constraint = None,
            RelaxedPart::WithoutPart(part) => {
                let whole = demand.constraint.take().unwrap();
                let rest: Vec<&str> = whole.split(" && ").filter(|p| p != part).collect();
                demand.constraint = (!rest.is_empty()).then(|| rest.join(" && ").into());
            }
            RelaxedPart::WithoutUserConstraint => user.constraint = None,
        }
    }
    Query::new(&demand, &user, &client()).unwrap()
}

/// The same servers with nothing to do, all there.
pub fn idle(mut servers: Vec<Server>) -> Vec<Server> {
    for server in &mut servers {
        server.health = Health::Up;
        (server.drained, server.kept_for, server.taken) = (None, None, Taken::default());
        if let Some(pool) = &mut server.pool {
            (pool.taken, pool.started_since, pool.mem_since) = (Taken::default(), 0, 0);
            pool.mem_available = pool.mem_total;
        }
        probe(server, "load1", 0.0);
        probe(server, "idle_cpus", 8.0);
        probe(server, "mem_available", 16 * GIB as i64);
    }
    servers
}

#[test]
fn hints_say_what_helps_and_when() {
    let mut fast = server(1, "fast");
    declare(&mut fast, "rack", 7);
    let mut slow = server(2, "slow");
    slow.pool.as_mut().unwrap().mem_available = Bytes(3 * GIB + 5);
    let mut fleet = spread(vec![fast.clone(), slow.clone()]);
    let hints = |fleet: &Fleet, demand: Demand| fleet.relaxations(&query(&demand), Waiting::default()).lines();
    let said = |demand: Demand| hints(&fleet, demand);
    let mem = Needs { cpus: 1, mem: Some(Bytes(30 * GIB)) };
    assert_eq!(said(Demand { needs: mem, ..demand() }), ["with --mem 12G: it could start now on 1 server"]);
    assert_eq!(
        said(Demand { needs: Needs { cpus: 999, mem: None }, ..demand() }),
        ["with -c 8: it could start now on 2 servers"]
    );
    let apps = || vec!["blender".parse().unwrap()];
    assert_eq!(said(Demand { apps: apps(), ..demand() }), ["without --app blender: it could start now on 2 servers"]);
    let constraint = |text: &str| Demand { constraint: Some(text.into()), ..demand() };
    assert_eq!(
        said(constraint("server.rack == 7 && server.load1 > 5.0")),
        ["as it is: 1 server could run it later", "without server.load1 > 5.0 in -C: it could start now on 1 server"]
    );
    assert_eq!(said(constraint("server.rack == 8")), ["without -C: it could start now on 2 servers"]);
    let on = |name: &str| Some(name.parse().unwrap());
    assert_eq!(said(Demand { on: on("n9"), ..demand() }), ["without -w n9: it could start now on 2 servers"]);
    assert_eq!(
        said(Demand { needs: Needs { cpus: 999, mem: None }, apps: apps(), ..demand() }),
        ["with -c 8 and without --app blender: it could start now on 2 servers"]
    );
    assert_eq!(said(Demand { needs: Needs { cpus: 8, mem: None }, ..demand() }), [""; 0]);
    // Two of eight processors are busy everywhere: what can start later is told before what could start now.
    for server in [&mut fast, &mut slow] {
        server.taken.cpus = 2;
        fleet.set(server.clone());
    }
    let two = Needs { cpus: 8, mem: None };
    assert_eq!(
        hints(&fleet, Demand { needs: two, ..demand() }),
        ["as it is: 2 servers could run it later", "with -c 6: it could start now on 2 servers"]
    );
    // To leave out what does not help is no hint.
    assert_eq!(hints(&fleet, Demand { needs: two, exclude: vec!["slow".parse().unwrap()], ..demand() }).len(), 2);
    for server in [&mut fast, &mut slow] {
        server.taken.slots = 8;
        fleet.set(server.clone());
    }
    assert_eq!(
        hints(&fleet, Demand { apps: apps(), ..demand() }),
        ["without --app blender: 2 servers could run it later"]
    );
    for server in [&mut fast, &mut slow] {
        server.drained = Some(String::new());
        fleet.set(server.clone());
    }
    assert_eq!(
        hints(&fleet, Demand { apps: apps(), ..demand() }),
        ["without --app blender: 2 servers could run it, but they are drained or not reached"]
    );
}

#[test]
fn drained_server_that_would_help_is_named_with_the_verb() {
    let (mut drained, mut full) = (server(1, "fast"), server(2, "full"));
    drained.drained = Some("fan is loud".into());
    let lines =
        |servers: &[Server]| spread(servers.to_vec()).relaxations(&query(&demand()), Waiting::default()).lines();
    let resume = "`grid server resume fast`: it could start now".to_owned();
    assert_eq!(lines(std::slice::from_ref(&drained)), std::slice::from_ref(&resume));
    full.taken.slots = full.slots;
    let later = "as it is: 1 server could run it later".to_owned();
    assert_eq!(lines(&[drained.clone(), full.clone()]), [later, resume]);
    // It would not help now, and another one could run it later too.
    drained.taken.slots = drained.slots;
    assert_eq!(lines(&[drained.clone(), full]), [""; 0]);
    assert_eq!(lines(std::slice::from_ref(&drained)), ["`grid server resume fast`: it could run later"]);
    // Without -w the same server could run it, which is no help.
    let named = query(&Demand { on: Some("fast".parse().unwrap()), ..demand() });
    let hints = spread(vec![drained]).relaxations(&named, Waiting::default()).lines();
    assert_eq!(hints, ["`grid server resume fast`: it could run later"]);
}

#[test]
fn server_that_is_being_removed_is_not_named_as_one_to_resume() {
    for (reason, lines) in [(BEING_REMOVED, 0), (BEING_UNINSTALLED, 0), ("fan is loud", 1)] {
        let mut drained = server(1, "fast");
        drained.drained = Some(reason.into());
        let found = spread(vec![drained]).relaxations(&query(&demand()), Waiting::default());
        assert_eq!(found.resumed.len(), lines, "{reason}");
    }
}
