//! The matcher: one task against 10,000 servers, by kind of expression; passes over many classes; and what surrounds it.

use crate::counted::counted;
use divan::{Bencher, black_box};
use grid::matching::{ExpressionRole, Fleet, Placement, Query, Waiting, check};
use grid::model::attribute::{Attribute, Attributes, Source, Value};
use grid::model::client::Client;
use grid::model::demand::Demand;
use grid::model::id::{ClientId, DistributorId, HostId, ServerId, UserId};
use grid::model::name::Name;
use grid::model::resources::{Bytes, Needs};
use grid::model::server::{Engine, Health, Pool, Server, Taken};
use grid::model::time::Timestamp;
use grid::model::user::User;
use std::collections::BTreeMap;

const SERVERS: i64 = 10_000;
const GIB: u64 = 1 << 30;

fn name(text: &str) -> Name {
    text.parse().unwrap_or_else(|_| std::process::abort())
}

/// A server with 29 attributes, all drawn from its number.
fn server(id: i64, accepts: Option<String>) -> Server {
    // A fixed scramble: the same fleet in every run, in no order that helps.
    let draw = |salt: i64, below: i64| {
        let mixed = (id.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(salt * 1_442_695_040_888_963_407)) as u64;
        ((mixed >> 33) as i64) % below
    };
    let cpus = 4 << draw(1, 5);
    let mem = (cpus as u64) * 4 * GIB;
    let idle = draw(2, cpus * 10 + 1) as f64 / 10.0;
    let mut values: Vec<(String, Value)> = vec![
        ("cpus".into(), cpus.into()),
        ("slots".into(), cpus.into()),
        ("load1".into(), (cpus as f64 - idle).into()),
        ("idle_cpus".into(), idle.into()),
        ("power".into(), (cpus as f64 * (8 + draw(3, 8)) as f64).into()),
        ("mem_total".into(), (mem as i64).into()),
        ("mem_available".into(), ((mem / 2) as i64).into()),
        ("disk_free".into(), (draw(4, 4000) << 30).into()),
        ("gpus".into(), draw(5, 5).into()),
        ("os".into(), "linux".into()),
        ("arch".into(), "x86_64".into()),
        ("kernel".into(), "6.1.0-18-amd64".into()),
        ("hostname".into(), format!("n{id}").as_str().into()),
        ("site".into(), ["brno", "oslo", "wien", "graz"][draw(6, 4) as usize].into()),
        ("rack".into(), draw(7, 40).into()),
    ];
    let apps: Vec<&str> = ["gcc", "python3", "ffmpeg", "blender", "octave", "R"]
        .into_iter()
        .enumerate()
        .filter(|(at, _)| draw(10 + *at as i64, 3) > 0)
        .map(|(_, app)| app)
        .collect();
    let versions: BTreeMap<Box<str>, Value> =
        apps.iter().map(|app| ((*app).into(), ["3.6", "4.1", "4.2"][draw(8, 3) as usize].into())).collect();
    values.push(("apps".into(), Value::texts(&apps)));
    values.push(("app_version".into(), Value::Map(versions)));
    for n in 0..12 {
        values.push((format!("label{n}"), draw(20 + n, 100).into()));
    }
    let read_at = Timestamp(0);
    let attributes: Attributes = values
        .into_iter()
        .map(|(name, value)| (name.into(), Attribute { value, source: Source::Probed, read_at }))
        .collect();
    Server {
        id: ServerId(id),
        name: name(&format!("n{id}")),
        distributor: DistributorId(1),
        distributor_name: name("tier2"),
        engine: Engine::Local,
        health: Health::Up,
        drained: None,
        slots: cpus as u32,
        cpus: cpus as u32,
        mem: Bytes(mem),
        taken: Taken::default(),
        max_load: None,
        accepts,
        kept_for: None,
        pool: Some(Pool {
            host: HostId(id),
            cpus: cpus as u32,
            mem_total: Bytes(mem),
            mem_available: Bytes(mem / 2),
            taken: Taken::default(),
            started_since: 0,
            mem_since: 0,
            read_at,
        }),
        attributes,
    }
}

fn fleet(accepts: impl Fn(i64) -> Option<String>) -> Fleet {
    fleet_of(SERVERS, accepts)
}

fn fleet_of(servers: i64, accepts: impl Fn(i64) -> Option<String>) -> Fleet {
    Fleet::new((1..=servers).map(|id| server(id, accepts(id))).collect(), Placement::Spread)
}

fn user() -> User {
    User {
        id: UserId(1),
        name: name("alice"),
        groups: vec![name("staff")],
        share: 1,
        prefer: None,
        constraint: None,
        attributes: Attributes::new(),
    }
}

fn client() -> Client {
    let site = Attribute { value: "brno".into(), source: Source::Declared, read_at: Timestamp(0) };
    Client {
        id: ClientId(1),
        host: "desk".into(),
        user: "alice".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        attributes: Attributes::from([("site".into(), site)]),
    }
}

fn query(demand: &Demand) -> Query {
    Query::new(demand, &user(), &client()).unwrap_or_else(|_| std::process::abort())
}

