//! What is lost with a home, and what stays, in words.

use super::CronEnvironment;
use crate::store::uninstall::Remains;
use std::path::{Path, PathBuf};

/// What is nowhere else.
pub(super) fn lost(remains: &Remains) -> Vec<String> {
    let of = |count: u64| if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") };
    let mut lost = Vec::new();
    if remains.tasks > 0 {
        lost.push(format!("records and outputs of {}", of(remains.tasks)));
    }
    if remains.unread > 0 {
        lost.push(format!("results of {} that nobody has unpacked: `grid fetch ID` unpacks them", of(remains.unread)));
    }
    if remains.unheard > 0 {
        lost.push(format!("the ends of {} of other homes, whose clients have not heard of them", of(remains.unheard)));
    }
    lost
}

/// What grid did not make, or can't know that it did.
pub(super) fn stays(caller: &CronEnvironment, data_home: Option<&Path>, others: &[PathBuf]) -> Vec<String> {
    let home = Path::new(&caller.home);
    let data = data_home.map_or_else(|| home.join(".local/share"), Path::to_owned);
    let mut stays: Vec<String> = others.iter().map(|path| format!("{}: not made by grid", path.display())).collect();
    let made_by_hand = [
        (data.join("bash-completion/completions/grid"), "`grid completions bash`"),
        (home.join(".config/fish/completions/grid.fish"), "`grid completions fish`"),
        (data.join("man/man1/grid.1"), "`grid man`, with grid-*.1 beside it"),
        (home.join(".config/systemd/user/grid-refresh.timer"), "`grid cron show --systemd`; disable it first"),
        (home.join(".config/systemd/user/grid-refresh.service"), "`grid cron show --systemd`"),
    ];
    let there = made_by_hand.iter().filter(|(path, _)| path.exists());
    stays.extend(there.map(|(path, by)| format!("{}: written by {by}", path.display())));
    let as_server = [home.join(".local/state/grid"), home.join(".cache/grid")];
    for dir in as_server.iter().filter(|dir| dir.exists()) {
        stays.push(format!("{}: of homes that have this host as a server over ssh", dir.display()));
    }
    stays.push(format!("{}: this program", caller.program.display()));
    stays
}

/// A crontab that this account may not use: cron.allow or cron.deny came after lines of grid's, or there are none.
pub(super) fn denied_table(why: &str) -> String {
    format!("the crontab, which this account may not use ({why}): root removes lines of grid's, if there are any")
}
