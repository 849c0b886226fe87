//! `grid doctor`.

use super::super::args::Doctor;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{CommandResult, open, with_grid};
use crate::ops::report::{Check, Finding};
use crate::ops::{doctor, host_doctor};

pub fn run(args: Doctor, out: &mut Out) -> CommandResult {
    if let Some(host) = args.host {
        return with_grid(out, |grid, out| {
            let checks = host_doctor::host(grid, &host)?;
            tell(&checks, args.listing.json, out)
        });
    }
    let mut opened = open(out);
    let checks = match &mut opened {
        Ok(grid) => doctor::doctor(&caller::places(), Ok(grid))?,
        Err(Failure::Ops(error)) => doctor::doctor(&caller::places(), Err(error.to_string()))?,
        Err(_) => return opened.map(|_| Code::OK),
    };
    tell(&checks, args.listing.json, out)
}

fn tell(checks: &[Check], json: bool, out: &mut Out) -> CommandResult {
    if json {
        out.json(checks)?;
    } else {
        let mut table = Table::new(&["RESULT", "CHECK", "FOUND", "REMEDY"]);
        for check in checks {
            let result = match check.result {
                Finding::Ok => "ok",
                Finding::Warn => "warn",
                Finding::Fail => "FAIL",
            };
            let remedy = check.remedy.clone().unwrap_or_default();
            table.row([result.to_owned(), check.what.to_owned(), check.found.clone(), remedy]);
        }
        out.table(&table)?;
    }
    let failed = checks.iter().any(|check| check.result == Finding::Fail);
    Ok(if failed { Code::REFUSED } else { Code::OK })
}
