//! The shape of the code: which folder may import which, who may print, how files are named and how long they are.
//! Each test reads all of `src/`, as tokens and as items. Exceptions stand in lists with their reason; an exception that is no
//! longer needed fails too.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "tidy/calls.rs"]
mod calls;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/items.rs"]
mod items;
#[path = "tidy/ladder.rs"]
mod ladder;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/source.rs"]
mod source;
