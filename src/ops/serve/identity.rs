//! Who is who: what the login at the door says of a caller, and what the caller may therefore do.

use crate::model::command::Text;
use crate::model::name::Name;
use crate::model::user::Role;
use crate::ops::OpsError;
use crate::store::View;

/// How the caller came in. Written into the key's forced command by the owner; nothing that the caller sends changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `--as`: the user. None: the home's own account.
    pub user: Option<Name>,
    /// `--vouch`: a first tier that may speak for its users, as `alice@FRONT`.
    pub vouch: Option<Name>,
    /// From another host: what it says of its own place is hearsay.
    pub far: bool,
    /// $HOME of the account.
    pub home: Option<Text>,
}

/// A caller, as this home knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    Owner,
    User { name: Name, role: Role },
}

impl Credentials {
    /// The caller of one question. `claimed`: for whom a first tier says that it speaks.
    pub fn identity(&self, view: &View<'_>, claimed: Option<&Name>) -> Result<Identity, OpsError> {
        let name = match (&self.user, &self.vouch, claimed) {
            (None, _, None) => return Ok(Identity::Owner),
            // The account itself, from another home of its own: it speaks for those whom it lets in there.
            (None, _, Some(claimed)) => claimed,
            (Some(_), Some(_), Some(claimed)) => claimed,
            (Some(own), None, Some(claimed)) if own != claimed => {
                return Err(OpsError::Refused(format!(
                    "{own} speaks for {claimed}: this key may not (its forced command lacks --vouch)"
                )));
            }
            (Some(own), _, _) => own,
        };
        let from =
            self.vouch.as_ref().filter(|_| claimed.is_some()).map_or_else(String::new, |front| format!("@{front}"));
        let user = view.user(name.as_str())?.ok_or_else(|| {
            OpsError::Refused(format!("user {name}{from} is unknown here: the owner has to run `grid user add {name}`"))
        })?;
        Ok(Identity::User { role: view.role(user.id)?, name: name.clone() })
    }
}

impl Identity {
    /// The name of a user other than the owner.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Owner => None,
            Self::User { name, .. } => Some(name),
        }
    }

    /// May it do what takes this role?
    pub fn may(&self, needed: Role) -> bool {
        match self {
            Self::Owner => true,
            Self::User { role, .. } => *role >= needed,
        }
    }
}
