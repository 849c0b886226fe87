//! Links, hosts, disks and logins that fail while tasks run: no task is lost, none runs twice, and what is told meanwhile is true.

mod alive;
mod crash;
mod late;
mod link;
mod login;
mod storage;

use crate::lab::Lab;
use crate::support::rig::Killed;

/// What can befall the way to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Cut,
    Mute,
    Deaf,
    Frozen,
    SessionsKilled,
    SshdKilled,
}

pub const FAULTS: [Fault; 6] =
    [Fault::Cut, Fault::Mute, Fault::Deaf, Fault::Frozen, Fault::SessionsKilled, Fault::SshdKilled];

impl Fault {
    pub fn strike(self, lab: &Lab, host: &str) {
        match self {
            Self::Cut => lab.rig.cut(host),
            Self::Mute => lab.rig.mute(host),
            Self::Deaf => lab.rig.deafen(host),
            Self::Frozen => lab.rig.freeze(host),
            Self::SessionsKilled => lab.rig.kill_sshd(host, Killed::Sessions),
            Self::SshdKilled => lab.rig.kill_sshd(host, Killed::All),
        }
    }

    pub fn mend(self, lab: &Lab, host: &str) {
        match self {
            Self::Cut | Self::Mute | Self::Deaf => lab.rig.heal(host),
            Self::Frozen => lab.rig.thaw(host),
            Self::SessionsKilled => {}
            Self::SshdKilled => lab.rig.start_sshd(host, &[]),
        }
    }

    /// Does it last until it is mended?
    pub fn lasts(self) -> bool {
        self != Self::SessionsKilled
    }
}
