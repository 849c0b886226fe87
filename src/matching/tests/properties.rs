//! What holds for every fleet: `best` is the best of `explain`, order of insertion means nothing, what runs could run.

use super::drawn::*;
use super::hints::idle;
use super::world::*;
use crate::matching::search::ResolvedQuery;
use crate::matching::{Fleet, Outlook, Placement, Query, Verdict, Waiting};
use crate::model::demand::Demand;
use crate::model::id::{ServerId, TaskId};
use crate::model::resources::Needs;
use crate::model::server::Engine;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

    #[test]
    fn best_server_is_the_best_verdict(servers in fleets(), query in queries(), placement in placements(), task in proptest::option::of(Just(TaskId(5)))) {
        let fleet = Fleet::new(servers, placement);
        let verdicts = fleet.explain(&query, task, NOW);
        prop_assert_eq!(verdicts.len(), fleet.servers().count());
        let asked = ResolvedQuery::new(&fleet, &query, task);
        // The slow way: rank every row that explain lets through, by the words of the design.
        let mut let_through: Vec<_> = fleet
            .servers()
            .filter(|s| verdicts.iter().any(|v| v.qualifies && v.server == s.name && v.distributor == s.distributor_name))
            .map(|s| {
                let row = fleet.row(s.id).unwrap();
                (asked.rank(row, asked.host(row).unwrap()), s)
            })
            .collect();
        let low = |v: Option<f64>| v.unwrap_or(f64::NEG_INFINITY);
        let_through.sort_by(|(a, x), (b, y)| {
            low(b.task).total_cmp(&low(a.task))
                .then(low(b.user).total_cmp(&low(a.user)))
                .then(b.placed.total_cmp(&a.placed))
                .then(x.name.cmp(&y.name))
                .then(x.distributor_name.cmp(&y.distributor_name))
        });
        let best = fleet.best(&query, task);
        prop_assert_eq!(best.map(|b| b.place.server), let_through.first().map(|(_, s)| s.id));
        if let Some(best) = best {
            let server = fleet.get(best.place.server).unwrap();
            let verdict = verdicts.iter().find(|v| v.server == server.name && v.distributor == server.distributor_name).unwrap();
            prop_assert_eq!(best.score, verdict.score);
        }
        for verdict in &verdicts {
            prop_assert!(verdict.qualifies || !verdict.reasons.is_empty(), "{:?}", verdict);
            let kept: Verdict = serde_json::from_str(&serde_json::to_string(verdict).unwrap()).unwrap();
            prop_assert_eq!(&Verdict { outlook: verdict.outlook, ..kept }, verdict);
        }
    }

    #[test]
    fn why_it_waits_is_the_nearest_of_all_verdicts(servers in fleets(), query in queries(), task in proptest::option::of(Just(TaskId(5)))) {
        let fleet = Fleet::new(servers, Placement::Spread);
        let mut unfit = fleet.explain(&query, task, NOW);
        unfit.retain(|verdict| !verdict.qualifies);
        let nearest = unfit.iter().min_by_key(|verdict| (verdict.outlook, verdict.reasons.len(), verdict.server.clone()));
        let words = nearest.map(|nearest| {
            let named_out = |verdict: &&Verdict| verdict.outlook == Outlook::NamedOut;
            let others = unfit.iter().filter(|verdict| named_out(verdict) == named_out(&nearest)).count() - 1;
            let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
            format!("{}: {}{more}", nearest.server, nearest.reasons.join("; "))
        });
        prop_assert_eq!(fleet.why_waits(&query, task, NOW), words);
    }

    #[test]
    fn insertion_order_does_not_matter(servers in fleets(), query in queries(), placement in placements(), turn in 0..9usize, gone in 0..9usize) {
        let one = Fleet::new(servers.clone(), placement);
        let mut two = Fleet::new(Vec::new(), placement);
        let mut turned = servers.clone();
        turned.reverse();
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
        }
        // Some come twice, one goes and comes back.
        for server in turned.iter().chain(turned.iter().take(turn)) {
            two.set(server.clone());
        }
        if let Some(server) = servers.get(gone) {
            two.remove(server.id);
            prop_assert!(two.get(server.id).is_none());
            two.set(server.clone());
        }
        prop_assert_eq!(one.best(&query, None), two.best(&query, None));
        prop_assert_eq!(one.explain(&query, None, NOW), two.explain(&query, None, NOW));
        prop_assert_eq!(one.could_ever(&query), two.could_ever(&query));
        prop_assert_eq!(one.relaxations(&query, Waiting::default()), two.relaxations(&query, Waiting::default()));
    }

    #[test]
    fn best_after_changes_equals_a_fresh_fleet(
        servers in fleets(),
        queries in proptest::collection::vec(queries(), 1..4),
        steps in proptest::collection::vec((0..5u8, 0..9usize), 0..12),
        placement in placements(),
    ) {
        let mut fleet = Fleet::new(servers.clone(), Placement::Spread);
        let mut taken = Vec::new();
        for (step, at) in steps {
            let query = &queries[at % queries.len()];
            match step {
                0 | 1 => {
                    if let Some(choice) = fleet.best(query, None) {
                        fleet.take(choice.place, query.needs());
                        taken.push((choice.place, query.needs()));
                    }
                }
                2 if !taken.is_empty() => {
                    let (place, needs) = taken.swap_remove(at % taken.len());
                    fleet.give_back(place, needs);
                }
                3 => fleet.place_by(if at % 2 == 0 { Placement::Pack } else { Placement::Spread }),
                _ => {
                    if let Some(mut server) = servers.get(at).and_then(|server| fleet.get(server.id)).cloned() {
                        server.drained = server.drained.is_none().then(String::new);
                        fleet.set(server);
                    }
                }
            }
        }
        fleet.place_by(placement);
        let anew = Fleet::new(fleet.servers().cloned().collect(), placement);
        for query in &queries {
            prop_assert_eq!(fleet.best(query, None), anew.best(query, None));
        }
    }

    #[test]
    fn server_that_fits_now_could_ever_fit(servers in fleets(), query in queries()) {
        let fleet = spread(servers);
        prop_assert!(fleet.best(&query, Some(TaskId(5))).is_none() || fleet.could_ever(&query));
    }

    #[test]
    fn server_that_could_never_fit_does_not_fit_when_free(servers in fleets(), query in queries()) {
        let fleet = spread(servers.clone());
        if fleet.could_ever(&query) {
            return Ok(());
        }
        prop_assert!(spread(idle(servers)).best(&query, None).is_none());
    }

    #[test]
    fn giving_back_restores_the_fleet(servers in fleets(), query in queries(), times in 1..4usize) {
        let mut fleet = spread(servers);
        let before = fleet.explain(&query, None, NOW);
        let mut places = Vec::new();
        for _ in 0..times {
            let Some(choice) = fleet.best(&query, None) else { break };
            fleet.take(choice.place, query.needs());
            places.push(choice.place);
        }
        for server in fleet.servers() {
            prop_assert!(server.taken.slots <= server.slots.max(2), "{} overbooked", server.name);
        }
        for place in places {
            fleet.give_back(place, query.needs());
        }
        prop_assert_eq!(fleet.explain(&query, None, NOW), before);
    }
}

