//! A cache of users and clients for one transaction: a pass over many classes needs the same few.

use crate::model::client::Client;
use crate::model::id::{ClientId, UserId};
use crate::model::user::User;
use crate::store::classes::WaitingClass;
use crate::store::{Result, View};
use std::collections::HashMap;

/// The users and clients that were read in this transaction.
#[derive(Debug, Default)]
pub struct UserCache {
    users: HashMap<UserId, User>,
    clients: HashMap<ClientId, Client>,
}

impl UserCache {
    /// Empties the cache for the next transaction.
    pub fn forget(&mut self) {
        self.users.clear();
        self.clients.clear();
    }

    /// The user and the client of a class. None: one of them is removed.
    pub fn of(&mut self, view: &View<'_>, class: &WaitingClass) -> Result<Option<(&User, &Client)>> {
        if !self.users.contains_key(&class.user)
            && let Some(user) = view.user_by_id(class.user)?
        {
            self.users.insert(class.user, user);
        }
        if !self.clients.contains_key(&class.client)
            && let Some(client) = view.client_by_id(class.client)?
        {
            self.clients.insert(class.client, client);
        }
        Ok(self.users.get(&class.user).zip(self.clients.get(&class.client)))
    }
}
