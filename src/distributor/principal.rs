//! The principal of a question: its user, its access to this home, and the tasks that it may see or settle.

use super::tier2::TierError;
use crate::model::command::Text;
use crate::model::id::{EnvironmentId, TaskId, TaskUuid};
use crate::model::name::Name;
use crate::protocol::envelope::{Envelope, Sealed};
use crate::store::away::KeptEnvelope;
use crate::store::files::KeptFile;
use crate::store::tombstones::Refuses;
use crate::store::{StoreError, View};

/// The caller of a question, as this home knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user whose attributes count.
    pub user: Name,
    pub access: Access,
    /// The tasks that it may see, and the uuids that it may settle.
    pub reach: Reach,
    /// $HOME of this home's account. A directory below the caller's $HOME stands for the same one below this.
    pub home: Option<Text>,
    /// Bytes kept in this home for the user, as they were counted last.
    pub kept: KeptFile,
    /// What its task inherits on this host. None: the caller is in another home.
    pub environment: Option<EnvironmentId>,
}

impl Principal {
    /// The home's own account, in this home.
    pub const fn resident(user: Name) -> Self {
        let (access, reach) = (Access::Resident, Reach::All);
        Self { user, access, reach, home: None, kept: KeptFile::NOTHING, environment: None }
    }

    /// Whose task inherits this.
    pub fn with(self, environment: Option<EnvironmentId>) -> Self {
        Self { environment, ..self }
    }

    /// The user to name in a question to another home; None: the login of this home there.
    pub fn spoken_for(&self) -> Option<Name> {
        (self.reach != Reach::All).then(|| self.user.clone())
    }

    /// May it see a task of this home?
    pub fn sees(&self, view: &View<'_>, task: TaskId) -> Result<bool, StoreError> {
        Ok(match self.reach {
            Reach::All | Reach::Sees => true,
            Reach::Own => view.task(task)?.is_some_and(|row| row.user == self.user),
            Reach::Nothing => false,
        })
    }

    /// The commits of a uuid that it can refuse for good.
    pub fn refuses(&self, view: &View<'_>) -> Result<Refuses, TierError> {
        match self.reach {
            Reach::All => Ok(Refuses::Everybody),
            _ => Ok(Refuses::User(view.user(self.user.as_str())?.ok_or_else(|| unknown(&self.user))?.id)),
        }
    }

    /// Up to which round this uuid was refused for good to it. A refusal in the name of its user binds it too, whatever it can refuse
    /// itself.
    pub fn tombstoned(&self, view: &View<'_>, uuid: TaskUuid) -> Result<Option<u32>, TierError> {
        let user = view.user(self.user.as_str())?.map(|user| user.id);
        if user.is_none() && self.reach != Reach::All {
            return Err(unknown(&self.user));
        }
        Ok(view.tombstoned(uuid, user)?)
    }
}

/// The tasks that a caller may see and settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// No task: the caller may not speak for the user that it names.
    Nothing,
    /// Tasks of its user.
    Own,
    /// Sees all tasks, and settles those of its user.
    Sees,
    /// Sees and settles all tasks: the owner, and homes that vouch for many users.
    All,
}

/// A caller's access to this home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The home's own account, in this home: it may speak for other users.
    Resident,
    /// The home's own account, from another home.
    Owner,
    /// Another account: its tasks run on servers under the owner's account only if the owner allowed it.
    User,
    /// Another account that may administer this home: the same wall, without a user's quotas.
    Administrator,
}

impl Access {
    /// Is it another account than the home's own?
    pub const fn is_other(self) -> bool {
        matches!(self, Self::User | Self::Administrator)
    }
}

/// The answer about a uuid that another user's task has. It tells nothing of that task.
pub const OTHERS: &str = "a task of another user has its uuid";

/// The answer to a commit that comes too late.
pub(super) const REFUSED_BEFORE: &str = "it has refused this task before, or given it up";

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

/// The state of a uuid, for a caller that commits it.
pub(super) fn known(view: &View<'_>, envelope: &Envelope, principal: &Principal) -> Result<UuidState, TierError> {
    match view.held_by_uuid(envelope.uuid)? {
        (Some(task), _) => {
            return Ok(if principal.sees(view, task)? { UuidState::Held(task) } else { UuidState::Others });
        }
        // The way led back to this home. Only what it sealed itself becomes its task; a uuid alone proves nothing.
        (None, Some(own)) if principal.access != Access::Resident && !is_sealed_here(view, own, envelope)? => {
            return Ok(UuidState::Others);
        }
        _ => {}
    }
    let refused = principal.tombstoned(view, envelope.uuid)?.is_some_and(|round| round >= envelope.round);
    Ok(if refused { UuidState::Refused } else { UuidState::New })
}

fn is_sealed_here(view: &View<'_>, own: TaskId, envelope: &Envelope) -> Result<bool, StoreError> {
    let same = |kept: &[u8], sent: &Sealed| kept == sent.as_bytes();
    Ok(view.sealed(own)?.is_some_and(|KeptEnvelope { sealed, list }| {
        same(&sealed, &envelope.sealed)
            && match (&list, &envelope.list) {
                (Some(kept), Some(sent)) => same(kept, sent),
                (kept, sent) => kept.is_none() && sent.is_none(),
            }
    }))
}

/// The error for a name that is no user of this home.
pub(super) fn unknown(name: &Name) -> TierError {
    TierError::Denied(format!("user {name} is unknown here: its owner has to run `grid user add {name}`"))
}