#[test]
fn could_ever_ignores_what_changes() {
    let mut busy = server(1, "fast");
    busy.taken.slots = 8;
    busy.drained = Some("fan".into());
    declare(&mut busy, "rack", 7);
    probe(&mut busy, "tokens", 0);
    let fleet = spread(vec![busy]);
    for possible in [
        "server.load1 > 100.0",
        "server.rack == 7",
        "server.tokens > 3",
        "server.mem_available > 99 && server.cpus == 8",
    ] {
        assert!(fleet.could_ever(&wanting(possible)), "{possible}");
    }
    for never in [
        "server.rack == 8",
        "server.cpus > 8",
        "server.nothing == 1",
        // Nothing ever sets these: a task that waited for them would wait for ever.
        "server.running < 2",
        "server.waiting == 0",
        "server.gpus_free > 0",
        "server.load1 < 9.0 && server.rack == 8",
        "!has(server.rack)",
    ] {
        assert!(!fleet.could_ever(&wanting(never)), "{never}");
    }
    let cpus = |cpus| query(&Demand { needs: Needs { cpus, mem: None }, ..demand() });
    assert!(fleet.could_ever(&cpus(8)) && !fleet.could_ever(&cpus(9)));
    // A group's numbers are derived from its members', and change with them.
    let mut farm = server(2, "farm");
    farm.engine = Engine::Group { members: vec![ServerId(1)] };
    farm.pool = None;
    farm.attributes.values_mut().for_each(|attribute| attribute.source = crate::model::attribute::Source::Reported);
    let fleet = spread(vec![server(1, "fast"), farm]);
    let on_farm = |constraint: &str| {
        query(&Demand { on: Some("farm".parse().unwrap()), constraint: Some(constraint.into()), ..demand() })
    };
    assert!(fleet.could_ever(&on_farm("server.load1 > 100.0")) && !fleet.could_ever(&on_farm("server.cpus > 100")));
    // Never read: it may turn out to be anything but what is declared.
    let mut unread = server(2, "new");
    unread.pool = None;
    unread.attributes.retain(|_, _| false);
    declare(&mut unread, "rack", 7);
    let fleet = spread(vec![unread]);
    assert!(fleet.could_ever(&cpus(999)) && fleet.could_ever(&wanting("server.os == \"linux\" && server.rack == 7")));
    assert!(!fleet.could_ever(&wanting("server.os == \"linux\" && server.rack == 8")));
}