/// The six kinds: compare, text and client side, list, map and version, text function with arithmetic, comprehension.
const KINDS: [(&str, &str); 6] = [
    ("compare", "server.cpus >= 16 && server.idle_cpus > 0.5 && server.rack == 7"),
    ("client", "server.site == client.site && server.load1 < 60.0"),
    ("list", "\"blender\" in server.apps && \"octave\" in server.apps && server.gpus >= 1"),
    ("map", "server.app_version[\"blender\"] == \"4.1\" || has(server.app_version.R)"),
    ("text", "server.hostname.startsWith(\"n12\") && server.mem_available / server.cpus > 1000000"),
    ("comprehension", "server.apps.exists(a, a.startsWith(\"ble\"))"),
];

/// As a task with a preference has it: every server's expressions are looked at.
#[divan::bench(args = KINDS.map(|(kind, _)| kind))]
fn best_with_preference(bencher: Bencher, kind: &str) {
    measure(bencher, kind, Some("server.power"));
}

/// Without a preference the rank is looked at first.
#[divan::bench(args = KINDS.map(|(kind, _)| kind))]
fn best(bencher: Bencher, kind: &str) {
    measure(bencher, kind, None);
}

fn measure(bencher: Bencher, kind: &str, prefer: Option<&str>) {
    let fleet = fleet(|_| None);
    let text = KINDS.iter().find(|(k, _)| *k == kind).map_or("true", |(_, text)| text);
    let needs = Needs { cpus: 2, mem: Some(Bytes(2 * GIB)) };
    let demand = Demand { needs, constraint: Some(text.into()), prefer: prefer.map(Into::into), ..Demand::default() };
    let query = query(&demand);
    bencher.bench_local(|| counted(|| fleet.best(black_box(&query), None)));
}

/// A requirement that no server meets: nothing can be passed over.
#[divan::bench]
fn nothing_matches(bencher: Bencher) {
    let fleet = fleet(|_| None);
    let query = query(&Demand { constraint: Some("server.label3 + server.label4 > 1000".into()), ..Demand::default() });
    bencher.bench_local(|| counted(|| fleet.best(black_box(&query), None)));
}

#[divan::bench]
fn applications_with_versions(bencher: Bencher) {
    let fleet = fleet(|_| None);
    let apps = ["blender>=4.1", "ffmpeg"].iter().filter_map(|app| app.parse().ok()).collect();
    let query = query(&Demand { apps, ..Demand::default() });
    bencher.bench_local(|| counted(|| fleet.best(black_box(&query), None)));
}

/// Two-sided: six texts among all servers, and one of its own for each.
#[divan::bench(args = ["shared", "own"])]
fn accepts(bencher: Bencher, kind: &str) {
    let fleet = fleet(|id| {
        let group = if id % 3 == 0 { "staff" } else { "guests" };
        let limit = if kind == "shared" { id % 3 } else { id };
        Some(format!("\"{group}\" in user.groups && task.cpus <= {}", limit + 1))
    });
    let query = query(&Demand { prefer: Some("server.power".into()), ..Demand::default() });
    bencher.bench_local(|| counted(|| fleet.best(black_box(&query), None)));
}

#[divan::bench]
fn could_ever_no(bencher: Bencher) {
    let fleet = fleet(|_| None);
    let query =
        query(&Demand { constraint: Some("server.cpus > 500 && server.load1 < 1.0".into()), ..Demand::default() });
    bencher.bench_local(|| fleet.could_ever(black_box(&query)));
}

#[divan::bench]
fn explain(bencher: Bencher) {
    let fleet = fleet(|_| None);
    let query = query(&Demand { constraint: Some(KINDS[0].1.into()), ..Demand::default() });
    bencher.bench_local(|| fleet.explain(black_box(&query), None, Timestamp(1000)));
}

#[divan::bench]
fn relaxations(bencher: Bencher) {
    let fleet = fleet(|_| None);
    let constraint = Some("server.cpus > 500 && server.rack == 7".into());
    let query = query(&Demand { constraint, ..Demand::default() });
    bencher.bench_local(|| fleet.relaxations(black_box(&query), Waiting::default()));
}

/// What a pass of the dispatcher asks of the matcher: so many waiting tasks in so many classes, each with an expression of its own,
/// on so many servers. Each class is compiled once and placed until nothing of it fits any more.
#[divan::bench(sample_count = 3, sample_size = 1, args = [
    (100_000, 10, 1_000), (100_000, 1_000, 1_000), (100_000, 100_000, 1_000), (1_000_000, 1_000, 1_000), (100_000, 1_000, 10_000),
])]
fn pass(bencher: Bencher, (tasks, classes, servers): (usize, usize, i64)) {
    bencher.with_inputs(|| fleet_of(servers, |_| None)).bench_local_values(|mut fleet| {
        let mut placed = 0;
        for class in 0..classes {
            let constraint = format!("server.rack != {} && server.label3 + {class} >= {class}", class % 40);
            let query = query(&Demand { constraint: Some(constraint.into()), ..Demand::default() });
            for _ in 0..tasks / classes {
                let Some(choice) = fleet.best(black_box(&query), None) else { break };
                fleet.take(choice.place, query.needs());
                placed += 1;
            }
        }
        placed
    });
}

#[divan::bench]
fn take_and_give_back(bencher: Bencher) {
    let mut fleet = fleet(|_| None);
    let query = query(&Demand::default());
    let Some(choice) = fleet.best(&query, None) else { return };
    bencher.bench_local(|| {
        fleet.take(choice.place, query.needs());
        fleet.give_back(choice.place, query.needs());
    });
}

#[divan::bench]
fn compile(bencher: Bencher) {
    bencher.bench_local(|| counted(|| check(black_box(KINDS[0].1), ExpressionRole::Constraint)));
}
