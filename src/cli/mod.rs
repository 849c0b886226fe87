//! Talks to the person: reads the command line, calls a verb of `ops`, shows its report.

pub mod args;
