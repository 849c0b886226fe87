//! Long outputs of this host: a second name if possible, else a copy.

use crate::dispatch::testing::{Bench, Task, facts};
use crate::model::id::TaskId;
use crate::model::task::State;
use crate::protocol::agent::ToAgent;

const LONG: usize = 3 << 20;

/// How many second names and chunks an agent was asked for.
fn asked(bench: &Bench, server: &str) -> (usize, usize) {
    bench.agent(server, |agent| {
        let count = |is: fn(&ToAgent) -> bool| agent.heard.iter().filter(|message| is(message)).count();
        (count(|m| matches!(m, ToAgent::Link { .. })), count(|m| matches!(m, ToAgent::Read { .. })))
    })
}

/// A task that has ended with this many bytes of output.
fn ended(bench: &mut Bench, bytes: usize) -> TaskId {
    let task = bench.submit(&Task::default());
    bench.run();
    bench.end_with("local", 0, &vec![b'x'; bytes]);
    task
}

fn assert_fetched(bench: &Bench, task: TaskId) {
    assert_eq!(bench.state(task), State::Completed);
    assert_eq!(std::fs::read(bench.output_file(task)).unwrap(), vec![b'x'; LONG]);
    assert_eq!(bench.agent("local", |agent| agent.holds()), [], "the agent may forget it");
    bench.check();
}

#[test]
fn output_with_a_second_name_is_not_read() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.links = true);
    let task = ended(&mut bench, LONG);
    assert_fetched(&bench, task);
    assert_eq!(asked(&bench, "local"), (1, 0));
}

#[test]
fn output_without_a_second_name_is_copied() {
    let mut bench = Bench::new();
    let task = ended(&mut bench, LONG);
    assert_fetched(&bench, task);
    assert_eq!(asked(&bench, "local"), (1, 3));
}

#[test]
fn linked_output_of_wrong_length_is_replaced_by_a_copy() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| (agent.links, agent.links_cut) = (true, true));
    let task = ended(&mut bench, LONG);
    assert_fetched(&bench, task);
    assert_eq!(asked(&bench, "local"), (1, 3));
}

#[test]
fn older_or_remote_agent_is_not_asked_for_a_second_name() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.version = 1);
    let task = ended(&mut bench, LONG);
    assert_fetched(&bench, task);
    assert_eq!(asked(&bench, "local").0, 0);

    bench.add_server("far", facts("far"));
    bench.make_unreachable("local");
    let task = bench.submit(&Task::default());
    bench.run();
    if bench.running("far").is_empty() {
        bench.pass(std::time::Duration::from_secs(60));
    }
    bench.end_with("far", 0, &vec![b'x'; LONG]);
    assert_eq!((bench.state(task), asked(&bench, "far")), (State::Completed, (0, 3)));
}

#[test]
fn leftover_of_a_killed_dispatcher_is_removed_and_not_written_to() {
    let mut bench = Bench::new();
    let task = bench.submit(&Task::default());
    bench.run();
    // The second name of a file in the agent's spool.
    let spool = bench.output_file(task).with_file_name("of the agent");
    std::fs::write(&spool, vec![b'x'; LONG]).unwrap();
    std::fs::hard_link(&spool, bench.output_file(task)).unwrap();
    bench.end_with("local", 0, &vec![b'x'; LONG]);
    assert_fetched(&bench, task);
    assert_eq!(std::fs::read(&spool).unwrap(), vec![b'x'; LONG], "a copy is not written into it");
}

#[test]
fn end_reported_again_after_its_record_leaves_its_output_alone() {
    let mut bench = Bench::new();
    bench.agent("local", |agent| agent.links = true);
    let task = ended(&mut bench, LONG);
    let said = bench.agent("local", |agent| agent.last_end.clone().unwrap());
    bench.agent("local", |agent| agent.say(&said));
    bench.run();
    assert_fetched(&bench, task);
    assert_eq!(asked(&bench, "local"), (1, 0));
}
