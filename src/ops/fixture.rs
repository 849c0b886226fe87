//! A real home in a temporary directory, for tests of verbs.

use super::Grid;
use crate::model::attempt::{Cause, Cut, End, Stream, Usage};
use crate::model::attribute::Value;
use crate::model::facts::Facts;
use crate::model::id::{AttemptKey, BootId, Epoch, ServerId, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::server::Engine;
use crate::model::task::{ClientFacts, Request};
use crate::model::time::Timestamp;
use crate::ops::draft::Draft;
use crate::store::declared::Declared;
use crate::store::home::Seed;
use crate::store::intake::{Begins, NewTask, TierRoute};
use crate::store::ledger::Ledger;
use crate::store::members::Outputs;
use crate::store::placing::Placing;
use crate::store::{Durability, Home, Store, StoreError, Tx};
use tempfile::TempDir;

pub fn client() -> ClientFacts {
    ClientFacts { host: "desk".into(), user: "me".into(), os: "linux".into(), arch: "x86_64".into() }
}

pub fn facts() -> Facts {
    Facts {
        machine: "m1".into(),
        boot: BootId("b1".into()),
        hostname: "desk".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        kernel: "6.1".into(),
        cpus: 4,
        power: 400.0,
        load1: 0.5,
        idle_cpus: 3.5,
        mem_total: Bytes(8 << 30),
        mem_available: Bytes(6 << 30),
        disk_free: Bytes(100 << 30),
        gpus: vec![],
        apps: [("python3".parse().unwrap(), None)].into(),
        probed: [].into(),
        complaints: vec![],
        behind: [].into(),
    }
}

/// A new home. Dropping the first part removes its directory.
pub fn grid() -> (TempDir, Grid) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("h"));
    let founding = home.found().unwrap();
    let me: Name = "me".parse().unwrap();
    let store = Store::create(&home, &Seed { owner: me.clone(), client: client(), facts: facts() }).unwrap();
    drop(founding);
    (dir, Grid { store, me, client: client(), login: Default::default(), remark: None })
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Accepts a task as a second tier does.
pub fn add_task(grid: &mut Grid, draft: Draft) -> TaskId {
    let request: Request = draft.into_request(None, client()).unwrap();
    grid.store
        .write::<_, StoreError>(Durability::Normal, |tx| {
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            let user = tx.user("me")?.unwrap().id;
            let client = tx.see_client(&request.client, Timestamp::now())?;
            let class = tx.class_of(tier2, user, client, &request.demand)?;
            let search = tx.keep_note(
                r#"{"tiers":[{"tier":2,"searched":[{"distributor":"tier2","answer":"queued"}]},{"tier":1,"searched":[{"distributor":"tier1","answer":"redirect to tier2"}]}]}"#,
            )?;
            let verdict = tx.keep_note(
                r#"[{"server":"local","distributor":"tier2","qualifies":false,"reasons":["needs 999 cpus, has 4"],"score":null}]"#,
            )?;
            let new = NewTask {
                uuid: TaskUuid::new(),
                class,
                user,
                request: &request,
                begins: if request.hold { Begins::Held("held by you") } else { Begins::Waiting },
                unmatched: false,
                round: 1,
                route: TierRoute { tier1: "tier1", tier2: "tier2" },
                search: Some(search),
                verdict: Some(verdict),
                kept: 0,
                environment: None,
            };
            let task = tx.add_task(&new, Timestamp::now())?;
            if !request.hold {
                tx.set_reason(task, Some("no server is free"))?;
            }
            Ok::<_, StoreError>(task)
        })
        .unwrap()
}

/// A draft of `true`.
pub fn draft() -> Draft {
    Draft::new(crate::model::command::Command::new(vec!["true".into()]).unwrap(), "/tmp".into())
}

/// Places the next member of a task on `local` and records that it runs.
pub fn start(grid: &mut Grid, task: TaskId) -> crate::store::placing::Claimed {
    let local = grid.store.view().server("local").unwrap().unwrap().id;
    start_on(grid, task, local)
}

