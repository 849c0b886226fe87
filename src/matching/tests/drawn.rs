//! Fleets and queries, drawn at random.

use super::world::*;
use crate::matching::{Placement, Query};
use crate::model::attribute::Value;
use crate::model::demand::Demand;
use crate::model::id::{HostId, ServerId, TaskId};
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Health, Server, Taken};
use proptest::prelude::*;

/// Few values each, so that ties and refusals are common.
#[derive(Debug, Clone)]
struct Seed {
    health: u8,
    slots: (u32, u32),
    cpus: (u32, u32),
    mem_available: u64,
    load: (f64, Option<f64>, i32),
    idle: f64,
    rack: Option<i64>,
    apps: Vec<&'static str>,
    accepts: Option<&'static str>,
    kept: bool,
    shared_host: bool,
    group: Option<Vec<i64>>,
}

fn seeds() -> impl Strategy<Value = Seed> {
    let accepts = [
        None,
        None,
        Some("\"staff\" in user.groups"),
        Some("task.cpus < 3"),
        Some("server.rack == 7 || task.priority > 0"),
        Some("user.groups =="),
    ];
    let apps = proptest::sample::subsequence(vec!["blender", "ffmpeg"], 0..3);
    (
        (0..10u8, (1..4u32, 0..3u32), (1..6u32, 0..4u32), 0..4u64),
        ((0..4u8).prop_map(f64::from), proptest::option::weighted(0.3, (1..4u8).prop_map(f64::from)), -2..3i32),
        ((0..3u8).prop_map(f64::from), proptest::option::of(6..9i64), apps, proptest::sample::select(accepts.to_vec())),
        (proptest::bool::weighted(0.1), any::<bool>()),
        proptest::option::weighted(0.15, proptest::collection::vec(1..9i64, 1..4)),
    )
        .prop_map(|((health, slots, cpus, mem), load, (idle, rack, apps, accepts), (kept, shared_host), group)| {
            Seed {
                health,
                slots,
                cpus,
                mem_available: mem * GIB,
                load,
                idle,
                rack,
                apps,
                accepts,
                kept,
                shared_host,
                group,
            }
        })
}

fn grow(at: usize, seed: &Seed) -> Server {
    let id = at as i64 + 1;
    // Names in another order than ids, and some the same in two distributors.
    let mut server = server(id, &format!("n{}", (at * 5) % 7));
    server.distributor_name = format!("lab{at}").parse().unwrap();
    match seed.health {
        0 => server.health = Health::Unknown,
        1 => server.drained = Some("fan".into()),
        2 => server.pool = None,
        _ => {}
    }
    server.slots = seed.slots.0;
    server.taken = Taken { slots: seed.slots.1, cpus: 0, mem: Bytes(0) };
    server.max_load = seed.load.1;
    server.kept_for = seed.kept.then_some(TaskId(5));
    server.accepts = seed.accepts.map(str::to_owned);
    if let Some(pool) = &mut server.pool {
        pool.cpus = seed.cpus.0;
        pool.taken.cpus = seed.cpus.1;
        pool.mem_available = Bytes(seed.mem_available);
        pool.started_since = seed.load.2;
        if seed.shared_host {
            // All alike, as rows of one reading are.
            let mut shared = super::world::server(99, "x").pool.unwrap();
            shared.host = HostId(99);
            *pool = shared;
        }
    }
    probe(&mut server, "load1", seed.load.0);
    probe(&mut server, "idle_cpus", seed.idle);
    probe(&mut server, "apps", Value::texts(&seed.apps));
    if let Some(rack) = seed.rack {
        declare(&mut server, "rack", rack);
    }
    if let Some(members) = &seed.group {
        server.engine = Engine::Group { members: members.iter().map(|m| ServerId(*m)).collect() };
        server.pool = None;
    }
    server
}

pub fn fleets() -> impl Strategy<Value = Vec<Server>> {
    proptest::collection::vec(seeds(), 0..9)
        .prop_map(|seeds| seeds.iter().enumerate().map(|(at, seed)| grow(at, seed)).collect())
}

pub fn queries() -> impl Strategy<Value = Query> {
    let constraints = [
        None,
        Some("server.rack == 7"),
        Some("server.rack >= 7 && server.load1 < 2.5"),
        Some("has(server.rack) || \"ffmpeg\" in server.apps"),
        Some("server.idle_cpus > 0.5"),
        Some("!(server.load1 > 1.0 && server.rack == 6)"),
        Some("!has(server.rack) && server.mem_available > 1000"),
    ];
    let prefers = ["server.rack", "-server.load1", "server.rack == 8", "0.0 / 0.0"];
    let preference = proptest::option::weighted(0.4, proptest::sample::select(prefers.to_vec()));
    (
        (1..4u32, proptest::option::of(1..5u64)),
        proptest::sample::subsequence(vec!["blender", "ffmpeg"], 0..2),
        proptest::sample::select(constraints.to_vec()),
        // Half of them have none, for then the servers' own order decides.
        (preference.clone(), prop_oneof![4 => Just(None), 1 => preference]),
        (proptest::option::weighted(0.1, Just("n3")), proptest::option::weighted(0.2, Just("n0"))),
        proptest::option::weighted(0.2, proptest::sample::select(constraints[1..].to_vec())),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |((cpus, mem), apps, constraint, (prefer, user_prefer), (on, exclude), required, shared_account)| {
                let demand = Demand {
                    needs: Needs { cpus, mem: mem.map(|mem| Bytes(mem * GIB)) },
                    apps: apps.into_iter().map(|app| app.parse().unwrap()).collect(),
                    constraint: constraint.map(Into::into),
                    prefer: prefer.map(Into::into),
                    on: on.map(|on| on.parse().unwrap()),
                    exclude: exclude.map(|t| t.parse().unwrap()).into_iter().collect(),
                    shared_account,
                    ..demand()
                };
                let mut user = user();
                user.prefer = user_prefer.map(str::to_owned);
                user.constraint = required.flatten().map(str::to_owned);
                Query::new(&demand, &user, &client()).unwrap()
            },
        )
}

pub fn placements() -> impl Strategy<Value = Placement> {
    prop_oneof![Just(Placement::Spread), Just(Placement::Pack)]
}
