//! Faults of the cable between a host and the switch.

use super::{Rig, files};
use crate::support::process;
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

/// A hardware address that no card has.
const NOBODY: &str = "02:77:ff:ff:ff:ff";

impl Rig {
    /// From now on nothing passes, either way, and nobody is told.
    #[track_caller]
    pub fn cut(&self, host: &str) {
        let number = files::number(host);
        self.switch(&format!("ip link set v{number} down"));
    }

    /// The same, but who asks for the host's hardware address gets no answer either: "No route to host" after 3 s.
    #[track_caller]
    pub fn cut_from(&self, host: &str, from: &str) {
        self.cut(host);
        self.root(from, &format!("ip neigh del 10.77.0.{} dev eth0", files::number(host))).ok();
    }

    /// What the host says reaches nobody; it hears everything, and does what it is told.
    #[track_caller]
    pub fn mute(&self, host: &str) {
        self.misdirect(host, "head", NOBODY);
    }

    /// What the head says does not reach the host, which itself is heard.
    #[track_caller]
    pub fn deafen(&self, host: &str) {
        self.misdirect("head", host, NOBODY);
    }

    fn misdirect(&self, from: &str, to: &str, card: &str) {
        let neighbour = format!("ip neigh replace 10.77.0.{} lladdr {card} nud permanent dev eth0", files::number(to));
        self.root(from, &neighbour).expect(0);
    }

    /// The cable is as new.
    #[track_caller]
    pub fn heal(&self, host: &str) {
        let k = files::number(host);
        // A long cable ends with either of its cards.
        if let Some(mut cable) = self.cables().remove(host) {
            self.switch(&format!("ip link del w{k}"));
            let _ = cable.wait();
        }
        self.switch(&format!("ip link set v{k} promisc off arp on master br0 up"));
        if host != "head" {
            self.misdirect(host, "head", &files::card("head"));
            self.misdirect("head", host, &files::card(host));
        }
    }

    /// A long way: a round trip takes this long, and of a hundred frames so many are lost each way.
    #[track_caller]
    pub fn slow(&self, host: &str, round_trip: Duration, lost_percent: f64) {
        let k = files::number(host);
        self.heal(host);
        // Checksums and segments are made by who sends, not left to a card that is none.
        self.root(host, "ethtool -K eth0 tx off tso off gso off gro off").expect(0);
        self.switch(&format!(
            "ip link add w{k} type veth peer name x{k}; ethtool -K w{k} tx off tso off gso off gro off
             ip link set v{k} nomaster; for i in v{k} x{k}; do ip link set $i arp off promisc on up; done
             ip link set w{k} master br0 up"
        ));
        let mut cable = self.command("switch", ["setsid", "env"]);
        let what = format!("v{k} x{k} {} {lost_percent}", round_trip.as_micros() / 2);
        cable.arg(format!("{}={what}", super::cable::WANTED)).arg(std::env::current_exe().expect("this program"));
        cable.args(["--exact", "cable", "--ignored", "--nocapture"]);
        let log = std::fs::File::create(self.file(host, "cable.log")).expect("a log");
        cable.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = cable.spawn().expect("a cable");
        let mut said = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let ready = said.any(|line| line.ends_with(super::cable::READY));
        assert!(ready, "this test binary has no `cable` for others: see tests/ssh.rs");
        self.cables().insert(host.to_owned(), child);
    }

    /// The cable is pulled out: what a crashed host leaves of itself in the switch.
    pub(super) fn unplug(&self, host: &str) {
        let k = files::number(host);
        process::run(&mut self.command("switch", ["ip", "link", "del", &format!("v{k}")]));
        process::until("the cable is out", || {
            process::run(&mut self.command("switch", ["ip", "link", "show", &format!("v{k}")])).code() != 0
        });
    }

    fn cables(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.cables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn switch(&self, script: &str) {
        let script = format!("set -e; cd \"$RIG\"; {script}");
        process::run(&mut self.command("switch", ["bash", "-c", &script])).expect(0);
    }
}
