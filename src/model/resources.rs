//! Sizes, and the resources that a task reserves on a server.

use parse_size::Config;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    #[error("{0:?} is no size: write 512M, 8G or 1.5T (binary: 1K = 1024)")]
    Form(String),
    #[error("{0:?} needs a unit: {0}M or {0}G")]
    NoUnit(String),
    #[error("{0:?} is too large a size")]
    TooLarge(String),
    #[error("{0:?} is nothing: leave the option out")]
    Nothing(String),
}

impl Bytes {
    /// Reads `8G`, `512MiB`, `1.5T`; units are binary.
    pub fn parse(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text != "0" {
            return Err(BadSize::NoUnit(text.to_owned()));
        }
        let size = Config::new().with_binary().parse_size(text).map_err(|error| match error {
            parse_size::Error::PosOverflow => BadSize::TooLarge(text.to_owned()),
            _ => BadSize::Form(text.to_owned()),
        })?;
        if i64::try_from(size).is_err() {
            return Err(BadSize::TooLarge(text.to_owned()));
        }
        Ok(Self(size))
    }

    /// [`Bytes::parse`] for requests: 0 is refused.
    pub fn parse_some(text: &str) -> Result<Self, BadSize> {
        match Self::parse(text)? {
            Self(0) => Err(BadSize::Nothing(text.to_owned())),
            size => Ok(size),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let text = if unit == 0 || value.fract() < 0.05 || value >= 100.0 {
            format!("{value:.0}{}", UNITS[unit])
        } else {
            format!("{value:.1}{}", UNITS[unit])
        };
        f.pad(&text)
    }
}

/// Resources that one running member reserves on its server, beside one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Needs {
    pub cpus: u32,
    /// None reserves no memory and sets no limit.
    pub mem: Option<Bytes>,
}

impl Default for Needs {
    fn default() -> Self {
        Self { cpus: 1, mem: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_never_saturate() {
        assert_eq!(Bytes::parse("8G"), Ok(Bytes(8 << 30)));
        assert_eq!(Bytes::parse("1.5K"), Ok(Bytes(1536)));
        assert_eq!(Bytes(8 << 30).to_string(), "8G");
        assert_eq!(Bytes(1_610_612_736).to_string(), "1.5G");
        assert_eq!(Bytes::parse("512"), Err(BadSize::NoUnit("512".into())));
        assert!(Bytes::parse("99999999999999999999999G").is_err());
        assert!(matches!(Bytes::parse("16E"), Err(BadSize::TooLarge(_))));
        assert_eq!(Bytes::parse("0"), Ok(Bytes(0)));
        assert_eq!(Bytes::parse_some("0G"), Err(BadSize::Nothing("0G".into())));
        for bad in ["", "G", "-1G", "1Q", "1 G B"] {
            assert!(Bytes::parse(bad).is_err(), "{bad}");
        }
    }
}
