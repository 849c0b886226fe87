//! Faults while a task moves: whatever is cut, frozen or killed at whichever step, one home holds it in the end, and its client's
//! home knows which.

use super::world::{FAULTS, Fault, Plan, Planned, Step, Wire, World, context, found, holds, know, principal, request};
use grid::distributor::front::SERIES;
use grid::distributor::moving::move_away;
use grid::distributor::place::{PlacementRequest, SearchOutcome, place};
use grid::distributor::reconcile::reconcile;
use grid::model::distributor::Tier;
use grid::model::id::{TaskId, TaskUuid};
use grid::model::task::Phase;
use grid::model::time::Timestamp;
use grid::protocol::envelope::Envelope;
use grid::protocol::seal;
use grid::store::away::AwayState;
use grid::store::ledger::Ledger;
use grid::store::{Durability, Store, StoreError};
use std::path::Path;
use std::sync::Arc;

/// Steps that a move passes: the owner's answer, and the search after it.
const STEPS: [Step; 6] = [
    Step::BeforeGiveUp,
    Step::AfterGiveUp,
    Step::FirstBeforeOffer,
    Step::FirstBetween,
    Step::SecondBeforeCommit,
    Step::SecondAfterCommit,
];

/// A client, two fronts, and three labs that both fronts know. The first lab has one processor, and a task that takes it.
struct Homes {
    world: Arc<World>,
    client: Store,
    fronts: Vec<Store>,
    labs: Vec<Store>,
}

impl Homes {
    fn found(dir: &Path, world: Arc<World>) -> Self {
        let mut client = found(&dir.join("client"), 1);
        let labs: Vec<Store> =
            [1, 500, 500].iter().zip(0..).map(|(cpus, n)| found(&dir.join(format!("s{n}")), *cpus)).collect();
        let mut fronts: Vec<Store> = (0..2).map(|n| found(&dir.join(format!("f{n}")), 1)).collect();
        for (n, front) in fronts.iter_mut().enumerate() {
            drain(front, "tier2", true);
            for (m, lab) in labs.iter().enumerate() {
                know(front, &format!("lab-{m}"), Tier::Second, lab);
            }
            know(&mut client, &format!("front-{n}"), Tier::First, front);
        }
        drain(&mut client, "tier1", true);
        let mut homes = Self { world, client, fronts, labs };
        let (_, first) = homes.submit();
        assert_eq!(homes.labs_of(first), [0], "it takes the only processor");
        homes
    }

    /// A task that comes to the first lab.
    fn submit(&mut self) -> (TaskId, TaskUuid) {
        self.others_are_drained(true);
        let request = request();
        let uuid = TaskUuid::new();
        let sealed = seal::seal(&request).unwrap().0;
        let envelope = Envelope { version: 1, uuid, round: SERIES, user: None, hops: 0, sealed, list: None };
        let principal = principal();
        let mut order = PlacementRequest::new(envelope, &request, &principal);
        let placed = place(&mut context(&mut self.client, &mut Wire::of_client(&self.world)), &mut order).unwrap();
        let SearchOutcome::Away(task) = placed else { panic!("{placed:?}") };
        self.others_are_drained(false);
        (task, uuid)
    }

    fn others_are_drained(&mut self, drained: bool) {
        for front in &mut self.fronts {
            ["lab-1", "lab-2"].iter().for_each(|lab| drain(front, lab, drained));
        }
    }

    /// The labs that hold a task.
    fn labs_of(&self, uuid: TaskUuid) -> Vec<usize> {
        (0..self.labs.len()).filter(|n| holds(&self.labs[*n], uuid)).collect()
    }

    /// The first lab's owner holds a task, or releases it.
    fn shift(&mut self, uuid: TaskUuid, from: Phase, to: Phase) {
        let lab = &mut self.labs[0];
        let Some(task) = lab.view().held_by_uuid(uuid).unwrap().0 else { return };
        let shifted = lab.write(Durability::Normal, |tx| {
            let mut ledger = Ledger::open(tx, Timestamp::now());
            ledger.shift(task, None, from, to)?;
            ledger.close()
        });
        shifted.map_err(|error: StoreError| error).unwrap();
    }

    /// Goes on with what is open.
    fn reconcile(&mut self) {
        for away in self.client.view().away_open(10).unwrap() {
            reconcile(&mut context(&mut self.client, &mut Wire::of_client(&self.world)), &away, &principal()).unwrap();
        }
    }

    /// One lab has the task, the client knows it, and nothing of the move is left open. Gives the lab.
    fn settled(&self, task: TaskId, uuid: TaskUuid, told: &str) -> usize {
        let held = self.labs_of(uuid);
        assert_eq!(held.len(), 1, "{told}: held by {held:?}");
        let lab = self.labs[held[0]].view();
        let away = self.client.view().away(task).unwrap().unwrap();
        let expected =
            AwayState::By { home: lab.home_row().unwrap().id, id: lab.held_by_uuid(uuid).unwrap().0.unwrap() };
        assert_eq!(away.held, expected, "{told}");
        held[0]
    }
}

fn drain(store: &mut Store, name: &str, drained: bool) {
    let id = store.view().distributor(name).unwrap().unwrap().id;
    let drained = store.write(Durability::Normal, |tx| tx.set_distributor_drained(id, drained.then_some("later")));
    drained.map_err(|error: StoreError| error).unwrap();
}

#[test]
fn fault_schedules_of_moves_lose_and_double_no_task() {
    let (world, dir) = World::new();
    let mut homes = Homes::found(&dir, Arc::clone(&world));
    let (mut moved, mut stayed, mut struck) = (0, 0, 0);
    for number in 0..FAULTS.len() * STEPS.len() * 16 {
        let (fault, step) = (FAULTS[number % FAULTS.len()], STEPS[number / FAULTS.len() % STEPS.len()]);
        let bits = number / (FAULTS.len() * STEPS.len());
        world.begin(Plan::default());
        let (task, uuid) = homes.submit();
        let (held, early, whole_hosts, twice) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0, bits & 8 > 0);
        let planned = Planned { fault, step, after: 0 };
        let second = Planned { fault: Fault::Cut, step: Step::AfterGiveUp, after: 0 };
        let coming = if twice { vec![planned, second] } else { vec![planned] };
        let told = format!("schedule {number}: {coming:?}, held {held}, early {early}");
        if held {
            homes.shift(uuid, Phase::Waiting, Phase::Held);
        }
        world.begin(Plan { coming, whole_hosts, stays_down: 1, ..Plan::default() });
        move_away(&mut context(&mut homes.client, &mut Wire::of_client(&world)), task, &principal()).unwrap();
        for round in 0..8 {
            if round == if early { 0 } else { 5 } {
                // What was asked long ago is looked at now, and the task waits again.
                homes.shift(uuid, Phase::Held, Phase::Waiting);
                world.thaw();
            }
            homes.reconcile();
        }
        // On a busy machine the work of a line that was cut may still be under way.
        world.thaw();
        homes.reconcile();
        struck += world.plan.lock().unwrap().struck.len();
        match homes.settled(task, uuid, &told) {
            0 => stayed += 1,
            _ => moved += 1,
        }
    }
    assert!(moved > 100 && stayed > 30 && struck > 200, "{moved} moved, {stayed} stayed, {struck} faults");
}
