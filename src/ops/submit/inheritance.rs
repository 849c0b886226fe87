//! What a task inherits from its submit: worked out once for each shell, as it is the same for all that it submits.

use crate::model::command::Environment;
use crate::model::id::EnvironmentId;
use crate::model::inherited::{EnvironmentBlock, EnvironmentChoice, Inherited, Submitter, VARIABLES_MAX};
use crate::model::profile::Profile;
use crate::model::settings::{ENV, ENV_EXCLUDE};
use crate::model::time::Timestamp;
use crate::ops::OpsError;
use crate::ops::draft::{Draft, environment};
use crate::store::{StoreError, Tx, View};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What the settings and the options say about the environment of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRule {
    choice: EnvironmentChoice,
    /// `env_exclude`, as text.
    exclude: Option<String>,
    /// Variables that the profile names.
    named: Vec<String>,
}

impl EnvironmentRule {
    /// The rule for a draft: typed, else of its profile, else of the home.
    pub fn of(view: &View<'_>, draft: &Draft, profile: Option<&Profile>) -> Result<Self, StoreError> {
        let settings = profile.map(|profile| &profile.settings);
        let [of_home, exclude] = view.two_settings([ENV.name, ENV_EXCLUDE.name])?;
        let typed = draft.environment.or(settings.and_then(|settings| settings.environment));
        let choice = typed.unwrap_or_else(|| ENV.value(of_home.as_deref()));
        let named = settings.map_or_else(Vec::new, |settings| settings.env.clone());
        Ok(Self { choice, exclude, named })
    }
}

/// What the tasks of one submitter get.
#[derive(Debug)]
pub struct Inheritance {
    /// Travels to every server.
    pub travelling: Environment,
    inherited: Inherited,
    digest: [u8; 32],
}

impl Inheritance {
    /// Of a submitter, by a rule. An error if a profile names a variable that is not set.
    pub fn new(submitter: &Submitter, rule: &EnvironmentRule) -> Result<Self, OpsError> {
        let exclude = ENV_EXCLUDE.value(rule.exclude.as_deref());
        let inherited = submitter.inherited(rule.choice, &exclude);
        let many = inherited.variables.as_ref().map_or(0, |block| block.iter().count());
        if many > VARIABLES_MAX {
            return Err(OpsError::Usage(format!(
                "the environment has {many} variables, at most {VARIABLES_MAX} are passed on: --env-none, or `grid config set env_exclude \
                 'PREFIX_*'`"
            )));
        }
        let mut digest = blake3::Hasher::new();
        digest.update(&serde_json::to_vec(&inherited.attributes).unwrap_or_default());
        // An empty environment is not that of a login.
        digest.update(&[u8::from(inherited.variables.is_some())]);
        digest.update(inherited.variables.as_ref().map_or(b"", EnvironmentBlock::as_bytes));
        let outer = |name: &OsStr| submitter.variables.get(name).map(|value| OsStr::from_bytes(value).to_owned());
        let travelling = submitter.travelling(rule.choice, &exclude).with(environment(&rule.named, outer)?);
        Ok(Self { travelling, inherited, digest: digest.finalize().into() })
    }

    /// Keeps it for a task.
    pub fn keep(&self, tx: &Tx<'_>, now: Timestamp) -> Result<EnvironmentId, StoreError> {
        tx.keep_environment(&self.inherited, &self.digest, now)
    }
}

/// Keeps the whole environment of a caller, by the settings of the home.
pub fn keep_environment(tx: &Tx<'_>, caller: &Submitter, now: Timestamp) -> Result<EnvironmentId, OpsError> {
    let [choice, exclude] = tx.two_settings([ENV.name, ENV_EXCLUDE.name])?;
    let rule = EnvironmentRule { choice: ENV.value(choice.as_deref()), exclude, named: Vec::new() };
    Ok(Inheritance::new(caller, &rule)?.keep(tx, now)?)
}

/// The last submitter, and what its tasks inherit: most submits come from one shell after the other.
#[derive(Debug, Default)]
pub struct LastSubmitter {
    known: Option<KnownSubmitter>,
}

/// A submitter that was seen.
#[derive(Debug)]
pub struct KnownSubmitter {
    /// As it was sent.
    bytes: Vec<u8>,
    rule: EnvironmentRule,
    pub inheritance: Inheritance,
    row: Option<EnvironmentId>,
    /// What this process can't give its tasks, for a person.
    pub out_of_reach: Vec<String>,
}

impl LastSubmitter {
    /// The submitter of these bytes. None: they can't be read.
    pub fn see(&mut self, bytes: &[u8], rule: EnvironmentRule) -> Result<Option<&mut KnownSubmitter>, OpsError> {
        if !self.known.as_ref().is_some_and(|known| known.bytes == bytes && known.rule == rule) {
            let Some(submitter) = Submitter::from_bytes(bytes) else { return Ok(None) };
            let inheritance = Inheritance::new(&submitter, &rule)?;
            let out_of_reach = submitter.attributes.out_of_reach();
            self.known = Some(KnownSubmitter { bytes: bytes.to_vec(), rule, inheritance, row: None, out_of_reach });
        }
        Ok(self.known.as_mut())
    }
}

impl KnownSubmitter {
    /// Its row. A transaction that wrote it may not have been committed, so that is looked up.
    pub fn row(&mut self, tx: &Tx<'_>, now: Timestamp) -> Result<EnvironmentId, StoreError> {
        let row = match self.row {
            Some(row) if tx.keeps_environment(row, &self.inheritance.digest)? => row,
            _ => self.inheritance.keep(tx, now)?,
        };
        self.row = Some(row);
        Ok(row)
    }
}
