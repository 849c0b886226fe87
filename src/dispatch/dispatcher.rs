//! The dispatcher: its parts. What matters is in the database; these are made again from it at every start.

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

/// A dispatcher's parts.
pub struct Dispatcher {
    pub(super) home: Home,
    pub(super) instance: Instance,
    pub(super) ambient: Rc<dyn Ambient>,
    /// To agents.
    pub(super) links: Links,
    /// Commands that are connected.
    pub(super) callers: Callers,
    pub(super) submits: Box<dyn SubmitHandler>,
    pub(super) schedule: Schedule,
    pub(super) attempts: Attempts,
    pub(super) transfers: Transfers,
    /// Other homes.
    pub(super) homes: Homes,
    pub(super) disk: Disk,
    pub(super) activity: Activity,
}
