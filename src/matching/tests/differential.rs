//! The tree that we evaluate against the parser crate's own interpreter, on random expressions and random servers.
//!
//! Where we differ on purpose:
//! - int and double mix in arithmetic, where the reference has an error. The generator therefore never mixes them; the
//!   second property states the mixing: `i + d` is the reference's `double(i) + d`.
//! - what can be known to be of two types is refused when it is typed (`1 == "a"`), where the reference says false.
//!   Such expressions are skipped here.
//! - an error here is an error there, but not one of the same words.

use super::world::*;
use crate::matching::error::ExpressionRole;
use crate::matching::eval::eval;
use crate::matching::expression::Expression;
use crate::matching::query::Folded;
use crate::matching::search::{ResolvedQuery, RowScope};
use crate::matching::{Fleet, Query};
use crate::model::attribute::Value;
use crate::model::demand::Demand;
use cel::objects::Key;
use cel::{Context, Program, Value as Reference};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

type Text = BoxedStrategy<String>;

fn either(all: &[&'static str]) -> Text {
    proptest::sample::select(all.to_vec()).prop_map(str::to_owned).boxed()
}

fn roots() -> Text {
    either(&["server", "server", "server", "task", "client"])
}

/// An attribute whose name begins with a letter that tells its type; `x` is of any.
fn path(letter: &'static str) -> Text {
    (roots(), 1..3u8).prop_map(move |(root, n)| format!("{root}.{letter}{n}")).boxed()
}

fn ints(depth: u32) -> Text {
    let leaf = prop_oneof![path("i"), (-3..9i64).prop_map(|v| format!("({v})")), either(&["9223372036854775807"])];
    if depth == 0 {
        return leaf.boxed();
    }
    let less = depth - 1;
    prop_oneof![
        3 => leaf,
        2 => (ints(less), either(&["+", "-", "*", "/", "%"]), ints(less)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => prop_oneof![texts(less), lists(less), path("m"), path("x")].prop_map(|of| format!("size({of})")),
        1 => ints(less).prop_map(|of| format!("(-{of})")),
        1 => (bools(less), ints(less), ints(less)).prop_map(|(t, a, b)| format!("({t} ? {a} : {b})")),
        1 => texts(less).prop_map(|of| format!("int({of})")),
        1 => doubles(less).prop_map(|of| format!("int({of})")),
    ]
    .boxed()
}

fn doubles(depth: u32) -> Text {
    let leaf = prop_oneof![path("d"), either(&["0.0", "0.5", "2.0", "(-1.5)", "1e300"])];
    if depth == 0 {
        return leaf.boxed();
    }
    let less = depth - 1;
    prop_oneof![
        3 => leaf,
        2 => (doubles(less), either(&["+", "-", "*", "/"]), doubles(less)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => prop_oneof![ints(less), texts(less)].prop_map(|of| format!("double({of})")),
    ]
    .boxed()
}

fn texts(depth: u32) -> Text {
    let leaf = prop_oneof![path("t"), either(&["\"\"", "\"a\"", "'ab'", "\"é7\"", "\"7\"", "r'\\d'"])];
    if depth == 0 {
        return leaf.boxed();
    }
    let less = depth - 1;
    prop_oneof![
        3 => leaf,
        1 => (texts(less), texts(less)).prop_map(|(a, b)| format!("({a} + {b})")),
        1 => ints(less).prop_map(|of| format!("string({of})")),
        1 => (path("m"), either(&["[\"a\"]", ".a", "[\"é7\"]"])).prop_map(|(m, key)| m + &key),
    ]
    .boxed()
}

fn lists(depth: u32) -> Text {
    let leaf = prop_oneof![path("l"), either(&["[]", "[1, 2]", "['a', \"7\"]", "[1, 'a', true]"])];
    if depth == 0 {
        return leaf.boxed();
    }
    let less = depth - 1;
    prop_oneof![
        3 => leaf,
        1 => (lists(less), lists(less)).prop_map(|(a, b)| format!("({a} + {b})")),
        1 => (any_of(less), any_of(less)).prop_map(|(a, b)| format!("[{a}, {b}]")),
    ]
    .boxed()
}

fn any_of(depth: u32) -> Text {
    prop_oneof![ints(depth), doubles(depth), texts(depth), lists(depth), bools(depth), path("x"), path("m")].boxed()
}

fn bools(depth: u32) -> Text {
    let leaf = prop_oneof![
        path("b"),
        either(&["true", "false"]),
        (roots(), either(&["i1", "t1", "m1", "x1", "none"])).prop_map(|(root, name)| format!("has({root}.{name})")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let less = depth - 1;
    let compared = |of: Text, other: Text| {
        (of, either(&["==", "!=", "<", "<=", ">", ">="]), other).prop_map(|(a, op, b)| format!("({a} {op} {b})"))
    };
    prop_oneof![
        1 => leaf,
        2 => compared(ints(less), ints(less)),
        2 => compared(doubles(less), ints(less)),
        2 => compared(texts(less), texts(less)),
        2 => compared(path("x"), any_of(less)),
        1 => compared(lists(less), lists(less)),
        1 => compared(path("m"), path("m")),
        4 => (bools(less), either(&["&&", "||"]), bools(less)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => (path("x"), either(&["&&", "||"]), bools(less)).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => bools(less).prop_map(|of| format!("!{of}")),
        1 => (bools(less), bools(less), bools(less)).prop_map(|(t, a, b)| format!("({t} ? {a} : {b})")),
        2 => (any_of(less), prop_oneof![lists(less), path("x")]).prop_map(|(a, b)| format!("({a} in {b})")),
        1 => (texts(less), path("m")).prop_map(|(a, b)| format!("({a} in {b})")),
        1 => (texts(less), either(&["startsWith", "endsWith", "contains"]), texts(less))
            .prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        1 => (texts(less), either(&["\"^a\"", "r'\\d+'", "'b|7'"])).prop_map(|(a, b)| format!("{a}.matches({b})")),
        1 => (path("m"), either(&["a", "zz"])).prop_map(|(a, b)| format!("has({a}.{b})")),
        1 => (lists(less), ints(0), any_of(less)).prop_map(|(l, i, o)| format!("({l}[{i}] == {o})")),
    ]
    .boxed()
}

/// With at most one comprehension.
fn expressions() -> Text {
    let body = prop_oneof![
        (either(&["==", "!=", "<", ">="]), any_of(0)).prop_map(|(op, b)| format!("x {op} {b}")),
        any_of(1).prop_map(|b| format!("{b} == x")),
        (bools(1), either(&["&&", "||"])).prop_map(|(b, op)| format!("x == 1 {op} {b}")),
        either(&["x", "size(x) > 0", "x.startsWith('a')", "x in [1, 'a', 2.0]", "!x"]),
    ]
    .boxed();
    let range = prop_oneof![lists(1), path("l"), path("m"), path("x")];
    let ranged = prop_oneof![
        (either(&["exists", "all", "exists_one"]), body.clone()).prop_map(|(m, b)| format!(".{m}(x, {b})")),
        body.prop_map(|b| format!(".filter(x, {b}).size() > 1")),
        either(&[".map(x, x) == [1, 2]", ".map(x, x == 1, 'a') == ['a']", ".map(x, size(x)).size() == 2"]),
    ];
    prop_oneof![
        4 => bools(3),
        1 => (bools(1), either(&["&&", "||"]), range, ranged).prop_map(|(b, op, l, r)| format!("{b} {op} {l}{r}")),
    ]
    .boxed()
}

fn scalars() -> BoxedStrategy<Value> {
    prop_oneof![
        (-2..9i64).prop_map(Value::Int),
        Just(Value::Int(i64::MIN)),
        proptest::sample::select(vec![0.0, 0.5, 2.0, -1.0, f64::NAN]).prop_map(Value::Double),
        proptest::sample::select(vec!["", "a", "ab", "é7", "7", "2.5"]).prop_map(Value::from),
        any::<bool>().prop_map(Value::Bool),
    ]
    .boxed()
}

/// Attributes by their letters; each may be absent.
fn attributes() -> BoxedStrategy<BTreeMap<Box<str>, Value>> {
    let list = |of: BoxedStrategy<Value>| proptest::collection::vec(of, 0..4).prop_map(Value::List).boxed();
    let keys = proptest::sample::select(vec!["a", "é7", "b"]).prop_map(Box::<str>::from);
    // No doubles: what a map holds is also added to what another one holds.
    let held = scalars().prop_filter("a double", |value| !matches!(value, Value::Double(_)));
    let map = proptest::collection::btree_map(keys, held, 0..3).prop_map(Value::Map).boxed();
    let ints = (-2..9i64).prop_map(Value::Int).boxed();
    let doubles = proptest::sample::select(vec![0.0, 0.5, 2.0, -1.0, f64::NAN, 1e19]).prop_map(Value::Double).boxed();
    let texts = proptest::sample::select(vec!["", "a", "ab", "é7", "7", "2.5"]).prop_map(Value::from).boxed();
    let bools = any::<bool>().prop_map(Value::Bool).boxed();
    let anything = prop_oneof![4 => scalars(), 1 => list(scalars()), 1 => map.clone()].boxed();
    let kinds =
        [("i", ints), ("d", doubles), ("t", texts), ("b", bools), ("l", list(scalars())), ("m", map), ("x", anything)];
    type Entry = (Box<str>, Value);
    let mut all: Vec<BoxedStrategy<Option<Entry>>> = Vec::new();
    for (letter, kind) in kinds {
        for n in 1..3 {
            let name: Box<str> = format!("{letter}{n}").into();
            let named = kind.clone().prop_map(move |value| (name.clone(), value));
            all.push(proptest::option::weighted(0.8, named).boxed());
        }
    }
    all.prop_map(|pairs| pairs.into_iter().flatten().collect()).boxed()
}

fn reference_of(value: &Value) -> Reference {
    match value {
        Value::Bool(v) => Reference::Bool(*v),
        Value::Int(v) => Reference::Int(*v),
        Value::Double(v) => Reference::Float(*v),
        Value::Text(v) => Reference::String(Arc::new(v.to_string())),
        Value::List(v) => Reference::List(Arc::new(v.iter().map(reference_of).collect())),
        Value::Map(v) => reference_map(v),
    }
}

fn reference_map(map: &BTreeMap<Box<str>, Value>) -> Reference {
    let entries = map.iter().map(|(key, value)| (Key::String(Arc::new(key.to_string())), reference_of(value)));
    Reference::Map(cel::objects::Map { map: Arc::new(entries.collect::<HashMap<_, _>>()) })
}

fn by_reference(text: &str, roots: &[(&str, &BTreeMap<Box<str>, Value>)]) -> Option<String> {
    let program = Program::compile(text).unwrap();
    let mut context = Context::default();
    for (root, map) in roots {
        context.add_variable_from_value(*root, reference_map(map));
    }
    match program.execute(&context) {
        Ok(Reference::Bool(v)) => Some(v.to_string()),
        Ok(Reference::Int(v)) => Some(v.to_string()),
        Ok(Reference::Float(v)) => Some(format!("{v:?}")),
        Ok(other) => panic!("{text} gives {other:?}"),
        Err(_) => None,
    }
}

struct World {
    fleet: Fleet,
    query: Query,
    of_server: BTreeMap<Box<str>, Value>,
    of_task: BTreeMap<Box<str>, Value>,
    of_client: BTreeMap<Box<str>, Value>,
}

fn world(
    of_server: BTreeMap<Box<str>, Value>,
    of_task: BTreeMap<Box<str>, Value>,
    of_client: BTreeMap<Box<str>, Value>,
) -> World {
    let mut server = server(1, "fast");
    for (name, value) in &of_server {
        declare(&mut server, name, value.clone());
    }
    let mut client = client();
    for (name, value) in &of_client {
        let attribute = crate::model::attribute::Attribute {
            value: value.clone(),
            source: crate::model::attribute::Source::Declared,
            read_at: READ,
        };
        client.attributes.insert(name.clone(), attribute);
    }
    let demand = Demand { labels: of_task.clone(), ..demand() };
    let query = Query::new(&demand, &user(), &client).unwrap();
    World { fleet: spread(vec![server]), query, of_server, of_task, of_client }
}

impl World {
    fn by_us(&self, text: &str, role: ExpressionRole) -> Option<Option<String>> {
        let whole = Expression::compile(text, role).ok()?;
        let columns = self.fleet.bind(&whole.paths);
        let scope =
            RowScope { fleet: &self.fleet, columns: &columns, row: 0, paths: &whole.paths, facts: &self.query.facts };
        let folded = Folded::of(whole.clone(), &self.query.facts);
        let shown = |node| match eval(node, &scope) {
            Ok(value) => match value.into_value() {
                Value::Double(v) => Some(format!("{v:?}")),
                other => Some(other.to_string()),
            },
            Err(_) => None,
        };
        let (plain, folded) = (shown(&whole.node), shown(&folded.node));
        assert_eq!(plain, folded, "folding changed {text}");
        if role == ExpressionRole::Constraint {
            // The form that the search asks, which knows true from all else.
            let mut query = self.query.clone();
            query.constraint = Some(Folded::of(whole.clone(), &self.query.facts));
            let holds = ResolvedQuery::new(&self.fleet, &query, None).expressions_hold(0);
            assert_eq!(holds, plain.as_deref() == Some("true"), "{text}");
        }
        Some(plain)
    }

    fn roots(&self) -> [(&'static str, &BTreeMap<Box<str>, Value>); 3] {
        [("server", &self.of_server), ("task", &self.of_task), ("client", &self.of_client)]
    }
}

fn config() -> ProptestConfig {
    let cases = ProptestConfig::default().cases.max(3000);
    // About one in twenty is refused; were it half of them, the generator would be broken.
    ProptestConfig { cases, max_global_rejects: cases / 2, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn evaluator_agrees_with_the_reference(text in expressions(), s in attributes(), t in attributes(), c in attributes()) {
        let world = world(s, t, c);
        let Some(ours) = world.by_us(&text, ExpressionRole::Constraint) else { return Err(TestCaseError::reject("refused")) };
        prop_assert_eq!(ours, by_reference(&text, &world.roots()), "{}", text);
    }

    #[test]
    fn column_compared_with_a_number_agrees_with_the_reference(name in either(&["i1", "d1", "x1"]), op in either(&["==", "!=", "<", "<=", ">", ">="]),
                                 number in either(&["0", "2", "0.5", "2.0", "-1.0", "1e19"]), turned: bool, s in attributes()) {
        let world = world(s, BTreeMap::new(), BTreeMap::new());
        let text = if turned { format!("{number} {op} server.{name}") } else { format!("server.{name} {op} {number}") };
        prop_assert_eq!(world.by_us(&text, ExpressionRole::Constraint).unwrap(), by_reference(&text, &world.roots()), "{}", text);
    }

    #[test]
    fn int_and_double_mix_in_arithmetic(op in either(&["+", "-", "*", "/"]), s in attributes(), flipped: bool) {
        let world = world(s, BTreeMap::new(), BTreeMap::new());
        let (a, b) = if flipped { ("server.d1", "server.i1") } else { ("server.i1", "server.d1") };
        let ours = world.by_us(&format!("{a} {op} {b}"), ExpressionRole::Preference).unwrap();
        let theirs = by_reference(&format!("double({a}) {op} double({b})"), &world.roots());
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn check_survives_any_text(text in "[a-c.()\\[\\]{}!&|=<>+*/%?:,'\" 0-9\\\\u{e9}\n-]{0,60}") {
        if let Err(error) = crate::matching::check(&text, ExpressionRole::Constraint) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn check_survives_any_tokens(words in proptest::collection::vec(either(&[
        "server", ".", "task.cpus", "(", ")", "[", "]", "{", "}", "\"a\"", "1", "1.5", "&&", "||", "!", "==", "<", "in", "+",
        "-", "*", "/", "%", "?", ":", ",", "has", ".exists(x, ", ".map(", "x", "size(", ".matches(", "true", "'é'", "1u", "b'a'",
    ]), 0..40)) {
        if let Err(error) = crate::matching::check(&words.join(" "), ExpressionRole::Accepts) {
            let _ = error.to_string();
        }
    }
}
