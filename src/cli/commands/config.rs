//! `grid config`.

use super::super::args::Config;
use super::super::caller;
use super::super::exit::Code;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, with_grid};
use crate::model::settings::SSH_COMMAND;
use crate::ops::report::Refreshed;
use crate::ops::settings;

/// Says which servers could not be probed for a changed setting.
fn unread(servers: &[Refreshed], out: &mut Out) {
    for server in servers {
        if let Some(error) = &server.error {
            out.note(&format!("{} could not be probed again: {error}", server.name));
        }
    }
}

pub fn run(verb: Config, out: &mut Out) -> CommandResult {
    with_grid(out, |grid, out| {
        match verb {
            Config::List(listing) => {
                let all = settings::list(grid)?;
                if listing.json {
                    out.json(&all)?;
                } else {
                    let mut table = Table::new(&["NAME", "VALUE", "SET", "WHAT"]);
                    for setting in all {
                        let set = if setting.set { "yes" } else { "default" };
                        table.row([setting.name.into(), setting.value, set.into(), setting.about.into()]);
                    }
                    out.table(&table)?;
                }
            }
            Config::Get { name } => out.line(&settings::get(grid, &name)?.value)?,
            Config::Set { name, value } => {
                // The dispatcher is in no directory of the person's.
                let is_ssh = name == SSH_COMMAND.name;
                let value = if is_ssh { caller::ssh_command(&value).0 } else { value };
                unread(&settings::set(grid, &name, &value)?, out);
            }
            Config::Unset { name } => unread(&settings::unset(grid, &name)?, out),
        }
        Ok(Code::OK)
    })
}
