//! 1, 2, 15: the way of a task from host to host.

use super::{ran_on, route, turn};
use crate::support::caller::{Caller, stranger};
use crate::support::process::until;
use crate::support::tiers::SERVERS;
use grid::model::id::TaskUuid;
use grid::protocol::distributor::{Answer, Question};
use grid::protocol::envelope::{Envelope, Sealed};
use serde_json::{Value, json};

#[test]
fn claim_1_between_hosts_the_way_is_client_first_tier_second_tier_server() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    // The first front that answers, the first lab that can start it.
    assert_eq!(route(&client, &[]), json!(["front-a", "lab-x"]));
    assert_eq!(route(&client, &["-C", "server.site == 'lyon'"]), json!(["front-a", "lab-z"]));
    let searched = client.explain("last")["tiers"][1]["searched"].clone();
    let asked: Vec<&Value> = searched.as_array().unwrap().iter().map(|s| &s["distributor"]).collect();
    assert_eq!(asked, ["lab-x", "lab-y", "lab-z"], "one after the other: {searched}");
    // Each of the six servers is reached this way, and is another host.
    for (server, host, ..) in SERVERS {
        assert_eq!(ran_on(&client, &["-w", server]), host);
    }
    // Who is drained is passed over, in the client's set as well as by a front's own word.
    client.grid(["distributor", "drain", "front-a"]).ok();
    assert_eq!(route(&client, &[]), json!(["front-b", "lab-x"]));
    client.grid(["distributor", "resume", "front-a"]).ok();
    tiers.at("h1").grid(["distributor", "drain", "tier1"]).ok();
    assert_eq!(route(&client, &[]), json!(["front-b", "lab-x"]));
    tiers.at("h1").grid(["distributor", "resume", "tier1"]).ok();
    tiers.at("h1").grid(["distributor", "drain", "lab-x"]).ok();
    assert_eq!(route(&client, &[]), json!(["front-a", "lab-y"]));
    tiers.at("h1").grid(["distributor", "resume", "lab-x"]).ok();
    client.grid(["wait"]).ok();
    assert_eq!(tiers.at("h1").tasks(), 0, "a first tier keeps no task");
}

#[test]
fn claim_2_between_hosts_a_server_is_made_of_several_hosts() {
    let Some(tiers) = turn() else { return };
    let (client, lab) = (tiers.client(), tiers.at("h5"));
    client.grid(["wait"]);
    lab.grid(["server", "add", "farm", "--of", "y1,y2"]).ok();
    // The slots of both are its slots: with all of them taken, it runs on both.
    let script = "uname -n; until [ -e go.2 ]; do sleep 0.05; done";
    let id = client.submit(["-w", "lab-y/farm", "-a", "1-4", "--", "sh", "-c", script]);
    until("all run", || client.show(&id)["counts"]["RUNNING"] == 4);
    for host in ["h9", "h10"] {
        std::fs::write(tiers.rig.home(host).join("go.2"), "").unwrap();
    }
    client.grid(["wait", &id]).ok();
    let logs = client.grid(["logs", &id]).ok();
    let mut hosts: Vec<&str> = logs.lines().collect();
    hosts.sort_unstable();
    hosts.dedup();
    assert_eq!(hosts, ["h10", "h9"]);
    let one = client.submit(["-w", "farm", "--", "true"]);
    client.grid(["wait", &one]).ok();
    assert_eq!(client.show(&one)["server"], "farm");
    lab.grid(["server", "drain", "farm"]).ok();
}

#[test]
fn claim_15_between_hosts_the_redirect_is_the_same_for_any_task_and_client() {
    let Some(tiers) = turn() else { return };
    let client = tiers.client();
    let redirect = |options: &[&str]| {
        let _ = route(&client, options);
        client.explain("last")["tiers"][0].clone()
    };
    let plain = redirect(&[]);
    for other in [&["--priority", "-7", "-J", "name"][..], &["-a", "1-3"], &["-w", "z1", "--mem", "1M"]] {
        assert_eq!(redirect(other), plain, "{other:?}");
    }
    // Bytes that are no task at all, handed in at front-a's own door over ssh, by a home that nobody knows.
    let mut caller = Caller::greeted(client.command("ssh").args(["h1", "grid", "serve"]), stranger());
    let envelope = |bytes: &[u8]| Envelope {
        version: 1,
        uuid: TaskUuid::new(),
        round: 1_000,
        user: None,
        hops: 0,
        sealed: Sealed::from_bytes(bytes.to_vec()),
        list: None,
    };
    let redirected = caller.redirect(envelope(b"no task"));
    let homes: Vec<String> = ["h4", "h5", "h6", "h1"].map(|host| home_of(&tiers.at(host))).to_vec();
    assert_eq!(redirected.iter().map(ToString::to_string).collect::<Vec<_>>(), homes);
    for noise in [&[][..], &[0xc1; 7], &[0; 4096]] {
        assert_eq!(caller.redirect(envelope(noise)), redirected);
    }
    // Who has to open it says no: nobody took anything.
    let offer =
        Question::Offer { at: None, envelope: envelope(&[0xc1; 7]), called: None, why: false, even_drained: false };
    assert!(matches!(caller.ask(offer), Answer::Denied(why) if why.contains("can't be read")));
    caller.leaves();
}

fn home_of(grid: &crate::support::Grid) -> String {
    grid.sql("select id from home")[0]["id"].as_str().unwrap().to_owned()
}
