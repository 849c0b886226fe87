//! Completes a submit with its profile and seals the request.

use super::pack::FileRequest;
use crate::distributor::front::SERIES;
use crate::model::attribute::Source;
use crate::model::bounds;
use crate::model::id::TaskUuid;
use crate::model::name::Name;
use crate::model::profile::Profile;
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
    /// True if a dispatcher was asked and did not answer: it may still accept the submit.
    #[serde(skip)]
    pub open: bool,
    /// A message to the person if the home is not at the usual place.
    #[serde(skip)]
    pub remark: Option<String>,
}

impl SubmitRequest {
    /// A new submit of the client's account.
    pub fn new(client: ClientFacts, draft: Draft) -> Result<Self, OpsError> {
        Ok(Self { uuid: TaskUuid::new(), me: owner(&client.user)?, client, draft, open: false, remark: None })
    }

    /// True if files are sent with it, or fetched.
    pub fn has_files(&self) -> bool {
        self.draft.files != FileRequest::default()
    }
}

/// The profile of a draft.
pub(super) fn profile(view: &View<'_>, draft: &Draft) -> Result<Option<Profile>, OpsError> {
    let Some(name) = &draft.profile else { return Ok(None) };
    let profile = view.profile(name.as_str())?;
    if profile.is_none() {
        let known = view.profiles()?;
        return Err(OpsError::unknown("profile", name.as_str(), known.iter().map(|p| p.name.as_str())));
    }
    Ok(profile)
}

/// The request of a draft with its profile merged in, by a user of this home.
pub(super) fn completed(
    view: &View<'_>,
    draft: Draft,
    profile: Option<&Profile>,
    host: ClientFacts,
    me: &Name,
) -> Result<Request, OpsError> {
    let request = draft.into_request(profile, host)?;
    let name = request.user.as_ref().unwrap_or(me);
    if !view.knows_user(name.as_str())? {
        let known = view.users()?;
        return Err(OpsError::unknown("user", name.as_str(), known.iter().map(|u| u.name.as_str())));
    }
    travelling(view, request, me)
}

/// The request with what this home declares of its user and its client, if it may leave the home.
pub fn travelling(view: &View<'_>, request: Request, me: &Name) -> Result<Request, OpsError> {
    // A task of another user stays in this home.
    if request.user.is_none() && view.reaches_elsewhere()? {
        return with_client_attributes(view, with_user_attributes(view, request, me)?);
    }
    Ok(request)
}

/// Adds what this home declares of the client to a task that may leave the home.
fn with_client_attributes(view: &View<'_>, mut request: Request) -> Result<Request, OpsError> {
    let host = &request.client.host;
    let Some(client) = view.client(host)? else { return Ok(request) };
    let declared = client.attributes.into_iter().filter(|(_, attribute)| attribute.source == Source::Declared);
    request.demand.client = declared.map(|(name, attribute)| (name, attribute.value)).collect();
    bounds::values(&request.demand.client, bounds::CLIENT_VALUES_MAX).map_err(|error| {
        OpsError::Refused(format!(
            "the attributes of client {host} travel with its tasks: {error}; `grid client unset {host} ..`"
        ))
    })?;
    Ok(request)
}

/// Adds what this home declares for the user: the requirement is and-ed, the preference is used if the task has none.
fn with_user_attributes(view: &View<'_>, mut request: Request, me: &Name) -> Result<Request, OpsError> {
    if let Some(user) = view.user(me.as_str())? {
        let own = request.demand.constraint.take();
        request.demand.constraint = match (own, user.constraint) {
            (Some(own), Some(his)) if *own == *his => Some(own),
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
