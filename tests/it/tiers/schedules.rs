//! Faults between and within the tiers: whatever is cut, frozen or killed at whichever step, an acknowledged task is held by
//! exactly one home in the end, and a refused one by none.

use super::world::{
    FAULTS, Fault, Plan, Planned, STEPS, Step, Wire, World, context, found, holds, know, principal, request,
};
use crate::support::said;
use grid::distributor::front::SERIES;
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::reconcile::reconcile;
use grid::model::distributor::Tier;
use grid::model::id::TaskUuid;
use grid::protocol::envelope::Envelope;
use grid::protocol::seal;
use grid::store::Store;
use grid::store::away::AwayState;
use std::collections::BTreeMap;

/// Small, good enough to scatter, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const SCHEDULES: u64 = 500;

#[test]
fn fault_schedules_lose_and_double_no_task() {
    let (world, dir) = World::new();
    // A client, three first tiers that know the same three second tiers, which fill up as the schedules go on. Each has a second tier
    // of its own too: one has a server, the others have none.
    let mut client = found(&dir.join("a"), 1);
    let mut seconds: Vec<Store> = (0..3).map(|n| found(&dir.join(format!("s{n}")), 40 + 20 * n)).collect();
    let mut fronts: Vec<Store> = (0..3).map(|n| found(&dir.join(format!("f{n}")), [1, 30, 1][n])).collect();
    for (n, front) in fronts.iter_mut().enumerate() {
        if n != 1 {
            super::back::remove_server(front);
        }
        for m in 0..3 {
            know(front, &format!("lab-{m}"), Tier::Second, &seconds[(m + n) % 3]);
        }
        know(&mut client, &format!("front-{n}"), Tier::First, front);
    }
    let own = client.view().distributor("tier1").unwrap().unwrap().id;
    client.write(grid::store::Durability::Normal, |tx| tx.remove_distributor(own)).unwrap();
    let seed: u64 = std::env::var("GRID_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_125);
    said::tell(&format!("schedules from seed {seed} (GRID_SEED)"));
    let mut table: BTreeMap<(Fault, Step), u32> = BTreeMap::new();
    let mut ends: BTreeMap<&str, u32> = BTreeMap::new();
    let mut by_front = 0;
    for number in 0..SCHEDULES {
        let mut random = Random(seed ^ (number << 20));
        // The first fault goes through all pairs in turn; finds are asked only after another fault.
        let pair = usize::try_from(number).unwrap() % (FAULTS.len() * STEPS.len());
        let (fault, step) = (FAULTS[pair % FAULTS.len()], STEPS[pair / FAULTS.len()]);
        let mut coming = vec![Planned { fault, step, after: u32::try_from(random.below(2)).unwrap() }];
        if matches!(step, Step::BeforeFind | Step::AfterFind) {
            coming[0].after = 0;
            coming.push(Planned { fault: Fault::Cut, step: Step::SecondAfterCommit, after: 0 });
        } else if random.below(2) == 0 {
            let any = |random: &mut Random, n: usize| usize::try_from(random.below(n as u64)).unwrap();
            let (fault, step) = (FAULTS[any(&mut random, FAULTS.len())], STEPS[any(&mut random, STEPS.len())]);
            coming.push(Planned { fault, step, after: u32::try_from(random.below(3)).unwrap() });
        }
        let whole_hosts = random.below(2) == 0;
        let stays_down = u32::try_from(random.below(4)).unwrap();
        world.begin(Plan { coming, whole_hosts, stays_down, ..Plan::default() });
        let told = format!("schedule {number} of seed {seed}: {:?}", world.plan.lock().unwrap().coming);

        let mut request = request();
        request.demand.needs.cpus = [1, 1, 1, 30, 999][usize::try_from(random.below(5)).unwrap()];
        let sealed = seal::seal(&request).unwrap().0;
        let uuid = TaskUuid::new();
        let envelope = Envelope { version: 1, uuid, round: SERIES, user: None, hops: 0, sealed, list: None };
        let principal = principal();
        let mut order = PlacementRequest::new(envelope, &request, &principal);
        let outcome = place(&mut context(&mut client, &mut Wire::of_client(&world)), &mut order)
            .unwrap_or_else(|e| panic!("{told}: {e}"));

        // What froze goes on before, between or after the settling.
        let thaw_at = random.below(4);
        for round in 0..12 {
            if round == thaw_at {
                world.thaw();
            }
            let open = client.view().away_open(10).unwrap();
            for away in &open {
                reconcile(&mut context(&mut client, &mut Wire::of_client(&world)), away, &principal)
                    .unwrap_or_else(|e| panic!("{told}: {e}"));
            }
        }
        world.thaw();
        let homes: Vec<&Store> = seconds.iter().chain(&fronts).collect();
        let held: Vec<usize> = (0..homes.len()).filter(|n| holds(homes[*n], uuid)).collect();
        let struck = world.plan.lock().unwrap().struck.clone();
        for pair in &struck {
            *table.entry(*pair).or_default() += 1;
        }
        let (word, task) = match outcome {
            SearchOutcome::Here(_) => panic!("{told}: the client has no servers"),
            SearchOutcome::Away(task) => ("placed", Some(task)),
            SearchOutcome::Open { task, .. } => ("reconciled later", Some(task)),
            SearchOutcome::Refused { .. } => ("refused", None),
        };
        *ends.entry(word).or_default() += 1;
        match task {
            None => assert_eq!(held, Vec::<usize>::new(), "{told}; struck {struck:?}: refused, and held all the same"),
            Some(task) => {
                let away = client.view().away(task).unwrap().unwrap();
                if request.demand.needs.cpus == 999 {
                    // It was acknowledged before anybody could say that nothing will ever run it: it stays and is asked again.
                    assert_eq!(held, Vec::<usize>::new(), "{told}");
                    client.write(grid::store::Durability::Normal, |tx| tx.cancelled_away(task, away.asked_at)).unwrap();
                    continue;
                }
                assert_eq!(held.len(), 1, "{told}; struck {struck:?}: held by {held:?}");
                by_front += u32::from(held[0] >= seconds.len());
                let owner = homes[held[0]].view().home_row().unwrap().id;
                let AwayState::By { home, id } = away.held else {
                    panic!("{told}; struck {struck:?}: still open: {away:?}")
                };
                assert_eq!(home, owner, "{told}");
                assert_eq!(homes[held[0]].view().held_by_uuid(uuid).unwrap().0, Some(id), "{told}");
            }
        }
    }
    for second in &mut seconds {
        assert!(second.log_len() > 0);
    }
    said::tell(&format!("ends: {ends:?}, {by_front} in the home of a front"));
    for step in STEPS {
        let counts: Vec<String> =
            FAULTS.iter().map(|f| format!("{f:?} {}", table.get(&(*f, step)).copied().unwrap_or(0))).collect();
        said::tell(&format!("{step:?}: {}", counts.join(", ")));
        for fault in FAULTS {
            assert!(table.get(&(fault, step)).is_some_and(|n| *n >= 3), "{fault:?} at {step:?} struck too seldom");
        }
    }
    assert!(by_front > 10, "{by_front}");
    assert!(ends["placed"] > 50 && ends["reconciled later"] > 20 && ends["refused"] > 20, "{ends:?}");
}
