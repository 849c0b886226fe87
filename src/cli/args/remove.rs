//! `grid remove`.

use crate::model::selector::Selector;
use crate::model::time::parse_duration;
use clap::Args;
use std::time::Duration;

const EXAMPLES: &str = "\
What goes: the task's row, its outputs (also long ones, on their servers) and what it brought back. What \
stays: its usage, in the sums of its user. Refused where the task has not ended, where nobody has \
unpacked what it brought back, and where its client in another home does not know yet how it ended. With \
--ended, --older and `all` such tasks are left and named. Of a task in another home the row here goes, \
with --everywhere also the task there.

Examples:
  grid remove last
  grid remove -n --ended
  grid remove --older 7d
  grid remove --discard all

Exit codes: 0 removed   1 refused, nothing was removed, with the reasons";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Remove {
    /// 12, 12-15, last, all (that ended)
    #[arg(value_name = "ID", conflicts_with_all = ["ended", "older"])]
    pub ids: Vec<Selector>,
    /// All of yours that ended
    #[arg(long)]
    pub ended: bool,
    /// Those of them that ended longer ago than this, as 7d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_duration)]
    pub older: Option<Duration>,
    /// Also tasks whose files nobody unpacked, or whose client has not heard how they ended
    #[arg(long)]
    pub discard: bool,
    /// Also in the homes that hold them
    #[arg(long)]
    pub everywhere: bool,
    /// Say what would go, remove nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Let `all`, `last`, --ended and --older mean everyone's
    #[arg(long)]
    pub everyone: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}
