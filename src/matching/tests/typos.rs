//! Names that are most likely mistyped: the known one is named, if no server knows the other.

use super::world::*;
use crate::matching::{Fleet, Query};
use crate::model::attribute::Value;
use crate::model::demand::Demand;

/// Two servers; one has a site and blender.
fn fleet() -> Fleet {
    let (mut one, two) = (server(1, "one"), server(2, "two"));
    declare(&mut one, "site", "oslo");
    probe(&mut one, "apps", Value::texts(["blender"]));
    spread(vec![one, two])
}

/// Why the second server does not qualify.
fn why(fleet: &Fleet, query: &Query) -> String {
    fleet.explain(query, None, NOW)[1].reasons.join("; ")
}

#[test]
fn attribute_that_no_server_has_names_the_one_that_is_near() {
    for (constraint, words) in [
        ("server.siet == \"oslo\"", "-C: server.siet is not set (did you mean server.site?)"),
        ("server.cpsu > 1", "-C: server.cpsu is not set (did you mean server.cpus?)"),
        ("client.siet == \"brno\"", "-C: client.siet is not set (did you mean client.site?)"),
        ("task.cpsu == 1", "-C: task.cpsu is not set (did you mean task.cpus?)"),
        // Another server has it, or no name is near.
        ("server.site == \"oslo\"", "-C: server.site is not set"),
        ("server.colour == 1", "-C: server.colour is not set"),
    ] {
        assert_eq!(why(&fleet(), &wanting(constraint)), words, "{constraint}");
    }
    let prefers = why(&fleet(), &preferring("server.powr"));
    assert!(
        prefers.starts_with("--prefer: server.powr is not set (did you mean server.power?), so it ranks"),
        "{prefers}"
    );
}

#[test]
fn application_that_is_not_known_names_the_one_that_is_near() {
    let wants = |app: &str| query(&Demand { apps: vec![app.parse().unwrap()], ..demand() });
    let mut fleet = fleet();
    fleet.watch(vec!["gcc".to_owned()]);
    for (app, words) in [
        ("blendr", "application blendr is not known; did you mean blender?"),
        ("gccc>=9", "application gccc>=9 is not known; did you mean gcc?"),
        ("gcc", "application gcc is not there"),
        ("maya", "application maya is not known: it is not in `watch`; `grid config get watch` shows what is"),
    ] {
        assert_eq!(why(&fleet, &wants(app)), words, "{app}");
    }
}
