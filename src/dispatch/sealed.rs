//! The seal on links and callers while a transaction of the dispatcher is open: messages are sent after the commit.
//!
//! A message that is sent too early is a bug that shows only when the commit fails or the process is killed. In debug builds
//! [`assert_open`] fails every test that reaches it.

use crate::store::{Durability, Store, StoreError, Tx};
use std::cell::Cell;

thread_local! {
    static SEALED: Cell<bool> = const { Cell::new(false) };
}

/// Restores the previous seal when dropped, also after a panic.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        SEALED.set(self.0);
    }
}

/// Runs a write transaction in which nothing may be sent.
pub(in crate::dispatch) fn write<T, E: From<StoreError>>(
    store: &mut Store,
    durability: Durability,
    change: impl FnOnce(&Tx<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let _restore = Restore(SEALED.replace(true));
    store.write(durability, change)
}

/// Runs work that may send before the commit of an open transaction; the call site says why.
pub(in crate::dispatch) fn lifted<T>(work: impl FnOnce() -> T) -> T {
    let _restore = Restore(SEALED.replace(false));
    work()
}

/// Asserts that no transaction is open, so that messages to links, callers and other homes may be sent.
pub(in crate::dispatch) fn assert_open() {
    debug_assert!(!SEALED.get(), "a message is sent before the commit: make it an Effect");
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn seal_is_restored_after_a_panic_and_lifted_work() {
        let panics = std::panic::catch_unwind(|| {
            let _restore = Restore(SEALED.replace(true));
            lifted(assert_open);
            assert!(SEALED.get(), "the seal is back after lifted work");
            assert_open();
        });
        assert!(panics.is_err());
        assert_open();
    }
}
