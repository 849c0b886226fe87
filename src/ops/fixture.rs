//! A real home in a temporary directory, for tests of verbs.

use super::Grid;
use crate::model::facts::Facts;
use crate::model::id::{BootId, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::model::resources::Bytes;
use crate::model::task::{ClientFacts, Request};
use crate::model::time::Timestamp;
use crate::ops::draft::Draft;
use crate::store::home::Seed;
use crate::store::tasks::NewTask;
use crate::store::{Durability, Home, Store};
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
    }
}

/// The directory goes with the first part.
pub fn grid() -> (TempDir, Grid) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path().join("h"));
    let founding = home.found().unwrap();
    let me: Name = "me".parse().unwrap();
    let store = Store::create(&home, &Seed { owner: me.clone(), client: client(), facts: facts() }).unwrap();
    drop(founding);
    (dir, Grid { store, me, client: client(), remark: None })
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Takes a task in as a second tier would.
pub fn add_task(grid: &mut Grid, draft: Draft) -> TaskId {
    let request: Request = draft.into_request(None, client()).unwrap();
    grid.store
        .write::<_, crate::store::StoreError>(Durability::Normal, |tx| {
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            let user = tx.user("me")?.unwrap().id;
            let client = tx.see_client(&request.client, Timestamp::now())?;
            let class = tx.class_of(tier2, user, client, &request.demand)?;
            let search = tx.keep_note(
                r#"{"tiers":[{"tier":2,"searched":[{"distributor":"tier2","answer":"queued"}]},{"tier":1,"searched":[{"distributor":"tier1","answer":"redirect to tier2"}]}]}"#,
            )?;
            let verdict = tx.keep_note(
                r#"[{"server":"local","qualifies":false,"reasons":["needs 999 cpus, has 4"],"score":null}]"#,
            )?;
            let new = NewTask {
                uuid: TaskUuid::new(),
                class,
                user,
                request: &request,
                held: request.hold.then_some("held by you"),
                reason: (!request.hold).then_some("no server is free"),
                round: 1,
                route: ("tier1", "tier2"),
                search: Some(search),
                verdict: Some(verdict),
            };
            tx.add_task(&new, Timestamp::now())
        })
        .unwrap()
}

/// A draft of `true`.
pub fn draft() -> Draft {
    Draft::new(crate::model::command::Command::new(vec!["true".into()]).unwrap(), "/tmp".into())
}
