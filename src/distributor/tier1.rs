//! The first tier: a redirect, and nothing else. It is a function of records, liveness, policy and cursor;
//! this file can't name a task or a client, and `tests/tidy.rs` keeps it so.

use super::search;
use crate::model::distributor::{Policy, Record};
use crate::protocol::envelope::Envelope;

/// The second-tier members that a task is to be offered to, in this order. Empty: this distributor has no answer.
/// The envelope is passed through unopened.
pub fn redirect(_sealed: &Envelope, second_tier: &[Record], policy: Policy, cursor: u64) -> Vec<Record> {
    search::order(second_tier, policy, cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::distributor::{Endpoint, Load, Tier};
    use crate::model::id::{DistributorId, TaskUuid};
    use crate::model::time::Timestamp;
    use crate::protocol::envelope::Sealed;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        ("[a-z]{1,4}", 0i64..50, prop::option::of("x"), any::<bool>(), 0u32..9, 0u32..9, 0f64..64.0).prop_map(
            |(name, id, drained, silent, running, waiting, idle_cpus)| Record {
                id: DistributorId(id),
                name: name.parse().unwrap(),
                tier: Tier::Second,
                endpoint: Endpoint::Local,
                home: None,
                there: None,
                called: None,
                allowed: true,
                due: false,
                left_at: None,
                drained,
                silent_since: silent.then_some(Timestamp(1)),
                load: Some(Load { servers: 1, slots: 4, running, waiting, idle_cpus, power: 1.0 }),
            },
        )
    }

    fn policy() -> impl Strategy<Value = Policy> {
        prop_oneof![Just(Policy::InOrder), Just(Policy::RoundRobin), Just(Policy::LeastLoaded)]
    }

    fn envelope(bytes: Vec<u8>, hops: u8, user: Option<String>) -> Envelope {
        let user = user.map(|u| u.parse().unwrap());
        Envelope {
            version: 1,
            uuid: TaskUuid::new(),
            round: 1,
            user,
            hops,
            sealed: Sealed::from_bytes(bytes),
            list: None,
        }
    }

    proptest! {
        #[test]
        fn redirect_does_not_depend_on_task_or_client(
            records in prop::collection::vec(record(), 0..8), policy in policy(), cursor in any::<u64>(),
            a in prop::collection::vec(any::<u8>(), 0..40), b in prop::collection::vec(any::<u8>(), 0..40),
            user_a in prop::option::of("[a-z]{1,5}"), user_b in prop::option::of("[a-z]{1,5}"), hops in any::<u8>(),
        ) {
            let first = redirect(&envelope(a, 0, user_a), &records, policy, cursor);
            let second = redirect(&envelope(b, hops, user_b), &records, policy, cursor);
            prop_assert_eq!(first, second);
        }

        #[test]
        fn redirect_skips_down_and_drained_members_only(
            records in prop::collection::vec(record(), 0..8), policy in policy(), cursor in any::<u64>(),
        ) {
            let list = redirect(&envelope(vec![], 0, None), &records, policy, cursor);
            let live = records.iter().filter(|r| r.drained.is_none() && r.silent_since.is_none());
            prop_assert_eq!(list.len(), live.clone().count());
            for record in live {
                prop_assert!(list.contains(record));
            }
            if policy == Policy::InOrder {
                let expected: Vec<_> = records.iter().filter(|r| r.drained.is_none() && r.silent_since.is_none()).cloned().collect();
                prop_assert_eq!(list, expected);
            }
        }
    }
}
