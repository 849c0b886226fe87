//! Who asks a second tier: what a caller is to this home, of whose tasks it is told, and whose uuids it may settle.

use super::tier2::TierError;
use crate::model::command::Text;
use crate::model::id::TaskId;
use crate::model::name::Name;
use crate::protocol::envelope::{Envelope, Sealed};
use crate::store::files::KeptFile;
use crate::store::tombstones::Refuses;
use crate::store::{StoreError, Tx, View};

/// Who asks, as this home knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose attributes count.
    pub user: Name,
    pub access: Access,
    /// Of whose tasks it is told, and whose uuids it may settle.
    pub reach: Reach,
    /// $HOME of this home's account, where the caller may have another one: a directory below theirs is meant below this.
    pub home: Option<Text>,
    /// What lies in this home for them, as it was counted last.
    pub kept: KeptFile,
}

impl Principal {
    /// The home's own account, sitting here.
    pub const fn resident(user: Name) -> Self {
        Self { user, access: Access::Resident, reach: Reach::All, home: None, kept: KeptFile::NOTHING }
    }

    /// The user for whom another home is asked, where this home's own login there is not meant.
    pub fn spoken_for(&self) -> Option<Name> {
        (self.reach != Reach::All).then(|| self.user.clone())
    }

    /// May it be told of a task that this home holds?
    pub fn sees(&self, view: &View<'_>, task: TaskId) -> Result<bool, StoreError> {
        Ok(match self.reach {
            Reach::All | Reach::Sees => true,
            Reach::Own => view.task(task)?.is_some_and(|row| row.user == self.user),
            Reach::Nothing => false,
        })
    }

    /// Whose commits of a uuid it can refuse for good.
    pub fn refuses(&self, view: &View<'_>) -> Result<Refuses, TierError> {
        match self.reach {
            Reach::All => Ok(Refuses::Everybody),
            _ => Ok(Refuses::User(view.user(self.user.as_str())?.ok_or_else(|| unknown(&self.user))?.id)),
        }
    }
}

/// The tasks of which a caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// None: it speaks for somebody for whom it may not.
    Nothing,
    /// Those of its user.
    Own,
    /// All, and it settles those of its user.
    Sees,
    /// All, and it settles all: the owner, and homes that vouch for many users.
    All,
}

/// What a caller is to this home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The home's own account, sitting here: may speak for other users.
    Resident,
    /// The same account, from another home.
    Owner,
    /// Somebody else: not placed on servers that run tasks under the owner's account, save where the owner allowed it.
    User,
    /// Somebody else who may administer this home: the same wall, without a user's bounds.
    Administrator,
}

impl Access {
    /// Not the home's own account.
    pub const fn is_other(self) -> bool {
        matches!(self, Self::User | Self::Administrator)
    }
}

/// What is told of a uuid that another user's task has: nothing of that task.
pub const OTHERS: &str = "a task of another user has its uuid";

/// What this home knows of a uuid before it looks at the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UuidState {
    /// It holds the task.
    Held(TaskId),
    /// Another task has the uuid: of another user, or one that this home submitted with other content.
    Others,
    /// It was refused for good.
    Refused,
    New,
}

/// Looks a uuid up for a caller that commits it.
pub(super) fn known(tx: &Tx<'_>, envelope: &Envelope, principal: &Principal) -> Result<UuidState, TierError> {
    match tx.held_by_uuid(envelope.uuid)? {
        (Some(task), _) => {
            return Ok(if principal.sees(tx, task)? { UuidState::Held(task) } else { UuidState::Others });
        }
        // The way led back to this home. Only what it sealed itself becomes its task; a uuid alone proves nothing.
        (None, Some(own)) if principal.access != Access::Resident && !is_sealed_here(tx, own, envelope)? => {
            return Ok(UuidState::Others);
        }
        _ => {}
    }
    let refused = tx.tombstoned(envelope.uuid, principal.refuses(tx)?)?.is_some_and(|round| round >= envelope.round);
    Ok(if refused { UuidState::Refused } else { UuidState::New })
}

fn is_sealed_here(tx: &Tx<'_>, own: TaskId, envelope: &Envelope) -> Result<bool, StoreError> {
    let same = |kept: &[u8], sent: &Sealed| kept == sent.as_bytes();
    Ok(tx.sealed(own)?.is_some_and(|(sealed, list)| {
        same(&sealed, &envelope.sealed)
            && match (&list, &envelope.list) {
                (Some(kept), Some(sent)) => same(kept, sent),
                (kept, sent) => kept.is_none() && sent.is_none(),
            }
    }))
}

/// No user of this home.
pub(super) fn unknown(name: &Name) -> TierError {
    TierError::Denied(format!("user {name} is unknown here: its owner has to run `grid user add {name}`"))
}
