//! Lies: a message with a random or an extreme value in one of its places, whatever the message is.

#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part")]
#![expect(clippy::unwrap_used, reason = "tests")]

use super::pack::Pack;
use grid::protocol::frame;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// One value in one place of one message; each number is taken modulo what there is.
#[derive(Debug, Clone, Copy)]
pub struct Lie {
    pub message: usize,
    pub place: usize,
    pub value: usize,
}

/// Every lie.
pub fn lies() -> impl Strategy<Value = Lie> {
    (any::<usize>(), any::<usize>(), any::<usize>()).prop_map(|(message, place, value)| Lie { message, place, value })
}

/// So many cases, the same ones each time. GRID_TEST_LIES makes them more, GRID_SEED others.
pub fn config(cases: u32) -> Config {
    let set = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = set("GRID_TEST_LIES").and_then(|cases| cases.try_into().ok()).unwrap_or(cases);
    let rng_seed = RngSeed::Fixed(set("GRID_SEED").unwrap_or(20_261_129));
    Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 0, ..Config::default() }
}

/// Tells lies one after the other; the one at which a test fails is shown.
pub fn tell_each(cases: u32, mut tell: impl FnMut(Lie)) {
    struct Told(Lie);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("--- after {:?}", self.0);
            }
        }
    }
    let config = config(cases);
    let cases = config.cases;
    let mut runner = TestRunner::new(config);
    for _ in 0..cases {
        let told = Told(lies().new_tree(&mut runner).unwrap().current());
        tell(told.0);
    }
}

/// Values for a place: extreme ones and one that `random` makes. Those of the kind that stands there come first, and so often that most
/// lies fit.
fn values(there: &Pack, random: usize) -> Vec<Pack> {
    let text = |text: &str| Pack::Text(text.as_bytes().to_vec());
    let number = i128::try_from(random).unwrap_or(0);
    let ints = [u64::MAX.into(), i64::MAX.into(), i64::MIN.into(), u32::MAX.into(), 0, -1, 1 << 40, number];
    let ints = ints.map(Pack::Int);
    let any_float = f64::from_bits(random as u64);
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -0.0, any_float].map(Pack::Float);
    let (long, any_text) = ("x".repeat(1 << 20), format!("{random:x}"));
    let texts =
        ["", "a\0b", "\u{1b}[2J\u{202e}", "../../..", "-o", "é", "{}", &long, "[[[[[[[[", "true) || (true", &any_text]
            .map(text);
    let any_bytes = random.to_le_bytes().to_vec();
    let bytes = [vec![], vec![0], vec![0xff; 3], vec![b'x'; 1 << 20], b"/\0".to_vec(), vec![7; 16], any_bytes];
    let bytes = bytes.map(Pack::Bytes);
    let deep = [Pack::nested(3), Pack::nested(126), Pack::nested(200)];
    let others = [Pack::Nil, Pack::Bool(true), Pack::Map(vec![]), Pack::List(vec![])];
    let own: Vec<Pack> = match there {
        Pack::Int(_) => ints.to_vec(),
        Pack::Float(_) => floats.to_vec(),
        Pack::Text(_) => texts.to_vec(),
        Pack::Bytes(_) => bytes.to_vec(),
        Pack::List(items) => {
            let many = items.first().map(|item| Pack::List(vec![item.clone(); 2_000]));
            many.into_iter().chain([Pack::List(vec![])]).chain(deep.clone()).collect()
        }
        Pack::Nil => [&bytes[..2], &ints[..2], &texts[..2]].concat(),
        Pack::Bool(value) => vec![Pack::Bool(!value)],
        Pack::Map(entries) => {
            let less = (0..entries.len()).map(|without| {
                let kept = entries.iter().enumerate().filter(|(at, _)| *at != without);
                Pack::Map(kept.map(|(_, entry)| entry.clone()).collect())
            });
            less.collect()
        }
    };
    let mut all = vec![own; 6].concat();
    all.extend(ints.into_iter().chain(floats).chain(texts).chain(bytes).chain(deep).chain(others));
    all
}

/// The message with one value in one place.
pub fn with(message: &[u8], lie: Lie) -> Vec<u8> {
    let mut tree = Pack::read(message);
    let number = lie.place % tree.places();
    let place = tree.place(number).unwrap();
    let mut values = values(place, lie.place ^ lie.value);
    *place = values.swap_remove(lie.value % values.len());
    tree.write()
}

/// A message as it stands in a frame.
pub fn encoded(message: &impl serde::Serialize) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::encode(message, &mut wire).unwrap();
    wire.split_off(4)
}

/// The frame around these bytes.
pub fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], body].concat()
}

/// What is no frame at all: bytes without an order, a length beyond all bounds, a frame that is cut off.
pub fn garbage(lie: Lie) -> Vec<u8> {
    let noise = |len: usize| (0..len).map(move |at| (lie.value.rotate_left(at as u32 % 64) ^ at) as u8);
    match lie.place % 4 {
        0 => noise(lie.value % 5_000).collect(),
        1 => u32::MAX.to_le_bytes().into_iter().chain(noise(100)).collect(),
        2 => 1_000_000u32.to_le_bytes().into_iter().chain(noise(lie.value % 5_000)).collect(),
        _ => framed(&noise(lie.value % 5_000).collect::<Vec<u8>>()),
    }
}