/// The same on any server.
pub fn start_on(grid: &mut Grid, task: TaskId, server: ServerId) -> crate::store::placing::Claimed {
    let begin = |tx: &Tx<'_>| {
        let verdict =
            tx.keep_note(r#"[{"server":"local","distributor":"tier2","qualifies":true,"reasons":[],"score":3.5}]"#)?;
        let boot = BootId("b1".into());
        let lane = tx.new_lane()?;
        let at =
            Placing { server, host: server, boot, machine: None, lane, sent: Some(Epoch(1)), verdict: Some(verdict) };
        let mut ledger = Ledger::open(tx, Timestamp::now());
        let claimed = ledger.claim(task, 1, &at, &|_| true)?.pop().unwrap();
        ledger.began(AttemptKey { task, index: claimed.index, number: claimed.number }, Timestamp::now())?;
        ledger.close()?;
        Ok::<_, StoreError>(claimed)
    };
    grid.store.write(Durability::Normal, begin).unwrap()
}

/// Ends a member; with a code other than 0 it may wait `again`.
pub fn end(grid: &mut Grid, task: TaskId, of: &crate::store::placing::Claimed, code: u8, out: &str, again: bool) {
    let key = AttemptKey { task, index: of.index, number: of.number };
    end_cut(grid, key, FixtureEnd { code, out, again, cut: None });
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub struct FixtureEnd<'a> {
    pub code: u8,
    pub out: &'a str,
    /// The member waits for its next attempt.
    pub again: bool,
    pub cut: Option<Cut>,
}

/// [`end`] with an output that may be cut.
pub fn end_cut(grid: &mut Grid, key: AttemptKey, FixtureEnd { code, out, again, cut }: FixtureEnd<'_>) {
    let now = Timestamp::now();
    let end = End {
        cause: Cause::Exited { code },
        started_at: Some(now),
        ended_at: now,
        usage: Usage::default(),
        out_len: out.len() as u64,
        err_len: 0,
        cut,
        without: Vec::new(),
    };
    let finish = |tx: &Tx<'_>| {
        tx.keep_output(key, Stream::Out, out.as_bytes())?;
        let mut ledger = Ledger::open(tx, now);
        ledger.ended(key, &end, Outputs::Database, again)?;
        ledger.close()?;
        Ok::<_, StoreError>(())
    };
    grid.store.write(Durability::Normal, finish).unwrap();
}

/// `local` with four processors, `fast` with two of them and a site, `slow`, which is drained, and `farm` of both.
pub fn world() -> (TempDir, Grid) {
    let (dir, mut grid) = grid();
    let now = Timestamp::now();
    let declare = |tx: &Tx<'_>| {
        let tier2 = tx.distributor("tier2")?.unwrap().id;
        let add = |called: &str, engine: &Engine, declared: &Declared| {
            let id = tx.add_server(&name(called), tier2, engine, now)?;
            tx.declare_server(id, declared, now)?;
            Ok::<_, StoreError>(id)
        };
        let site = [("site".into(), Value::from("brno")), ("rack".into(), Value::from(7))].into();
        let blender = vec![(name("blender"), Some("4.1".to_owned()))];
        let fast = Declared { slots: Some(2), cpus: Some(2), apps: blender, attributes: site, ..Declared::default() };
        let accepts = Some("\"staff\" in user.groups".to_owned());
        let fast = add("fast", &Engine::Local, &fast)?;
        let slow = add("slow", &Engine::Local, &Declared { slots: Some(1), accepts, ..Declared::default() })?;
        for server in [fast, slow] {
            tx.record_facts(server, &facts(), now)?;
        }
        add("farm", &Engine::Group { members: vec![fast, slow] }, &Declared::default())?;
        Ok::<_, StoreError>(())
    };
    grid.store.write(Durability::Normal, declare).unwrap();
    super::servers::drain(&mut grid, &["slow".into()], Some("fan is loud")).unwrap();
    (dir, grid)
}
