//! Who asks: the credentials of a login, and the identity and role of its caller.

use crate::model::command::Text;
use crate::model::name::Name;
use crate::model::user::Role;
use crate::ops::OpsError;
use crate::store::View;

/// How the caller logged in. The owner writes this into the key's forced command; nothing that the caller sends changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `--as`: the user. None: the home's own account.
    pub user: Option<Name>,
    /// `--vouch`: a first tier that may speak for its users, as `alice@FRONT`.
    pub vouch: Option<Name>,
    /// The caller is on another host: the endpoint that it names is not trusted.
    pub far: bool,
    /// $HOME of the account.
    pub home: Option<Text>,
}

/// A caller: the owner of this home, or one of its users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    Owner,
    User { name: Name, role: Role },
}

impl Credentials {
    /// The caller of one question. `claimed`: the user for whom a first tier says that it speaks.
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

    /// Does its role allow what needs this role?
    pub fn may(&self, needed: Role) -> bool {
        match self {
            Self::Owner => true,
            Self::User { role, .. } => *role >= needed,
        }
    }
}
