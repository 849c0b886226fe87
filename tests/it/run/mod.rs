//! `grid run`: its streams, its codes, what a signal does to it; and what submits leave alone.

mod codes;
mod outputs;
mod quiet;
mod reader;
mod room;
mod signals;
