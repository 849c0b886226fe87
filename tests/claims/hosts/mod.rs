//! 1, 2, 9 to 17 and 24 to 29 once more, over real hosts and real ssh: a client, three first tiers, three second tiers, six servers, each
//! on a host of its own (namespaces, with sshd and a network card). They are made once; the claims go one after the other.

mod databases;
mod matching;
mod registry;
mod way;

use crate::support::load;
use crate::support::tiers::Tiers;
use crate::support::{Grid, skipped};
use serde_json::Value;
use std::ops::Deref;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError, RwLockReadGuard};

/// All hosts, as long as one claim is shown.
struct Turn {
    tiers: MutexGuard<'static, Tiers>,
    _among: RwLockReadGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = Tiers;

    fn deref(&self) -> &Tiers {
        &self.tiers
    }
}

/// None, after saying so, where there can be no hosts.
fn turn() -> Option<Turn> {
    // They end with this process, however it ends.
    static HOSTS: LazyLock<Option<Mutex<Tiers>>> = LazyLock::new(|| Tiers::with_servers().map(Mutex::new));
    let among = load::together();
    let Some(hosts) = &*HOSTS else {
        skipped(std::thread::current().name().unwrap_or("a claim"), "there can be no hosts here, as said above");
        return None;
    };
    let tiers = hosts.lock().unwrap_or_else(PoisonError::into_inner);
    Some(Turn { tiers, _among: among })
}

/// The way of a task that finds all servers free: what was submitted before has ended.
#[track_caller]
fn route(client: &Grid, options: &[&str]) -> Value {
    client.grid(["wait"]);
    client.route(options)
}

/// Runs `uname -n` with these options: the host that it ran on.
#[track_caller]
fn ran_on(client: &Grid, options: &[&str]) -> String {
    client.grid(["run"].into_iter().chain(options.iter().copied()).chain(["--", "uname", "-n"])).ok()
}

/// An attribute that a first tier has of one of its members, if it has it.
#[track_caller]
fn of(front: &Grid, member: &str, name: &str) -> Value {
    front.grid(["distributor", "show", member, "--json"]).json()["attributes"][name]["value"].clone()
}
