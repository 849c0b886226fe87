//! The user database.

use super::attributes::Owner;
use super::reading::Lenient;
use super::{Result, Tx, View};
use crate::model::id::UserId;
use crate::model::name::Name;
use crate::model::time::Timestamp;
use crate::model::user::{Role, User};

/// The user, and what can't be read of the row. A requirement that can't be read is met by no server.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(User, Option<String>)> {
    let mut of = Lenient::of(row);
    let (groups, attributes) = Default::default();
    let user = User {
        id: row.get(0)?,
        name: of.or(1, Name::unreadable()),
        groups,
        share: of.or(2, 1),
        prefer: of.get(3),
        constraint: of.or(4, Some("false".to_owned())),
        attributes,
    };
    Ok((user, of.faults()))
}

impl View<'_> {
    /// All users, by name.
    pub fn users(&self) -> Result<Vec<User>> {
        let names: Vec<String> = self.all_readable("SELECT name FROM user ORDER BY name", [], |row| row.get(0))?;
        let mut users = Vec::with_capacity(names.len());
        for name in names {
            users.extend(self.user(&name)?);
        }
        Ok(users)
    }

    /// One by name.
    pub fn user(&self, name: &str) -> Result<Option<User>> {
        let row = self.one("SELECT id, name, share, prefer, requires FROM user WHERE name = ?1", [name], read)?;
        row.map(|(user, _)| self.with_rest(user)).transpose()
    }

    /// Is there one of this name?
    pub fn knows_user(&self, name: &str) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM user WHERE name = ?1", [name], |_| Ok(()))?.is_some())
    }

    /// One by id.
    pub fn user_by_id(&self, id: UserId) -> Result<Option<User>> {
        let row = self.one("SELECT id, name, share, prefer, requires FROM user WHERE id = ?1", [id], read)?;
        row.map(|(user, _)| self.with_rest(user)).transpose()
    }

    /// Users whose rows can't be read, by what can be read of their names, and why.
    pub(super) fn user_faults(&self) -> Result<Vec<(String, String)>> {
        let rows = self.all("SELECT id, name, share, prefer, requires FROM user ORDER BY id", [], |row| {
            let name = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?).into_owned();
            Ok(read(row)?.1.map(|why| (name, why)))
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// A user's groups and attributes have tables of their own.
    fn with_rest(&self, user: User) -> Result<User> {
        let groups =
            self.all_readable("SELECT name FROM user_group WHERE user_id = ?1 ORDER BY name", [user.id], |row| {
                row.get(0)
            })?;
        let attributes = self.attributes(Owner::User(user.id.0))?;
        Ok(User { groups, attributes, ..user })
    }
}

impl View<'_> {
    /// What a user may do here from another home.
    pub fn role(&self, id: UserId) -> Result<Role> {
        let role = self.one("SELECT role FROM user WHERE id = ?1", [id], |row| row.get::<_, String>(0))?;
        Ok(role.and_then(|word| word.parse().ok()).unwrap_or_default())
    }
}

impl Tx<'_> {
    /// Gives a user a role.
    pub fn set_role(&self, id: UserId, role: Role, now: Timestamp) -> Result<()> {
        self.run("UPDATE user SET role = ?2, declared_at = ?3 WHERE id = ?1", (id, role.word(), now))?;
        Ok(())
    }

    /// A user with nothing but a name.
    pub fn add_user(&self, name: &Name, now: Timestamp) -> Result<UserId> {
        self.run("INSERT INTO user (name, created_at) VALUES (?1, ?2)", (name, now))?;
        Ok(UserId(self.inserted()))
    }

    /// Writes share, preference and requirement back. Waiting tasks see it at the next match.
    pub fn update_user(&self, user: &User, now: Timestamp) -> Result<()> {
        self.run(
            "UPDATE user SET share = ?2, prefer = ?3, requires = ?4, declared_at = ?5 WHERE id = ?1",
            (user.id, user.share, &user.prefer, &user.constraint, now),
        )?;
        self.run("DELETE FROM user_group WHERE user_id = ?1", [user.id])?;
        for group in &user.groups {
            self.run("INSERT OR IGNORE INTO user_group (user_id, name) VALUES (?1, ?2)", (user.id, group))?;
        }
        self.stir_classes("user_id", user.id.0)
    }

    /// Tasks that this user has in the database.
    pub fn remove_user(&self, id: UserId) -> Result<()> {
        self.drop_attributes(Owner::User(id.0))?;
        self.run(
            "DELETE FROM class WHERE user_id = ?1 AND NOT EXISTS (SELECT 1 FROM task WHERE class_id = class.id)",
            [id],
        )?;
        self.run("DELETE FROM user WHERE id = ?1", [id])?;
        Ok(())
    }
}

impl View<'_> {
    /// When something was declared of a user last.
    pub fn user_declared_at(&self, id: UserId) -> Result<Timestamp> {
        Ok(self
            .one("SELECT coalesce(declared_at, created_at) FROM user WHERE id = ?1", [id], |row| row.get(0))?
            .unwrap_or(Timestamp(0)))
    }

    /// Has this user any task in the database?
    pub fn user_has_tasks(&self, id: UserId) -> Result<bool> {
        Ok(self.one("SELECT 1 FROM task WHERE user_id = ?1 LIMIT 1", [id], |_| Ok(()))?.is_some())
    }
}
