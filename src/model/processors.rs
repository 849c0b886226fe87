//! The processors on which a child starts. A kernel that packs processes onto few of them lets a child wait behind the parent that
//! started it, while another processor idles.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::fmt;
use std::str::FromStr;

/// Processors that a process may run on; empty if they are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Processors(CpuSet);

impl Processors {
    /// The processors of this process now. A processor that is added to the machine later is not among them.
    pub fn own() -> Self {
        Self(sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new()))
    }

    /// Moves this process to all processors that the system allows, whatever its starter used.
    pub fn take_all() {
        let mut all = CpuSet::new();
        (0..CpuSet::MAX_CPU).for_each(|number| all.set(number));
        // If that is not allowed the process stays where it is.
        let _ = sched_setaffinity(None, &all);
    }

    /// Keeps a child off the processor of this process, until the child takes all ([`Self::take`]), which it does before it starts anything.
    pub fn keep_aside(self, child: u32) {
        let (mut others, here) = (self.0, sched_getcpu());
        if here < CpuSet::MAX_CPU {
            others.unset(here);
        }
        if let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw)
            && others.count() > 0
        {
            // A child that may not be moved starts anyway.
            let _ = sched_setaffinity(Some(child), &others);
        }
    }

    /// Moves this process to these processors.
    pub fn take(self) {
        if self.0.count() > 0
            && let Err(error) = sched_setaffinity(None, &self.0)
        {
            // In that case the child was not moved before either.
            tracing::warn!("processors {self}: {error}");
        }
    }
}

/// Prints their numbers.
impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = (0..CpuSet::MAX_CPU).filter(|at| self.0.is_set(*at)).map(|at| at.to_string()).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Processors {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = CpuSet::new();
        for number in text.split(',').filter(|number| !number.is_empty()) {
            let number: usize = number.parse()?;
            if number < CpuSet::MAX_CPU {
                all.set(number);
            }
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_survive_their_text() {
        let mut some = CpuSet::new();
        for number in [0, 1, 63, 64, CpuSet::MAX_CPU - 1] {
            some.set(number);
        }
        let some = Processors(some);
        assert_eq!(some.to_string(), "0,1,63,64,1023");
        for set in [some, Processors(CpuSet::new()), Processors::own()] {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        assert!("0,x".parse::<Processors>().is_err());
        assert_eq!("99999999".parse(), Ok(Processors(CpuSet::new())));
    }
}
