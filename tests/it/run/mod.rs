//! `grid run`: its streams, its codes, what a signal does to it.

mod codes;
