//! What a new home holds: the default tiers, this host as a server, its owner and its first client.

use super::home::Seed;
use super::{Result, Tx, View};
use crate::model::clock::Reading;
use crate::model::distributor::Tier;
use crate::model::name::Name;
use crate::model::server::Engine;
use crate::model::time::Timestamp;
use rusqlite::Connection;

/// Fills the fresh tables.
pub(super) fn seed(connection: &Connection, seed: &Seed) -> Result<()> {
    let tx = Tx { view: View { connection } };
    let now = Timestamp::now();
    let name = |text: &str| {
        text.parse::<Name>().map_err(|e| super::StoreError::Corrupt { path: "grid.db".into(), found: e.to_string() })
    };
    tx.run("INSERT INTO home (one, id, created_at) VALUES (1, ?1, ?2)", (uuid::Uuid::now_v7().to_string(), now))?;
    tx.see_clock(&Reading::now(), true)?;
    for tier in [1, 2] {
        tx.run("INSERT INTO distributor_set (tier) VALUES (?1)", [tier])?;
    }
    tx.add_distributor(&name("tier1")?, Tier::First, now)?;
    let tier2 = tx.add_distributor(&name("tier2")?, Tier::Second, now)?;
    let local = tx.add_server(&name("local")?, tier2, &Engine::Local, now)?;
    tx.record_facts(local, &seed.facts, now)?;
    tx.add_user(&seed.owner, now)?;
    tx.see_client(&seed.client, now)?;
    Ok(())
}