#[test]
fn preference_ranks_before_idle_power_and_name() {
    let mut a = server(1, "a");
    probe(&mut a, "idle_cpus", 1.0);
    declare(&mut a, "site", "brno");
    let mut b = server(2, "b");
    declare(&mut b, "site", "oslo");
    let c = server(3, "c");
    let fleet = spread(vec![c, b, a]);
    assert_eq!(chosen(&fleet, &query(&demand())).as_deref(), Some("b"));
    assert_eq!(chosen(&fleet, &preferring("server.site == \"brno\"")).as_deref(), Some("a"));
    // c has no site, so it ranks below b, whose answer is false.
    assert_eq!(chosen(&fleet, &preferring("server.site == \"prague\"")).as_deref(), Some("b"));
    let mut with = user();
    with.prefer = Some("server.site == \"brno\"".into());
    let task = Demand { prefer: Some("server.cpus".into()), ..demand() };
    assert_eq!(chosen(&fleet, &Query::new(&task, &with, &client()).unwrap()).as_deref(), Some("a"));
}

#[test]
fn explanation_says_what_put_the_first_server_before_the_next() {
    let mut a = server(1, "a");
    probe(&mut a, "idle_cpus", 1.0);
    declare(&mut a, "site", "brno");
    let fleet = spread(vec![a.clone(), server(2, "b")]);
    let said = |fleet: &Fleet, query: &Query| -> Vec<String> {
        let first = fleet.explain(query, None, NOW).into_iter().find(|verdict| !verdict.reasons.is_empty());
        assert_eq!(first.as_ref().map(|verdict| verdict.server.to_string()), chosen(fleet, query));
        first.unwrap().reasons
    };
    assert_eq!(said(&fleet, &query(&demand())), ["first by idle power: 75, before a with 10"]);
    let mut with = user();
    with.prefer = Some("server.site == \"brno\"".into());
    let asked =
        |prefer: &str| Query::new(&Demand { prefer: Some(prefer.into()), ..demand() }, &with, &client()).unwrap();
    assert_eq!(said(&fleet, &asked("server.idle_cpus"))[0], "first by --prefer: 7.5, before a with 1");
    let same = Query::new(&Demand { prefer: Some("server.cpus".into()), ..demand() }, &with, &client()).unwrap();
    assert_eq!(said(&fleet, &same)[0], "first by the user's preference: 1, before b with no number");
    let pack = Fleet::new(vec![a.clone(), server(2, "b")], Placement::Pack);
    assert_eq!(said(&pack, &query(&demand())), ["first by the least idle power: 10, before b with 75"]);
    let twins = spread(vec![server(1, "a"), server(2, "b")]);
    assert_eq!(said(&twins, &query(&demand())), ["first by name: b ranks the same"]);
    // One alone needs no reason.
    assert!(spread(vec![a]).explain(&query(&demand()), None, NOW)[0].reasons.is_empty());
}

#[test]
fn burst_spreads_over_hosts() {
    let mut fleet = spread((1..=4).map(|id| server(id, &format!("n{id}"))).collect());
    let query = query(&demand());
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..16 {
        let place = fleet.best(&query, None).unwrap().place;
        fleet.take(place, query.needs());
        *counts.entry(place.server.0).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [4, 4, 4, 4]);
}
