//! The machine that a server reports, and the machine that has the outputs of earlier attempts.

use super::fixture::{self, facts, name};
use crate::model::attempt::{Cause, End, Usage};
use crate::model::attribute::{Source, Value};
use crate::model::facts::Facts;
use crate::model::id::{AttemptKey, BootId, Epoch, Index, ServerId};
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Pool, SHARED_ACCOUNT};
use crate::model::ssh::SshTarget;
use crate::model::time::Timestamp;
use crate::model::user::Role;
use crate::ops::servers::NewWay;
use crate::ops::users::UserParts;
use crate::ops::{Grid, servers, sql, users};
use crate::store::attributes::Owner;
use crate::store::declared::Declared;
use crate::store::ledger::Ledger;
use crate::store::members::Outputs;
use crate::store::placing::Placing;
use crate::store::{Durability, StoreError, Tx};
use std::time::Duration;

fn write<T>(grid: &mut Grid, change: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> T {
    grid.store.write(Durability::Normal, change).unwrap()
}

/// Another server, over ssh.
fn add(grid: &mut Grid, called: &str) -> ServerId {
    write(grid, |tx| {
        let tier2 = tx.distributor("tier2")?.unwrap().id;
        let target = SshTarget::new(called, vec![], None).unwrap();
        tx.add_server(&name(called), tier2, &Engine::Ssh(target), Timestamp::now())
    })
}

fn read(grid: &mut Grid, server: ServerId, facts: &Facts) -> Pool {
    write(grid, |tx| tx.record_facts(server, facts, Timestamp::now()));
    pool(grid, server)
}

fn pool(grid: &Grid, server: ServerId) -> Pool {
    grid.store.view().server_by_id(server).unwrap().unwrap().pool.unwrap()
}

#[test]
fn server_that_claims_another_machine_does_not_change_that_one() {
    let (_dir, mut grid) = fixture::grid();
    let (good, liar) = (add(&mut grid, "good"), add(&mut grid, "liar"));
    let honest = Facts { machine: "m2".into(), boot: BootId("its-own".into()), ..facts() };
    let before = read(&mut grid, good, &honest);
    let lie = Facts {
        boot: BootId("made-up".into()),
        cpus: 1,
        mem_total: Bytes(1),
        mem_available: Bytes(0),
        ..honest.clone()
    };
    let lied = read(&mut grid, liar, &lie);
    assert_eq!(pool(&grid, good), before);
    assert_ne!(lied.host, before.host);
    // A second name of the same machine reports its boot, and shares its resources.
    let alias = add(&mut grid, "alias");
    assert_eq!(read(&mut grid, alias, &honest).host, before.host);
}

#[test]
fn host_that_was_booted_keeps_what_is_taken_and_leaves_no_row_behind() {
    let (_dir, mut grid) = fixture::grid();
    let server = add(&mut grid, "one");
    let before = Facts { machine: "m2".into(), ..facts() };
    read(&mut grid, server, &before);
    write(&mut grid, |tx| tx.take(server, server, Needs { cpus: 2, mem: None }));
    let after = read(&mut grid, server, &Facts { boot: BootId("next".into()), ..before });
    assert_eq!(after.taken.cpus, 2);
    let hosts = sql::query(&grid, "select * from host where machine = 'm2'").unwrap().rows.len();
    assert_eq!(hosts, 1);
}

#[test]
fn machine_is_recorded_for_each_server_separately() {
    let (_dir, mut grid) = fixture::grid();
    let (good, liar) = (add(&mut grid, "good"), add(&mut grid, "liar"));
    let then = Timestamp::now();
    let later = then.plus(Duration::from_secs(3600));
    let machine = write(&mut grid, |tx| {
        let machine = tx.machine("m2", "h2")?;
        tx.answers(good, machine, then)?;
        let claimed = tx.machine("m2", "h2")?;
        tx.answers(liar, claimed, later)?;
        Ok(machine)
    });
    assert_eq!(grid.store.view().heard_of(good, machine).unwrap(), Some(then));
    let other = write(&mut grid, |tx| tx.machine("m2", "not h2"));
    assert_ne!(machine, other, "a row says one host name for good");
}

#[test]
fn outputs_of_an_earlier_attempt_are_dropped_by_the_machine_that_has_them() {
    let (_dir, mut grid) = fixture::grid();
    let server = add(&mut grid, "pool");
    let task = fixture::add_task(&mut grid, fixture::draft());
    let mut machines = Vec::new();
    for (hostname, again) in [("h1", true), ("h2", false)] {
        machines.push(write(&mut grid, |tx| {
            let machine = tx.machine(hostname, hostname)?;
            let now = Timestamp::now();
            let boot = BootId("b1".into());
            let lane = tx.new_lane()?;
            let at = Placing {
                server,
                host: server,
                boot,
                machine: Some(machine),
                lane,
                sent: Some(Epoch(1)),
                verdict: None,
            };
            let mut ledger = Ledger::open(tx, now);
            let number = ledger.claim(task, 1, &at, &|_| true)?.pop().unwrap().number;
            let key = AttemptKey { task, index: Index(0), number };
            ledger.began(key, now)?;
            let (cause, usage) = (Cause::Exited { code: 1 }, Usage::default());
            let end = End {
                cause,
                started_at: None,
                ended_at: now,
                usage,
                out_len: 1,
                err_len: 0,
                cut: None,
                without: Vec::new(),
            };
            ledger.ended(key, &end, Outputs::Server, again)?;
            ledger.close()?;
            Ok(machine)
        }));
    }
    write(&mut grid, |tx| tx.discard_of(task));
    let mut found = grid.store.view().discards().unwrap();
    found.sort_by_key(|discard| discard.attempt.number);
    let found: Vec<_> = found.into_iter().map(|discard| discard.machine.unwrap()).collect();
    assert_eq!(found, machines);
}

#[test]
fn power_of_a_host_is_the_best_that_was_seen_since_its_boot() {
    let (_dir, mut grid) = fixture::grid();
    let (one, two) = (add(&mut grid, "one"), add(&mut grid, "two"));
    let host = |power| Facts { machine: "m2".into(), boot: BootId("b2".into()), power, ..facts() };
    let power = |grid: &Grid, server| {
        let server = grid.store.view().server_by_id(server).unwrap().unwrap();
        server.attributes["power"].value.clone()
    };
    read(&mut grid, one, &host(983.0));
    read(&mut grid, two, &host(273.0));
    assert_eq!((power(&grid, one), power(&grid, two)), (983.0.into(), 983.0.into()));
    read(&mut grid, two, &host(1000.0));
    assert_eq!(power(&grid, one), 1000.0.into());
    read(&mut grid, one, &Facts { cpus: 2, ..host(500.0) });
    assert_eq!(power(&grid, one), 500.0.into(), "of fewer processors");
    read(&mut grid, one, &Facts { boot: BootId("b3".into()), ..host(300.0) });
    assert_eq!((power(&grid, one), power(&grid, two)), (300.0.into(), 500.0.into()), "after a boot");
}

#[test]
fn probed_attribute_replaces_none_that_is_built_in_or_the_owners() {
    let (_dir, mut grid) = fixture::grid();
    let server = add(&mut grid, "one");
    let said = [
        ("load1", 0.into()),
        ("cpus", 99.into()),
        (SHARED_ACCOUNT, true.into()),
        ("max_load", 1.into()),
        ("rack", 7.into()),
    ];
    let probed = said.map(|(name, value): (&str, Value)| (name.into(), value)).into();
    read(&mut grid, server, &Facts { machine: "m2".into(), probed, ..facts() });
    let attributes = grid.store.view().server_by_id(server).unwrap().unwrap().attributes;
    assert_eq!((&attributes["load1"].value, &attributes["cpus"].value), (&0.5.into(), &4.into()));
    assert_eq!((attributes.get(SHARED_ACCOUNT), attributes.get("max_load")), (None, None));
    assert_eq!(attributes["rack"].value, 7.into());
    // What the owner declares is believed as before.
    write(&mut grid, |tx| {
        tx.set_attributes(Owner::Server(server.0), &[("load1".into(), 9.into())].into(), Source::Declared, Timestamp(0))
    });
    assert_eq!(grid.store.view().server_by_id(server).unwrap().unwrap().attributes["load1"].value, 9.into());
}

#[test]
fn probed_applications_are_told_as_probed_beside_declared_ones() {
    let (_dir, mut grid) = fixture::grid();
    let declared = Declared { apps: vec![(name("blender"), Some("4.1".into()))], ..Declared::default() };
    servers::set(&mut grid, &name("local"), &NewWay::default(), &declared).unwrap();
    let shown = servers::show(&grid, "local").unwrap().attributes;
    let of = |name: &str| (shown[name].value.to_string(), shown[name].source);
    assert_eq!(of("apps"), ("blender,python3".to_owned(), Source::Probed));
    assert_eq!(of("app"), ("blender=4.1".to_owned(), Source::Declared));
    assert!(shown["apps"].read_at < shown["app"].read_at);
}

#[test]
fn ages_of_a_user_are_those_of_the_last_change() {
    let (_dir, mut grid) = fixture::grid();
    let parts = UserParts { share: Some(3), ..UserParts::default() };
    let id = write(&mut grid, |tx| tx.add_user(&name("alice"), Timestamp(1_000)));
    let age = |grid: &Grid| users::show(grid, "alice").unwrap().attributes["share"].read_at;
    assert_eq!(age(&grid), Timestamp(1_000));
    users::set(&mut grid, &name("alice"), &parts).unwrap();
    let set = age(&grid);
    assert!(set > Timestamp(1_000));
    write(&mut grid, |tx| tx.set_role(id, Role::SeeAll, set.plus(Duration::from_secs(60))));
    assert_eq!(age(&grid), set.plus(Duration::from_secs(60)));
}

#[test]
fn idle_processors_of_a_distributor_are_no_more_than_its_parts_have() {
    let (_dir, mut grid) = fixture::grid();
    let tier2 = grid.store.view().distributor("tier2").unwrap().unwrap().id;
    let load = |grid: &Grid| grid.store.view().load_of(tier2).unwrap();
    assert_eq!((load(&grid).idle_cpus, load(&grid).power), (3.5, 400.0));
    let declared = Declared { cpus: Some(1), ..Declared::default() };
    servers::set(&mut grid, &name("local"), &NewWay::default(), &declared).unwrap();
    assert_eq!((load(&grid).idle_cpus, load(&grid).power), (1.0, 100.0));
    let local = grid.store.view().server("local").unwrap().unwrap().id;
    write(&mut grid, |tx| tx.take(local, local, Needs { cpus: 1, mem: None }));
    assert_eq!(load(&grid).idle_cpus, 0.0);
}

#[test]
fn pool_of_a_host_has_as_many_processors_as_the_most_that_are_declared_there() {
    let (_dir, mut grid) = fixture::grid();
    let (one, two) = (add(&mut grid, "one"), add(&mut grid, "two"));
    let host = Facts { machine: "m2".into(), boot: BootId("b2".into()), ..facts() };
    read(&mut grid, one, &host);
    read(&mut grid, two, &host);
    let declare = |grid: &mut Grid, cpus| {
        write(grid, |tx| tx.declare_server(one, &Declared { cpus: Some(cpus), ..Declared::default() }, Timestamp(0)));
    };
    declare(&mut grid, 10);
    let two = grid.store.view().server_by_id(two).unwrap().unwrap();
    assert_eq!((pool(&grid, one).cpus, two.pool.unwrap().cpus, two.cpus, two.slots), (10, 10, 4, 4));
    declare(&mut grid, 2);
    assert_eq!(pool(&grid, one).cpus, 4);
}
