//! `grid remove`.

use crate::model::selector::Selector;
use crate::model::time::parse_duration;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Remove {
    /// Tasks that have ended: 12, 12-15, last, all, or a name; several with commas too
    #[arg(value_name = "ID", value_delimiter = ',', conflicts_with_all = ["ended", "older"])]
    pub ids: Vec<Selector>,
    /// All your tasks that have ended
    #[arg(long)]
    pub ended: bool,
    /// Your tasks that ended longer ago than this, as 7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    pub older: Option<Duration>,
    /// Also tasks whose files are not unpacked, or whose client does not yet know how they ended
    #[arg(long)]
    pub discard: bool,
    /// Remove the tasks also in the homes that hold them
    #[arg(long)]
    pub everywhere: bool,
    /// Show what would be removed; remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Let `all`, `last`, --ended and --older mean the tasks of all users
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}
