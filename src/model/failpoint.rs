//! Named points at which a process kills itself, so that tests can try a crash at every one.
//! Compiled only with the feature `failpoints`; otherwise a call does nothing.

/// All points, for tests that try each; the first word names the process.
pub const POINTS: &[&str] = &[
    "agent-start-received",
    "agent-run-made",
    "agent-supervisor-spawned",
    "agent-fed",
    "agent-began-read",
    "agent-end-read",
    "agent-events-sent",
    "agent-confirmed",
    "agent-run-removed",
    "supervisor-started",
    "supervisor-order-received",
    "supervisor-before-begin",
    "supervisor-begun",
    "supervisor-spawned",
    "supervisor-recorded",
    "supervisor-ended-before-record",
    "supervisor-end-recorded",
    "supervisor-end-sent",
    "supervisor-closed",
    "client-committed",
    "way-row-written",
    "way-before-place",
    "way-after-place",
    "way-before-commit",
    "way-after-commit",
    "way-before-answer",
    "way-offer-asked",
    "way-offer-made",
    "way-commit-asked",
    "way-commit-made",
    "dispatcher-begun",
    "dispatcher-marked-sent",
    "dispatcher-committed",
    "dispatcher-sent",
    "dispatcher-end-taken",
];

/// Points that only tasks with files pass.
pub const FILE_POINTS: &[&str] = &[
    "agent-piece-taken",
    "agent-work-made",
    "agent-packed",
    "agent-packet-sent",
    "agent-output-linked",
    "dispatcher-piece-sent",
    "dispatcher-packet-taken",
    "dispatcher-output-settled",
    "dispatcher-brought",
];

/// Points that only an upgrade of the database passes.
pub const UPGRADE_POINTS: &[&str] = &["upgrade-copied", "upgrade-stepped", "upgrade-committed"];
/// Points that only `grid uninstall` passes.
pub const UNINSTALL_POINTS: &[&str] = &["uninstall-drained"];

/// Points that only the move of a task passes: the client's home, its owner, the client's home again.
pub const MOVE_POINTS: &[&str] =
    &["move-begun", "move-asked", "move-given-up", "move-answered", "move-recorded", "move-placed"];

/// Kills the process if GRID_FAILPOINT is `NAME` or `NAME:N` (at the Nth passage).
/// With GRID_FAILPOINT_ONCE=PATH only the process that creates that file dies, so it happens once.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    static WANTED: LazyLock<Option<(String, u32)>> = LazyLock::new(|| {
        let text = std::env::var("GRID_FAILPOINT").ok()?;
        Some(match text.split_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().unwrap_or(1)),
            None => (text, 1),
        })
    });
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let known = [POINTS, FILE_POINTS, UPGRADE_POINTS, UNINSTALL_POINTS, MOVE_POINTS];
    debug_assert!(known.iter().any(|points| points.contains(&name)), "{name} is not among the points");
    let Some((wanted, count)) = &*WANTED else { return };
    if wanted != name || PASSED.fetch_add(1, Ordering::Relaxed) + 1 != *count {
        return;
    }
    if let Ok(once) = std::env::var("GRID_FAILPOINT_ONCE")
        && std::fs::OpenOptions::new().write(true).create_new(true).open(once).is_err()
    {
        return;
    }
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Does nothing in programs that are not built for fault tests.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn failpoint(_name: &str) {}
