//! Changes of the database as commands make them.

use super::Bench;
use crate::model::ambient::Ambient;
use crate::model::id::{ServerId, TaskId};
use crate::model::server::{Engine, Server};
use crate::model::task::{EndState, Phase};
use crate::store::declared::Declared;
use crate::store::ledger::Ledger;
use std::time::Duration;

impl Bench {
    fn shift(&mut self, task: TaskId, from: Phase, to: Phase) {
        let now = self.clock.now().wall;
        self.write(|tx| {
            let mut ledger = Ledger::open(tx, now);
            ledger.shift(task, None, from, to)?;
            ledger.close()
        });
        self.run();
    }

    /// `grid hold`.
    pub fn hold(&mut self, task: TaskId) {
        self.shift(task, Phase::Waiting, Phase::Held);
    }

    /// `grid release`.
    pub fn release(&mut self, task: TaskId) {
        self.shift(task, Phase::Held, Phase::Waiting);
    }

    /// `grid cancel`: waiting members end, those on a server are to be cancelled there.
    pub fn cancel(&mut self, task: TaskId) {
        let now = self.clock.now().wall;
        self.write(|tx| {
            let mut ledger = Ledger::open(tx, now);
            for from in [Phase::Waiting, Phase::Held] {
                ledger.shift(task, None, from, Phase::Ended(EndState::Cancelled))?;
            }
            ledger.close()?;
            if !tx.live_of(task)?.is_empty() {
                tx.ask_cancel(task, None, Duration::from_secs(10), now)?;
            }
            Ok(())
        });
        self.run();
    }

    /// `grid retry`: failed members wait again.
    pub fn retry(&mut self, task: TaskId) {
        let now = self.clock.now().wall;
        self.write(|tx| {
            let mut ledger = Ledger::open(tx, now);
            ledger.again(task, None, &[EndState::Failed])?;
            ledger.close()
        });
        self.run();
    }

    /// The row of a server.
    pub fn server(&self, name: &str) -> Server {
        self.store.view().server(name).unwrap().unwrap()
    }

    /// `grid server drain` and `grid server resume`.
    pub fn set_drained(&mut self, server: &str, drained: bool) {
        let id = self.server(server).id;
        self.write(|tx| tx.set_drained(id, drained.then_some("")));
        self.run();
    }

    /// A drain with this reason.
    pub fn drain(&mut self, server: &str, reason: &str) {
        let id = self.server(server).id;
        self.write(|tx| tx.set_drained(id, Some(reason)));
        self.run();
    }

    /// `grid server set`.
    pub fn declare(&mut self, server: &str, declared: &Declared) {
        let (id, now) = (self.server(server).id, self.clock.now().wall);
        self.write(|tx| tx.declare_server(id, declared, now));
        self.run();
    }

    /// `grid server remove`. False: it is refused, because something runs there.
    pub fn remove_server(&mut self, server: &str) -> bool {
        let id = self.server(server).id;
        let removed = self.write(|tx| {
            if tx.running_on(id)? > 0 {
                return Ok(false);
            }
            tx.remove_server(id).map(|()| true)
        });
        self.run();
        removed
    }

    /// `grid server group`: a server made of several.
    pub fn add_group(&mut self, name: &str, members: &[&str]) -> ServerId {
        let now = self.clock.now().wall;
        let members = members.iter().map(|name| self.server(name).id).collect();
        let group = self.write(|tx| {
            let tier2 = tx.distributor("tier2")?.unwrap().id;
            tx.add_server(&name.parse().unwrap(), tier2, &Engine::Group { members }, now)
        });
        self.run();
        group
    }

    /// Ends the command of the first running attempt of a server.
    pub fn end_first(&mut self, server: &str) {
        let (now, first) = (self.clock.now().wall, self.running(server)[0]);
        self.agent(server, |agent| agent.end(first, 0, b"", now));
        self.run();
    }

    /// `grid set`.
    pub fn set(&mut self, setting: &str, value: &str) {
        self.write(|tx| tx.set_setting(setting, Some(value)));
        self.run();
    }
}
