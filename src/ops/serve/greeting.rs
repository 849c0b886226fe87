//! The hello on a link between homes: which home calls, and the protocol version of both.

use crate::model::endpoint::no_home;
use crate::model::id::HomeId;
use crate::ops::OpsError;
use crate::protocol::distributor::{FRAME_MAX, ToServe, VERSION, VERSION_MIN};
use crate::protocol::frame;
use crate::store::settings::HomeRow;
use crate::store::{Home, Store};
use std::io::Read;

/// Reads the caller's hello: its home, its version, and the row of this home. None: the input has ended.
pub(super) fn greet(home: &Home, input: &mut impl Read) -> Result<Option<(HomeId, u32, HomeRow)>, OpsError> {
    let hello = match frame::read_limited(input, FRAME_MAX) {
        Ok(Some(hello)) => hello,
        Ok(None) => return Ok(None),
        Err(error) => return Err(OpsError::Usage(format!("this is no greeting: {error}"))),
    };
    let ToServe::Hello { version_min, version, home: peer, .. } = hello else {
        return Err(OpsError::Usage("the first message must be a hello".to_owned()));
    };
    if version_min > VERSION || version < VERSION_MIN {
        return Err(OpsError::Usage(format!(
            "this grid speaks versions {VERSION_MIN} to {VERSION} between homes, the caller {version_min} to {version}: \
             bring both to the same release"
        )));
    }
    if !home.exists() {
        return Err(OpsError::Refused(no_home(home.dir())));
    }
    Ok(Some((peer, version, Store::open(home)?.view().home_row()?)))
}
