//! The parts of the dispatcher. Their state is rebuilt from the database at every start.

use super::attempts::Attempts;
use super::homes::Homes;
use super::links::Links;
use super::process::activity::Activity;
use super::process::callers::Callers;
use super::process::disk::Disk;
use super::process::instance::Instance;
use super::schedule::Schedule;
use super::submits::SubmitHandler;
use super::transfer::Transfers;
use crate::model::ambient::Ambient;
use crate::store::Home;
use std::rc::Rc;

/// The dispatcher of a home.
pub struct Dispatcher {
    pub(super) home: Home,
    pub(super) instance: Instance,
    pub(super) ambient: Rc<dyn Ambient>,
    /// Links to agents.
    pub(super) links: Links,
    /// Connected commands.
    pub(super) callers: Callers,
    pub(super) submits: Box<dyn SubmitHandler>,
    pub(super) schedule: Schedule,
    pub(super) attempts: Attempts,
    pub(super) transfers: Transfers,
    /// Links to other homes.
    pub(super) homes: Homes,
    pub(super) disk: Disk,
    pub(super) activity: Activity,
}
