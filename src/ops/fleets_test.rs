//! Fleets that catch up equal fleets that are read anew, after any changes.

use super::fixture::{self, facts, name};
use crate::distributor::fleets::Fleets;
use crate::model::attribute::Value;
use crate::model::distributor::Tier;
use crate::model::facts::Facts;
use crate::model::id::{DistributorId, ServerId, TaskId};
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Server, Taken};
use crate::model::ssh::SshTarget;
use crate::model::time::Timestamp;
use crate::store::declared::Declared;
use crate::store::{Durability, StoreError, Tx, View};
use proptest::prelude::*;

/// A change of one of eight servers between two questions.
#[derive(Debug, Clone)]
enum Step {
    Add,
    Group,
    Remove,
    Read { machine: u8, load: f64 },
    Down,
    Declare { slots: u32, zone: i64 },
    Drain(bool),
    Keep(bool),
    Take { of: usize, cpus: u32 },
    GiveBack { of: usize, cpus: u32 },
    Setting(bool),
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        3 => Just(Step::Add),
        1 => Just(Step::Group),
        1 => Just(Step::Remove),
        3 => (0..3u8, 0.0..4.0f64).prop_map(|(machine, load)| Step::Read { machine, load }),
        1 => Just(Step::Down),
        1 => (1..5u32, 0..3i64).prop_map(|(slots, zone)| Step::Declare { slots, zone }),
        1 => any::<bool>().prop_map(Step::Drain),
        1 => any::<bool>().prop_map(Step::Keep),
        3 => (0..8usize, 1..3u32).prop_map(|(of, cpus)| Step::Take { of, cpus }),
        2 => (0..8usize, 1..3u32).prop_map(|(of, cpus)| Step::GiveBack { of, cpus }),
        1 => any::<bool>().prop_map(Step::Setting),
    ];
    (0..8usize, step)
}

fn happen(tx: &Tx<'_>, (at, step): &(usize, Step), distributors: &[DistributorId]) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let called = |at: usize| format!("n{at}");
    let there = |at: usize| Ok::<_, StoreError>(tx.server(&called(at))?.map(|server| server.id));
    let add = |engine: &Engine| tx.add_server(&name(&called(*at)), distributors[at % 2], engine, now).map(drop);
    let Some(id) = there(*at)? else {
        return match step {
            Step::Add => add(&Engine::Ssh(SshTarget::new(&called(*at), vec![], None).unwrap())),
            Step::Group => {
                let all = tx.servers_of(distributors[at % 2])?;
                let hosts = all.iter().filter(|s| !matches!(s.engine, Engine::Group { .. }));
                let members: Vec<ServerId> = hosts.map(|s| s.id).take(2).collect();
                if members.is_empty() { Ok(()) } else { add(&Engine::Group { members }) }
            }
            _ => Ok(()),
        };
    };
    let needs = |cpus: &u32| Needs { cpus: *cpus, mem: Some(Bytes(1 << 20)) };
    match step {
        Step::Add | Step::Group => Ok(()),
        Step::Remove => tx.remove_server(id),
        Step::Read { machine, load } => {
            let facts = Facts { machine: format!("m{machine}"), load1: *load, ..facts() };
            tx.record_facts(id, &facts, now)
        }
        Step::Down => tx.record_down(id, "no answer", now).map(drop),
        Step::Declare { slots, zone } => {
            let attributes = [("zone".into(), Value::Int(*zone))].into();
            tx.declare_server(id, &Declared { slots: Some(*slots), attributes, ..Declared::default() }, now)
        }
        Step::Drain(drained) => tx.set_drained(id, drained.then_some("for a while")),
        Step::Keep(kept) => tx.keep_server(id, kept.then_some(TaskId(7))),
        // A dispatcher reserves this way; it does not count as a change of the servers.
        Step::Take { of, cpus } => tx.take(id, there(*of)?.unwrap_or(id), needs(cpus)),
        Step::GiveBack { of, cpus } => {
            let host = there(*of)?.unwrap_or(id);
            let holds = |taken: Taken| taken.cpus >= *cpus && taken.mem.0 >= 1 << 20;
            let of_server = |server: &Server| server.taken.slots > 0 && holds(server.taken);
            let (server, at_host) = (tx.server_by_id(id)?, tx.server_by_id(host)?);
            let of_pool = at_host.as_ref().and_then(|s| s.pool.as_ref()).is_none_or(|pool| holds(pool.taken));
            let is_held = server.iter().chain(&at_host).all(of_server) && of_pool;
            if is_held { tx.give_back(id, host, needs(cpus)) } else { Ok(()) }
        }
        Step::Setting(pack) => tx.set_setting("placement", pack.then_some("pack")),
    }
}

fn servers(fleets: &Fleets) -> Vec<Server> {
    let mut all: Vec<Server> = fleets.servers().cloned().collect();
    all.sort_by_key(|server| server.id);
    all
}

fn asked<'f>(
    fleets: &'f mut Fleets,
    view: &View<'_>,
    distributors: &[DistributorId],
    now: Timestamp,
) -> Result<&'f Fleets, StoreError> {
    fleets.catch_up(view, now)?;
    for distributor in distributors {
        fleets.of(view, *distributor, now)?;
    }
    Ok(fleets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fleets_that_catch_up_are_as_if_read_anew(
        history in prop::collection::vec(prop::collection::vec(step(), 1..5), 1..16),
    ) {
        let (_dir, mut grid) = fixture::grid();
        let distributors = grid.store.write::<_, StoreError>(Durability::Normal, |tx| {
            let own = tx.distributor("tier2")?.unwrap().id;
            Ok([own, tx.add_distributor(&name("other"), Tier::Second, Timestamp::now())?])
        }).unwrap();
        let mut kept = Fleets::default();
        for steps in history {
            // A failed transaction is rolled back and changes nothing.
            let _ = grid.store.write(Durability::Normal, |tx| {
                steps.iter().try_for_each(|step| happen(tx, step, &distributors))
            });
            let now = Timestamp::now();
            let view = grid.store.view();
            let caught_up = servers(asked(&mut kept, &view, &distributors, now).unwrap());
            let mut fresh = Fleets::default();
            prop_assert_eq!(caught_up, servers(asked(&mut fresh, &view, &distributors, now).unwrap()));
        }
    }
}
