//! Scenarios of offers: whether a new task could start now, beside tasks that wait.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::distributor::fleets::Fleets;
use crate::distributor::tier2::Candidates;
use crate::matching::Query;
use crate::model::ambient::Ambient;
use crate::model::task::State;
use crate::protocol::distributor::Offer;
use std::time::Duration;

/// A bench with the server `bad` beside `local`, which is full.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.add_server("bad", facts("bad"));
    bench.pass(Duration::from_secs(2));
    bench.submit(&Task::array(4).on("local"));
    bench.run();
    bench
}

/// What a new task like this is offered, in which words, and the server that it would go to.
fn offer(bench: &Bench, task: &Task) -> (Offer, String, Option<String>) {
    let (view, now) = (bench.store.view(), bench.clock.now().wall);
    let (me, client) = (view.user("me").unwrap().unwrap(), view.client("submits").unwrap().unwrap());
    let mut fleets = Fleets::default();
    let query = Query::new(&task.demand, &me, &client).unwrap();
    let tier2 = view.distributor("tier2").unwrap().unwrap().id;
    let asked = Candidates::new(&view, &mut fleets, tier2, query, now).unwrap();
    let offer = asked.offer(&view, &task.demand).unwrap();
    (offer, asked.words(offer), asked.chosen(&view).unwrap())
}

#[test]
fn retry_that_avoids_a_server_leaves_its_place_to_others() {
    let mut bench = bench();
    let task = bench.submit(&Task::default().retries(1));
    bench.run();
    bench.end("bad", 1);
    assert_eq!(bench.state(task), State::Pending);
    assert_eq!(offer(&bench, &Task::default()).0, Offer::Now);
    assert_eq!(offer(&bench, &Task::default().of_class("another")).0, Offer::Now);
    // One of its class that never ran, and which the dispatcher has not seen yet, comes first.
    bench.submit(&Task::default());
    let (offer, words, _) = offer(&bench, &Task::default());
    assert_eq!((offer, &*words), (Offer::Later, "could run it later: others wait for the same place"));
}

#[test]
fn array_at_its_bound_leaves_free_places_to_others() {
    let mut bench = bench();
    bench.submit(&Task::array(9).at_once(1));
    bench.run();
    assert_eq!(bench.running("bad").len(), 1);
    assert_eq!(offer(&bench, &Task::default()).0, Offer::Now);
}
