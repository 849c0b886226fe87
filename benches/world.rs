//! Homes made to measure: so many servers, so many waiting tasks in so many classes. By the store's own words, no row by hand.

use grid::model::command::{Command, Environment};
use grid::model::demand::Demand;
use grid::model::distributor::Tier;
use grid::model::facts::Facts;
use grid::model::id::{BootId, ClassId, TaskId, TaskUuid};
use grid::model::name::Name;
use grid::model::resources::Bytes;
use grid::model::server::Engine;
use grid::model::ssh::SshTarget;
use grid::model::task::{ClientFacts, Launch, Members, Request};
use grid::model::time::Timestamp;
use grid::store::home::Seed;
use grid::store::intake::{Begins, NewTask, TierRoute};
use grid::store::{Durability, Home, Store, StoreError, Tx};
use std::path::Path;
use std::sync::LazyLock;

/// A home with so many servers besides the drained one of this host, none of which anybody ever reaches.
pub fn home(dir: &Path, servers: i64) -> (Home, Store) {
    let home = Home::at(dir);
    let founding = home.found().expect("the home's directories");
    let seed = Seed { owner: owner(), client: client(), facts: facts(0) };
    let mut store = Store::create(&home, &seed).expect("a database");
    drop(founding);
    store.write(Durability::Normal, |tx| add_servers(tx, servers)).expect("servers");
    (home, store)
}

fn add_servers(tx: &Tx<'_>, servers: i64) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let tier2 = tx.distributors(Tier::Second)?[0].id;
    let local = tx.servers()?[0].id;
    tx.set_drained(local, Some("nothing is to start"))?;
    for number in 1..=servers {
        let host = format!("n{number}");
        let engine = Engine::Ssh(SshTarget::new(&host, Vec::new(), None).expect("a target"));
        let server = tx.add_server(&name(&host), tier2, &engine, now)?;
        tx.record_facts(server, &facts(number), now)?;
    }
    Ok(())
}

/// Waiting tasks, dealt out to classes that each have an expression of their own. All servers hold it true, or none
/// does; which of the two the matcher can't know before it has looked.
pub fn add_tasks(store: &mut Store, tasks: usize, classes: usize, fits: bool) {
    const AT_ONCE: usize = 20_000;
    let mut known: Vec<ClassId> = Vec::with_capacity(classes);
    for from in (0..tasks).step_by(AT_ONCE) {
        store
            .write(Durability::Normal, |tx| {
                let now = Timestamp::now();
                for at in from..(from + AT_ONCE).min(tasks) {
                    if at < classes {
                        known.push(class(tx, at, fits)?);
                    }
                    add_task(tx, known[at % classes], &demand(at % classes, fits), Members::Single, now)?;
                }
                Ok::<_, StoreError>(())
            })
            .expect("tasks");
    }
}

/// What the tasks of a class want: an expression of its own.
pub fn demand(class: usize, fits: bool) -> Demand {
    let rack = if fits { 1_000 } else { 0 };
    let constraint = format!("server.rack < {rack} && server.label + {class} >= {class}");
    Demand { constraint: Some(constraint.into()), ..Demand::default() }
}

pub fn class(tx: &Tx<'_>, class: usize, fits: bool) -> Result<ClassId, StoreError> {
    let tier2 = tx.distributors(Tier::Second)?[0].id;
    let (user, client) = (tx.user(owner().as_str())?.expect("the owner").id, tx.client("desk")?.expect("this host").id);
    tx.class_of(tier2, user, client, &demand(class, fits))
}

pub fn add_task(
    tx: &Tx<'_>,
    class: ClassId,
    demand: &Demand,
    members: Members,
    now: Timestamp,
) -> Result<TaskId, StoreError> {
    let new = NewTask {
        uuid: TaskUuid::new(),
        class,
        user: tx.user(owner().as_str())?.expect("the owner").id,
        request: &Request {
            demand: demand.clone(),
            launch: launch(),
            members,
            retries: 0,
            retry_lost: false,
            lost_after: None,
            hold: false,
            hold_unmatched: false,
            user: None,
            client: client(),
        },
        begins: Begins::Waiting,
        unmatched: false,
        round: 1,
        route: TierRoute { tier1: "tier1", tier2: "tier2" },
        search: None,
        verdict: None,
        kept: 0,
        environment: None,
    };
    tx.add_task(&new, now)
}

pub fn launch() -> Launch {
    Launch {
        command: Command::new(["sh", "-c", "echo $GRID_ARRAY_INDEX"].map(Into::into).to_vec()).expect("a command"),
        cwd: "/".into(),
        home: None,
        env: Environment(vec![("LANG".into(), "C.UTF-8".into()), ("TERM".into(), "xterm".into())]),
        time_limit: None,
        stdout: None,
        stderr: None,
        stdin: None,
        workplace: Default::default(),
        fetch: None,
        max_output: None,
    }
}

/// Who runs this: the home is to be used by the real program too.
fn owner() -> Name {
    static OWNER: LazyLock<Name> = LazyLock::new(|| {
        let said = std::process::Command::new("id").arg("-un").output().expect("id");
        name(String::from_utf8_lossy(&said.stdout).trim())
    });
    OWNER.clone()
}

pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn client() -> ClientFacts {
    let [host, user, os, arch] = ["desk", "alice", "linux", "x86_64"].map(str::to_owned);
    ClientFacts { host, user, os, arch }
}

/// A reading of a host of 4 to 64 processors, drawn from its number.
fn facts(number: i64) -> Facts {
    let cpus = 4 << (number * 7 % 5);
    let mem = Bytes(cpus << 32);
    Facts {
        machine: format!("machine-{number}"),
        boot: BootId(format!("boot-{number}")),
        hostname: format!("n{number}"),
        os: "debian".into(),
        arch: "x86_64".into(),
        kernel: "6.1.0".into(),
        cpus: cpus as u32,
        power: cpus as f64 * (8 + number % 8) as f64,
        load1: 0.2,
        idle_cpus: cpus as f64 - 0.2,
        mem_total: mem,
        mem_available: mem,
        disk_free: mem,
        gpus: Vec::new(),
        apps: ["gcc", "python3", "ffmpeg"].into_iter().map(|app| (name(app), None)).collect(),
        probed: [("rack".into(), (number % 40).into()), ("label".into(), (number % 100).into())].into(),
        complaints: Vec::new(),
        behind: Default::default(),
    }
}
