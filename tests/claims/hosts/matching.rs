//! 9, 10, 16: matched by what the second tier knows of clients and users, who sit on other hosts.

use super::{ran_on, route, turn};
use crate::support::tiers::LABS;
use serde_json::json;

#[test]
fn claim_9_between_hosts_a_server_is_matched_to_an_attribute_of_the_client() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    // The client is the host "head". What is declared of it stands in the labs' databases, not in its own.
    for (site, host) in [("oslo", ["h9", "h10"]), ("lyon", ["h11", "h12"])] {
        for (_, lab) in LABS {
            tiers.at(lab).grid(["client", "set", "head", "--set", &format!("site={site}")]).ok();
        }
        let ran = ran_on(&client, &["-C", "server.site == client.site"]);
        assert!(host.contains(&&*ran), "{site}: {ran}");
    }
    // The other way round: servers that take tasks of some clients only.
    tiers.at("h4").grid(["server", "set", "x1", "--accepts", "client.host == 'elsewhere'"]).ok();
    tiers.at("h4").grid(["server", "set", "x2", "--accepts", "client.host == 'head'"]).ok();
    assert_eq!(ran_on(&client, &["-C", "server.site == 'brno'"]), "h8");
    let reasons = client.explain("last")["servers"].to_string();
    assert!(reasons.contains("accepts"), "{reasons}");
    for server in ["x1", "x2"] {
        tiers.at("h4").grid(["server", "unset", server, "accepts"]).ok();
    }
    for (_, lab) in LABS {
        tiers.at(lab).grid(["client", "unset", "head", "site"]).ok();
    }
    // What the client's own home declares of it goes with the task, and the next match sees the update.
    for (site, host) in [("oslo", ["h9", "h10"]), ("lyon", ["h11", "h12"])] {
        client.grid(["client", "set", "head", "--set", &format!("site={site}")]).ok();
        let ran = ran_on(&client, &["-C", "server.site == client.site"]);
        assert!(host.contains(&&*ran), "{site}: {ran}");
    }
    client.grid(["client", "unset", "head", "site"]).ok();
    client.grid(["submit", "-C", "server.site == client.site", "--", "true"]).expect(75).says(&["client.site"]);
}

#[test]
fn claim_10_between_hosts_a_server_is_matched_to_an_attribute_of_the_user() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    // Who comes in by the account's own key is its owner, by the name that the lab gives it.
    let lab = tiers.at("h4");
    for server in ["x1", "x2"] {
        lab.grid(["server", "set", server, "--accepts", "'staff' in user.groups"]).ok();
    }
    assert_eq!(route(&client, &[]), json!(["front-a", "lab-y"]));
    let searched = client.explain("last")["tiers"][1]["searched"].to_string();
    assert!(searched.contains("could never run it"), "{searched}");
    lab.grid(["user", "set", "grid", "--group", "staff", "--set", "room=12"]).ok();
    assert_eq!(route(&client, &[]), json!(["front-a", "lab-x"]));
    lab.grid(["server", "set", "x2", "--set", "room=12"]).ok();
    assert_eq!(ran_on(&client, &["-C", "server.room == user.room"]), "h8");
    lab.grid(["server", "unset", "x2", "room"]).ok();
    lab.grid(["user", "unset", "grid", "room", "groups"]).ok();
    for server in ["x1", "x2"] {
        lab.grid(["server", "unset", server, "accepts"]).ok();
    }
}

#[test]
fn claim_16_between_hosts_task_attributes_user_preferences_and_client_attributes_together() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    for (server, lab, app, quiet) in [
        ("x1", "h4", "ffmpeg", true),
        ("y1", "h5", "blender", false),
        ("y2", "h5", "blender", true),
        ("z1", "h6", "blender", true),
    ] {
        tiers.at(lab).grid(["server", "set", server, "--app", app, "--set", &format!("quiet={quiet}")]).ok();
    }
    for (_, lab) in LABS {
        tiers.at(lab).grid(["client", "set", "head", "--set", "site=oslo"]).ok();
    }
    let all = ["--app", "blender", "-C", "server.site == client.site"];
    // The application and the client's site leave y1 and y2; the user's preference, said at the client's home, decides.
    client.grid(["user", "set", "ann", "--prefer", "server.quiet"]).ok();
    assert_eq!(ran_on(&client, &all), "h10");
    client.grid(["user", "set", "ann", "--prefer", "!server.quiet"]).ok();
    assert_eq!(ran_on(&client, &all), "h9");
    // The task's own preference comes first.
    assert_eq!(ran_on(&client, &[&all[..], &["--prefer", "server.name == 'y2'"]].concat()), "h10");
    // What the user requires at home is and-ed to what the task requires.
    client.grid(["user", "set", "ann", "-C", "server.name == 'y2'"]).ok();
    assert_eq!(ran_on(&client, &all), "h10");
    client.grid(["submit", "-w", "y1", "--", "true"]).expect(75).says(&["y2"]);
    client.grid(["user", "unset", "ann", "prefer", "constraint"]).ok();
    for (server, lab) in [("x1", "h4"), ("y1", "h5"), ("y2", "h5"), ("z1", "h6")] {
        tiers.at(lab).grid(["server", "unset", server, "quiet"]).ok();
    }
    for (_, lab) in LABS {
        tiers.at(lab).grid(["client", "unset", "head", "site"]).ok();
    }
}
