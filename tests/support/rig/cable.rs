//! A long cable: a process that carries frames from one card to another, later than they came, and loses some.
//! Not every kernel can do that by itself (netem). It runs in the switch, as this same program started again.

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recvfrom, send, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The variable that says what it is to be: two cards, microseconds one way, per cent lost.
pub const WANTED: &str = "GRID_TEST_CABLE";
/// What it says first.
pub const READY: &str = "the cable carries";

/// A frame that the kernel hands to a listener though it goes out, not in.
const OUTGOING: u8 = 4;

struct End {
    card: OwnedFd,
    /// What goes out here, and when.
    queue: VecDeque<(Instant, Vec<u8>)>,
}

impl End {
    fn of(name: &str) -> Self {
        let mut addresses = getifaddrs().expect("network cards").filter(|card| card.interface_name == name);
        let address = addresses.find_map(|card| card.address.filter(|a| a.as_link_addr().is_some()));
        let address = address.unwrap_or_else(|| panic!("no card {name}"));
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let card = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("a raw socket");
        bind(card.as_raw_fd(), &address).expect("bind");
        Self { card, queue: VecDeque::new() }
    }
}

/// Returns at once where nobody wants a cable: then it is a test run that asked for ignored ones too.
pub fn run() {
    let Ok(wanted) = std::env::var(WANTED) else { return };
    let words: Vec<&str> = wanted.split(' ').collect();
    let delay = Duration::from_micros(words[2].parse().expect("microseconds"));
    let lost: f64 = words[3].parse().expect("per cent");
    let mut ends = [End::of(words[0]), End::of(words[1])];
    writeln!(std::io::stdout(), "{READY}").expect("stdout");
    let mut dice: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut frame = vec![0; 70_000];
    loop {
        let next = ends.iter().filter_map(|end| end.queue.front()).map(|(when, _)| *when).min();
        let left = next.map(|when| when.saturating_duration_since(Instant::now()));
        let left = left.map(|l| Timespec { tv_sec: l.as_secs().cast_signed(), tv_nsec: i64::from(l.subsec_nanos()) });
        let mut ready = [0, 1].map(|i| PollFd::new(&ends[i].card, PollFlags::IN));
        let _ = poll(&mut ready, left.as_ref());
        if ready.iter().any(|end| end.revents().intersects(PollFlags::ERR | PollFlags::HUP)) {
            return; // A card is gone.
        }
        for here in [0, 1] {
            loop {
                let (length, from) = match receive(&ends[here].card, &mut frame) {
                    Ok(received) => received,
                    Err(Errno::EAGAIN | Errno::EINTR) => break,
                    Err(_) => return,
                };
                if from.as_ref().and_then(SockaddrStorage::as_link_addr).is_some_and(|from| from.pkttype() == OUTGOING)
                {
                    continue;
                }
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                if (dice % 10_000) as f64 >= lost * 100.0 {
                    ends[1 - here].queue.push_back((Instant::now() + delay, frame[..length].to_vec()));
                }
            }
        }
        for end in &mut ends {
            while end.queue.front().is_some_and(|(when, _)| *when <= Instant::now()) {
                if let Some((_, frame)) = end.queue.pop_front() {
                    let _ = send(end.card.as_raw_fd(), &frame, MsgFlags::empty());
                }
            }
        }
    }
}

fn receive(card: &OwnedFd, frame: &mut [u8]) -> nix::Result<(usize, Option<SockaddrStorage>)> {
    recvfrom::<SockaddrStorage>(card.as_raw_fd(), frame)
}
