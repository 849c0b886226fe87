//! Tasks that a test submits: a single task of one processor unless changed.

use crate::model::command::Environment;
use crate::model::demand::Demand;
use crate::model::max_output::MaxOutput;
use crate::model::resources::Bytes;
use crate::model::task::Members;
use std::time::Duration;

/// A task that a test submits.
#[derive(Debug, Clone)]
pub struct Task {
    pub members: Members,
    pub demand: Demand,
    pub retries: u32,
    pub retry_lost: bool,
    pub lost_after: Option<Duration>,
    pub hold: bool,
    /// Its results are fetched.
    pub fetch: bool,
    pub max_output: Option<MaxOutput>,
    pub env: Environment,
}

impl Default for Task {
    fn default() -> Self {
        let demand = Demand::default();
        let (retries, retry_lost, lost_after, hold, fetch) = (0, false, None, false, false);
        Self {
            members: Members::Single,
            demand,
            retries,
            retry_lost,
            lost_after,
            hold,
            fetch,
            max_output: None,
            env: Environment::default(),
        }
    }
}

impl Task {
    /// An array with this many members, from 0.
    pub fn array(count: u32) -> Self {
        Self { members: Members::Range { first: 0, step: 1, count, at_once: None }, ..Self::default() }
    }

    /// Limits the members that run at once.
    pub fn at_once(mut self, most: u32) -> Self {
        if let Members::Range { at_once, .. } = &mut self.members {
            *at_once = Some(most);
        }
        self
    }

    /// Sets the processors of each member.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.demand.needs.cpus = cpus;
        self
    }

    /// Sets the GiB of memory of each member.
    pub fn gib(mut self, gib: u64) -> Self {
        self.demand.needs.mem = Some(Bytes(gib << 30));
        self
    }

    /// Sets the priority; higher starts sooner.
    pub fn priority(mut self, priority: i32) -> Self {
        self.demand.priority = priority;
        self
    }

    /// Restricts it to servers on which this expression is true.
    pub fn constraint(mut self, expression: &str) -> Self {
        self.demand.constraint = Some(expression.into());
        self
    }

    /// Restricts it to this server.
    pub fn on(mut self, server: &str) -> Self {
        self.demand.on = Some(server.parse().unwrap());
        self
    }

    /// Gives it a class of its own, by a label that nothing else uses.
    pub fn of_class(mut self, name: &str) -> Self {
        self.demand.labels.insert("class".into(), crate::model::attribute::Value::Text(name.into()));
        self
    }

    /// Sets how often a failed member is retried.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }
}
