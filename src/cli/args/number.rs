//! Whole numbers as people type them; Rust's own words for what is none would not tell them what to write.

use std::num::IntErrorKind;

/// Reads a number from `MIN` up.
pub fn at_least<const MIN: u32>(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if number >= MIN => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => Err(format!("at most {}", u32::MAX)),
        _ => Err(format!("{text:?}: write a whole number, {MIN} or more")),
    }
}

/// Reads a number that may be negative.
pub fn whole(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from {} to {}", i32::MIN, i32::MAX))
}
