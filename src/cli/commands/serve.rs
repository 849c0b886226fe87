//! `grid serve`: becomes this home's side of a link to another one.

use super::super::args::ServeArgs;
use super::super::caller;
use super::super::exit::Code;
use super::{CommandResult, absolute};
use crate::ops::OpsError;
use crate::ops::home::Home;
use crate::ops::serve::{self, Credentials, SessionSetup};

pub fn run(args: ServeArgs) -> CommandResult {
    let home = match args.home {
        Some(dir) => Home::at(absolute(&dir)?),
        None => Home::locate(&caller::places()).map_err(OpsError::from)?.home,
    };
    let credentials = Credentials {
        user: args.user,
        vouch: args.vouch,
        far: caller::is_far(),
        home: caller::places().home.map(|home| home.into_os_string().into()),
    };
    let setup = SessionSetup { credentials, client: caller::client(), login: caller::ssh() };
    serve::serve(&home, setup, std::io::stdin().lock(), std::io::stdout())?;
    Ok(Code::OK)
}
