//! The client database: hosts that submit.

use super::attributes::Owner;
use super::reading::Lenient;
use super::{Result, Tx, View};
use crate::model::client::Client;
use crate::model::id::ClientId;
use crate::model::task::ClientFacts;
use crate::model::time::Timestamp;

/// The client, and what can't be read of the row: the next submit from there writes it anew.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Client, Option<String>)> {
    let mut of = Lenient::of(row);
    let client = Client {
        id: row.get(0)?,
        host: of.get(1),
        user: of.get(2),
        os: of.get(3),
        arch: of.get(4),
        attributes: Default::default(),
    };
    Ok((client, of.faults()))
}

impl View<'_> {
    /// All clients, by host name.
    pub fn clients(&self) -> Result<Vec<(Client, Option<Timestamp>)>> {
        let ids: Vec<ClientId> = self.all("SELECT id FROM client ORDER BY host", [], |row| row.get(0))?;
        let mut clients = Vec::with_capacity(ids.len());
        for id in ids {
            let seen = self.one("SELECT seen_at FROM client WHERE id = ?1", [id], |row| row.get(0))?.flatten();
            clients.extend(self.client_by_id(id)?.map(|client| (client, seen)));
        }
        Ok(clients)
    }

    /// One by host name.
    pub fn client(&self, host: &str) -> Result<Option<Client>> {
        let row = self.one("SELECT id, host, user, os, arch FROM client WHERE host = ?1", [host], read)?;
        row.map(|(client, _)| self.with_attributes(client)).transpose()
    }

    /// One by id.
    pub fn client_by_id(&self, id: ClientId) -> Result<Option<Client>> {
        let row = self.one("SELECT id, host, user, os, arch FROM client WHERE id = ?1", [id], read)?;
        row.map(|(client, _)| self.with_attributes(client)).transpose()
    }

    /// Clients whose rows can't be read, by what can be read of their names, and why.
    pub(super) fn client_faults(&self) -> Result<Vec<(String, String)>> {
        let rows = self.all("SELECT id, host, user, os, arch FROM client ORDER BY id", [], |row| {
            let name = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
            Ok(read(row)?.1.map(|why| (name, why)))
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    fn with_attributes(&self, client: Client) -> Result<Client> {
        Ok(Client { attributes: self.attributes(Owner::Client(client.id.0))?, ..client })
    }
}

impl View<'_> {
    /// Has this client any task in the database?
    pub fn client_has_tasks(&self, id: ClientId) -> Result<bool> {
        let sql = "SELECT 1 FROM class c JOIN task t ON t.class_id = c.id WHERE c.client_id = ?1 LIMIT 1";
        Ok(self.one(sql, [id], |_| Ok(()))?.is_some())
    }
}

impl Tx<'_> {
    /// Removes a client without tasks.
    pub fn remove_client(&self, id: ClientId) -> Result<()> {
        self.drop_attributes(Owner::Client(id.0))?;
        self.run(
            "DELETE FROM class WHERE client_id = ?1 AND NOT EXISTS (SELECT 1 FROM task WHERE class_id = class.id)",
            [id],
        )?;
        self.run("DELETE FROM client WHERE id = ?1", [id])?;
        Ok(())
    }

    /// A client submits: remember what it says of itself. Writes only where something is new.
    pub fn see_client(&self, facts: &ClientFacts, now: Timestamp) -> Result<ClientId> {
        let known =
            self.one("SELECT id, user, os, arch, seen_at FROM client WHERE host = ?1", [&facts.host], |row| {
                let same = [&facts.user, &facts.os, &facts.arch].into_iter().zip(1..);
                let same = same.into_iter().all(|(now, at)| row.get::<_, String>(at).is_ok_and(|known| known == *now));
                let recent = row.get::<_, Option<Timestamp>>(4)?.is_some_and(|seen| seen.age_at(now).as_secs() < 60);
                Ok((row.get(0)?, same && recent))
            })?;
        match known {
            Some((id, true)) => Ok(id),
            Some((id, false)) => {
                self.run(
                    "UPDATE client SET user = ?2, os = ?3, arch = ?4, seen_at = ?5 WHERE id = ?1",
                    (id, &facts.user, &facts.os, &facts.arch, now),
                )?;
                Ok(id)
            }
            None => {
                self.run(
                    "INSERT INTO client (host, user, os, arch, seen_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                    (&facts.host, &facts.user, &facts.os, &facts.arch, now),
                )?;
                Ok(ClientId(self.inserted()))
            }
        }
    }

    /// A client that a person declares before it was seen.
    pub fn add_client(&self, host: &str) -> Result<ClientId> {
        self.run("INSERT INTO client (host) VALUES (?1)", [host])?;
        Ok(ClientId(self.inserted()))
    }

    /// Lets waiting tasks of this client be matched again.
    pub fn touch_client(&self, id: ClientId) -> Result<()> {
        self.stir_classes("client_id", id.0)
    }
}
