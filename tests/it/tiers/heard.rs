//! An end counts as heard once its client has recorded it: until then its lab keeps the task.

use crate::support::caller::{Caller, stranger};
use crate::support::{Grid, process};
use grid::model::id::{HomeId, TaskUuid};
use grid::protocol::distributor::{Answer, HEARD_SINCE, HeardEnd, Question};

const UNHEARD: &str = "has not confirmed yet that it knows how it ended";

/// A lab with an ended task of a client in another home, which has not asked for it yet.
struct Lab {
    lab: Grid,
    _client: Grid,
    front: Grid,
    owner: HomeId,
    uuid: TaskUuid,
}

impl Lab {
    fn new() -> Self {
        let (client, front, lab) = super::way::three();
        client.submit(["--", "false"]);
        lab.grid(["wait", "last"]).expect(1);
        let owner = HomeId(lab.sql("select id from home")[0]["id"].as_str().unwrap().parse().unwrap());
        let uuid = TaskUuid(lab.show("last")["uuid"].as_str().unwrap().parse().unwrap());
        Self { lab, _client: client, front, owner, uuid }
    }

    fn asks(&self, caller: &mut Caller) -> HeardEnd {
        let question = Question::Watch { owner: self.owner, user: None, uuids: vec![self.uuid] };
        let Answer::States(states) = caller.ask(question) else { panic!("no states") };
        states[0].end().expect("an end")
    }

    fn confirms(&self, caller: &mut Caller, end: HeardEnd) {
        let question = Question::Heard { owner: self.owner, user: None, ends: vec![end] };
        assert_eq!(caller.ask(question), Answer::Done);
    }

    fn calls(&self) -> Caller {
        Caller::greeted(&mut self.lab.typed(["serve"]), stranger())
    }
}

#[test]
fn end_is_kept_for_a_client_that_died_with_the_answer() {
    let it = Lab::new();
    let mut dies = it.calls();
    it.asks(&mut dies);
    dies.kill();
    it.lab.grid(["remove", "last"]).expect(1).says(&[UNHEARD]);
    let mut again = it.calls();
    let end = it.asks(&mut again);
    it.confirms(&mut again, HeardEnd { uuid: TaskUuid::new(), ..end });
    it.lab.grid(["remove", "last"]).expect(1).says(&[UNHEARD]);
    it.confirms(&mut again, end);
    it.lab.grid(["remove", "last"]).ok();
    again.leaves();
}

#[test]
fn confirmation_of_an_earlier_end_does_not_count_for_a_later_one() {
    let it = Lab::new();
    let mut caller = it.calls();
    let first = it.asks(&mut caller);
    it.lab.grid(["retry", "last"]).ok();
    it.lab.grid(["wait", "last"]).expect(1);
    it.confirms(&mut caller, first);
    it.lab.grid(["remove", "last"]).expect(1).says(&[UNHEARD]);
    let second = it.asks(&mut caller);
    it.confirms(&mut caller, second);
    it.lab.grid(["remove", "last"]).ok();
    caller.leaves();
}

#[test]
fn end_counts_as_heard_once_sent_to_a_client_that_can_not_confirm() {
    let it = Lab::new();
    let mut older = Caller::greeted_in(HEARD_SINCE - 1, &mut it.lab.typed(["serve"]), stranger());
    it.asks(&mut older);
    it.lab.grid(["remove", "last"]).ok();
    older.leaves();
}

#[test]
fn first_tier_confirms_for_an_older_client() {
    let it = Lab::new();
    let mut older = Caller::greeted_in(HEARD_SINCE - 1, &mut it.front.typed(["serve"]), stranger());
    it.asks(&mut older);
    it.lab.grid(["remove", "last"]).ok();
    older.leaves();
}

#[test]
fn confirmation_that_was_lost_is_sent_again_by_the_clients_dispatcher() {
    let (client, _front, lab) = super::way::three();
    let id = client.submit(["--", "false"]);
    client.grid(["wait", &id]).expect(1);
    client.grid(["dispatcher", "stop"]).ok();
    // As it is where the confirmation was lost.
    lab.sh("sqlite3 $GRID_HOME/grid.db 'UPDATE task SET foreign_end = 1'").ok();
    client.sh("sqlite3 $GRID_HOME/grid.db 'UPDATE away SET unconfirmed = 1'").ok();
    lab.grid(["remove", "last"]).expect(1).says(&[UNHEARD]);
    client.grid(["dispatcher", "start"]).ok();
    process::until("it is confirmed", || lab.grid(["remove", "-n", "last"]).code() == 0);
    lab.grid(["remove", "last"]).ok();
}
