//! The task database's named sets of attributes.

use super::columns::json;
use super::{Result, Tx, View};
use crate::model::name::Name;
use crate::model::profile::Profile;
use crate::model::time::Timestamp;

impl View<'_> {
    /// All profiles, by name.
    pub fn profiles(&self) -> Result<Vec<Profile>> {
        self.all_readable("SELECT name, settings FROM profile ORDER BY name", [], |row| {
            Ok(Profile { name: row.get(0)?, settings: json(&row.get::<_, String>(1)?)? })
        })
    }

    /// One by name.
    pub fn profile(&self, name: &str) -> Result<Option<Profile>> {
        self.one("SELECT name, settings FROM profile WHERE name = ?1", [name], |row| {
            Ok(Profile { name: row.get(0)?, settings: json(&row.get::<_, String>(1)?)? })
        })
    }
}

impl View<'_> {
    /// When a profile was declared last.
    pub fn profile_declared_at(&self, name: &Name) -> Result<Timestamp> {
        let found = self.one("SELECT declared_at FROM profile WHERE name = ?1", [name], |row| row.get(0))?;
        Ok(found.unwrap_or(Timestamp(0)))
    }
}

impl Tx<'_> {
    /// Adds or replaces a profile. Tasks keep what they were submitted with.
    pub fn put_profile(&self, profile: &Profile, now: Timestamp) -> Result<()> {
        let settings = serde_json::to_string(&profile.settings).unwrap_or_else(|_| "{}".to_owned());
        self.run(
            "INSERT INTO profile (name, settings, declared_at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET settings = excluded.settings, declared_at = excluded.declared_at",
            (&profile.name, settings, now),
        )?;
        Ok(())
    }

    /// Removes a profile; false if there was none.
    pub fn remove_profile(&self, name: &Name) -> Result<bool> {
        Ok(self.run("DELETE FROM profile WHERE name = ?1", [name])? > 0)
    }
}
