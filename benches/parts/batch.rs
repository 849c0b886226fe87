//! Claim and end of a batch in the database: the two transactions that a lane of short tasks costs, on the disk.

use crate::counted::counted;
use crate::world;
use divan::Bencher;
use divan::counter::ItemsCount;
use grid::model::attempt::{Cause, End, Stream, Usage};
use grid::model::id::{AttemptKey, BootId, Epoch, TaskId};
use grid::model::resources::Bytes;
use grid::model::task::Members;
use grid::model::time::Timestamp;
use grid::store::ledger::Ledger;
use grid::store::members::Outputs;
use grid::store::placing::{Claimed, Placing};
use grid::store::{Durability, Store, StoreError};
use tempfile::TempDir;

struct Array {
    _dir: TempDir,
    store: Store,
    task: TaskId,
    placing: Placing,
}

/// An array of which all waits, in a home with one server.
fn array() -> Array {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, mut store) = world::home(&dir.path().join("home"), 1);
    let (task, placing) = store
        .write(Durability::Full, |tx| {
            let members = Members::Range { first: 1, step: 1, count: 5_000_000, at_once: None };
            let class = world::class(tx, 0, true)?;
            let task = world::add_task(tx, class, &world::demand(0, true), members, Timestamp::now())?;
            let server = tx.servers()?[1].id;
            let (boot, lane) = (BootId("boot-1".into()), tx.new_lane()?);
            Ok::<_, StoreError>((
                task,
                Placing { server, host: server, boot, machine: None, lane, sent: Some(Epoch(1)), verdict: None },
            ))
        })
        .expect("an array");
    Array { _dir: dir, store, task, placing }
}

impl Array {
    fn claim(&mut self, members: u32) -> Vec<AttemptKey> {
        let claimed = self.store.write(Durability::Full, |tx| {
            let mut ledger = Ledger::open(tx, Timestamp::now());
            let claimed = ledger.claim(self.task, members, &self.placing, &|_| true)?;
            ledger.close()?;
            let key = |member: &Claimed| AttemptKey { task: self.task, index: member.index, number: member.number };
            Ok::<_, StoreError>(claimed.iter().map(key).collect::<Vec<_>>())
        });
        claimed.expect("a claim")
    }

    fn end(&mut self, members: &[AttemptKey]) {
        let now = Timestamp::now();
        let usage = Usage { cpu_ms: 2, max_rss: Bytes(3 << 20) };
        let cause = Cause::Exited { code: 0 };
        let end = End {
            cause,
            started_at: Some(now),
            ended_at: now,
            usage,
            out_len: 6,
            err_len: 0,
            cut: None,
            without: Vec::new(),
        };
        let ended = self.store.write(Durability::Full, |tx| {
            let mut ledger = Ledger::open(tx, now);
            for key in members {
                tx.keep_output(*key, Stream::Out, b"hello\n")?;
                ledger.ended(*key, &end, Outputs::Database, false)?;
            }
            ledger.close()
        });
        ended.expect("ends");
    }
}

#[divan::bench(args = [1, 10, 100, 1_000], sample_size = 1)]
fn claim(bencher: Bencher, members: u32) {
    let mut array = array();
    bencher.counter(ItemsCount::new(members)).bench_local(|| counted(|| array.claim(members)));
}

#[divan::bench(args = [1, 10, 100, 1_000], sample_size = 1)]
fn end(bencher: Bencher, members: u32) {
    let array = std::cell::RefCell::new(array());
    bencher
        .counter(ItemsCount::new(members))
        .with_inputs(|| array.borrow_mut().claim(members))
        .bench_local_values(|claimed| counted(|| array.borrow_mut().end(&claimed)));
}

/// What the disk itself takes: one page written and on the disk, in a file that does not grow.
#[divan::bench(sample_size = 1)]
fn fsync(bencher: Bencher) {
    use std::os::unix::fs::FileExt;
    let file = tempfile::tempfile().expect("a file");
    file.write_all_at(&[1; 4096], 0).and_then(|()| file.sync_all()).expect("a page");
    bencher.bench_local(|| file.write_all_at(&[2; 4096], 0).and_then(|()| file.sync_data()));
}
