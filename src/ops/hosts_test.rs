//! The machine that a server reports, and the machine that has the outputs of earlier attempts.

use super::fixture::{self, facts, name};
use crate::model::attempt::{Cause, End, Usage};
use crate::model::facts::Facts;
use crate::model::id::{AttemptKey, BootId, Epoch, Index, ServerId};
use crate::model::resources::{Bytes, Needs};
use crate::model::server::{Engine, Pool};
use crate::model::ssh::SshTarget;
use crate::model::time::Timestamp;
use crate::ops::{Grid, sql};
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
            let end = End { cause, started_at: None, ended_at: now, usage, out_len: 1, err_len: 0, cut: None };
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
