//! Small worlds: servers, users and clients with only what a test says.

use crate::matching::{Fleet, Placement, Query};
use crate::model::attribute::{Attribute, Source, Value};
use crate::model::client::Client;
use crate::model::demand::Demand;
use crate::model::id::{ClientId, DistributorId, HostId, ServerId, UserId};
use crate::model::resources::Bytes;
use crate::model::server::{Engine, Health, Pool, Server, Taken};
use crate::model::time::Timestamp;
use crate::model::user::User;

/// When all readings of these worlds were taken; `NOW` is 12 s later.
pub const READ: Timestamp = Timestamp(1_000_000);
pub const NOW: Timestamp = Timestamp(1_012_000);
pub const GIB: u64 = 1 << 30;

/// An idle server of 8 processors and 16 GiB on a host of its own.
pub fn server(id: i64, name: &str) -> Server {
    let mut server = Server {
        id: ServerId(id),
        name: name.parse().unwrap(),
        distributor: DistributorId(1),
        distributor_name: "tier2".parse().unwrap(),
        engine: Engine::Local,
        health: Health::Up,
        drained: None,
        slots: 8,
        cpus: 8,
        mem: Bytes(16 * GIB),
        taken: Taken::default(),
        max_load: None,
        accepts: None,
        kept_for: None,
        pool: Some(Pool {
            host: HostId(id),
            cpus: 8,
            mem_total: Bytes(16 * GIB),
            mem_available: Bytes(12 * GIB),
            taken: Taken::default(),
            started_since: 0,
            mem_since: 0,
            read_at: READ,
        }),
        attributes: Default::default(),
    };
    probe(&mut server, "cpus", 8);
    probe(&mut server, "load1", 0.5);
    probe(&mut server, "idle_cpus", 7.5);
    probe(&mut server, "power", 80.0);
    probe(&mut server, "mem_total", 16 * GIB as i64);
    probe(&mut server, "mem_available", 12 * GIB as i64);
    probe(&mut server, "os", "linux");
    server
}

pub fn probe(server: &mut Server, name: &str, value: impl Into<Value>) {
    put(server, name, value, Source::Probed);
}

pub fn declare(server: &mut Server, name: &str, value: impl Into<Value>) {
    put(server, name, value, Source::Declared);
}

fn put(server: &mut Server, name: &str, value: impl Into<Value>, source: Source) {
    server.attributes.insert(name.into(), Attribute { value: value.into(), source, read_at: READ });
}

pub fn user() -> User {
    User {
        id: UserId(1),
        name: "alice".parse().unwrap(),
        groups: vec!["staff".parse().unwrap()],
        share: 2,
        prefer: None,
        constraint: None,
        attributes: Default::default(),
    }
}

pub fn client() -> Client {
    let mut attributes = crate::model::attribute::Attributes::new();
    attributes.insert("site".into(), Attribute { value: "brno".into(), source: Source::Declared, read_at: READ });
    Client {
        id: ClientId(1),
        host: "desk".into(),
        user: "alice".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        attributes,
    }
}

pub fn demand() -> Demand {
    Demand::default()
}

pub fn query(demand: &Demand) -> Query {
    Query::new(demand, &user(), &client()).unwrap()
}

pub fn wanting(constraint: &str) -> Query {
    query(&Demand { constraint: Some(constraint.into()), ..demand() })
}

pub fn preferring(prefer: &str) -> Query {
    query(&Demand { prefer: Some(prefer.into()), ..demand() })
}

pub fn spread(servers: Vec<Server>) -> Fleet {
    Fleet::new(servers, Placement::Spread)
}

/// The name of the server that `best` chooses.
pub fn chosen(fleet: &Fleet, query: &Query) -> Option<String> {
    fleet.best(query, None).map(|choice| fleet.get(choice.place.server).unwrap().name.to_string())
}
