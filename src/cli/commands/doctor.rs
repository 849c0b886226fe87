//! `grid doctor`.

use super::super::args::Listing;
use super::super::caller;
use super::super::exit::Code;
use super::super::failure::Failure;
use super::super::output::Out;
use super::super::output::table::Table;
use super::{Done, open};
use crate::ops::doctor;
use crate::ops::report::Finding;

pub fn run(listing: Listing, out: &mut Out) -> Done {
    let mut opened = open(out);
    let checks = match &mut opened {
        Ok(grid) => doctor::doctor(&caller::places(), Ok(grid))?,
        Err(Failure::Ops(error)) => doctor::doctor(&caller::places(), Err(error.to_string()))?,
        Err(_) => return opened.map(|_| Code::OK),
    };
    if listing.json {
        out.json(&checks)?;
    } else {
        let mut table = Table::new(&["RESULT", "CHECK", "FOUND", "REMEDY"]);
        for check in &checks {
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
