//! What a person asks for, and what becomes of it with its profile: the request that is sealed.

use super::pack::FileRequest;
use crate::distributor::front::SERIES;
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::model::task::{ClientFacts, Request};
use crate::ops::OpsError;
use crate::ops::draft::Draft;
use crate::ops::home::owner;
use crate::protocol::envelope::Envelope;
use crate::protocol::seal;
use crate::store::View;
use serde::{Deserialize, Serialize};

/// A submit, as the command or the dispatcher handles it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubmitRequest {
    pub uuid: TaskUuid,
    /// The account that submits.
    pub me: Name,
    pub client: ClientFacts,
    pub draft: Draft,
    /// A dispatcher was asked and did not answer: perhaps it will still take it.
    #[serde(skip)]
    pub open: bool,
    /// One line for the person, where the home is not where one would look.
    #[serde(skip)]
    pub remark: Option<String>,
}

impl SubmitRequest {
    /// A new one, of the client's account.
    pub fn new(client: ClientFacts, draft: Draft) -> Result<Self, OpsError> {
        Ok(Self { uuid: TaskUuid::new(), me: owner(&client.user)?, client, draft, open: false, remark: None })
    }

    /// Are files sent with it, or fetched?
    pub fn has_files(&self) -> bool {
        self.draft.files != FileRequest::default()
    }
}

/// What was typed, with its profile merged in, by a user whom this home knows.
pub(super) fn completed(view: &View<'_>, draft: Draft, host: ClientFacts, me: &Name) -> Result<Request, OpsError> {
    let request = match draft.profile.clone() {
        None => draft.into_request(None, host)?,
        Some(name) => {
            let profile = view.profile(name.as_str())?;
            if profile.is_none() {
                let known = view.profiles()?;
                return Err(OpsError::unknown("profile", name.as_str(), known.iter().map(|p| p.name.as_str())));
            }
            draft.into_request(profile.as_ref(), host)?
        }
    };
    let name = request.user.as_ref().unwrap_or(me);
    if !view.knows_user(name.as_str())? {
        let known = view.users()?;
        return Err(OpsError::unknown("user", name.as_str(), known.iter().map(|u| u.name.as_str())));
    }
    travelling(view, request, me)
}

/// Where the task may leave this home, what this home knows of its user goes with it: the requirement is and-ed, the
/// preference fills in where the task has none.
fn travelling(view: &View<'_>, mut request: Request, me: &Name) -> Result<Request, OpsError> {
    // A task of another user does not leave.
    if request.user.is_none()
        && view.reaches_elsewhere()?
        && let Some(user) = view.user(me.as_str())?
    {
        let own = request.demand.constraint.take();
        request.demand.constraint = match (own, user.constraint) {
            (Some(own), Some(his)) => Some(format!("({own}) && ({his})").into()),
            (own, his) => own.or(his.map(Into::into)),
        };
        request.demand.prefer = request.demand.prefer.take().or(user.prefer.map(Into::into));
    }
    Ok(request)
}

/// Seals a request.
pub(super) fn envelope(uuid: TaskUuid, request: &Request) -> Result<Envelope, OpsError> {
    let (sealed, list) = seal::seal(request).map_err(|e| OpsError::Usage(e.to_string()))?;
    Ok(Envelope { version: 1, uuid, round: SERIES, user: None, hops: 0, sealed, list })
}
