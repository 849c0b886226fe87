//! # The map
//!
//! `grid` puts a task on the server that fits it best. This page is the way of one `grid submit` through the folders,
//! who may know whom, and what is promised on the way. `ops/submit/` is the same, as code. `docs/architecture/` explains each part,
//! with a picture; `ARCHITECTURE.md` lists the pages.
//!
//! ```text
//! cli -> ops/submit -> distributor/search -> distributor/tier1 -> distributor/tier2 -> matching
//!                                                                      |
//!                                                                    store   one transaction, on the disk
//!                                                                      |
//!        dispatch (on demand) -> engine -> link -> agent -> supervisor -> command
//! ```
//!
//! 1. [`cli`] turns arguments into a [`ops::draft::Draft`]; [`ops::submit`] completes it with its profile to a
//!    [`model::task::Request`] and seals that into a [`protocol::envelope::Envelope`].
//! 2. The client's first-tier set is searched in order ([`distributor::search`]). The member that answers redirects
//!    ([`distributor::tier1`]): a list of second-tier members, a function of their records and nothing of the task.
//! 3. That list is searched in order, in two passes: who can start it now, else who could ever run it. Each member opens
//!    the envelope and asks its servers ([`distributor::tier2`], [`matching`]).
//! 4. The commit takes the task in, once for each uuid, and gives it its server in the same transaction ([`store`]).
//!    The id is printed after that transaction is on the disk. Where a dispatcher runs, it does 2 to 4 for the command
//!    ([`ops::submit`], [`distributor::local_search`]).
//! 5. The dispatcher ([`dispatch`]) is woken, or started: one process for a home, by lock, as long as there is work. It
//!    opens a link ([`link`]) by the server's engine ([`engine`]) to the agent there ([`agent`]), which has a spool and
//!    no database.
//! 6. The agent hands the attempt to a supervisor, which writes a record before it starts anything, outlives everybody,
//!    and writes how the command ended. The dispatcher takes the end home; `wait`, `logs` and `explain` tell it.
//!
//! # Who may import whom
//!
//! | folder | may import |
//! |---|---|
//! | [`model`] | nothing of ours |
//! | [`matching`], [`store`], [`protocol`], [`archive`] | model |
//! | [`link`] | protocol, model |
//! | [`agent`] | archive, protocol, model |
//! | [`engine`] | link, protocol, model |
//! | [`distributor`] | link, matching, store, protocol, model |
//! | [`dispatch`] | engine, link, distributor, matching, store, archive, protocol, model |
//! | [`ops`] | dispatch, distributor, matching, store, archive, protocol, model |
//! | [`cli`] | ops, model; agent only to become it |
//!
//! `tests/tidy.rs` keeps the ladder, and that SQL stays in `store`, and clap, tables and printing in `cli`.
//!
//! # Promises
//!
//! * **Acknowledged means durable.** Once an id is printed, neither kill -9 nor a power cut loses the task.
//! * **At most one start per attempt.** The record is made before the start; the same start said again is answered from it.
//! * **An unreachable server is not an ended task.** LOST is said only when supervisor and command are gone without a record.
//! * **The redirect is independent of the task and of the client.** The first tier has no type through which it could look.
//! * **None is told "database is locked".** Writers queue at a gate, in short IMMEDIATE transactions.

pub mod agent;
pub mod archive;
pub mod cli;
pub mod dispatch;
pub mod distributor;
pub mod engine;
pub mod link;
pub mod matching;
pub mod model;
pub mod ops;
pub mod protocol;
pub mod store;
