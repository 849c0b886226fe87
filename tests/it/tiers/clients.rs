//! A server is matched to an attribute of the client, wherever the client is.

use super::way::three;
use serde_json::json;

#[test]
fn attribute_that_a_client_declares_of_itself_is_matched_in_another_home() {
    let (client, front, lab) = three();
    front.grid(["distributor", "drain", "tier2"]).ok();
    lab.grid(["server", "set", "local", "--set", "pit=7"]).ok();
    let host = client.sql("select name from client_view")[0]["name"].as_str().unwrap().to_owned();
    client.grid(["submit", "-C", "server.pit == client.want", "--", "true"]).expect(75);
    client.grid(["client", "set", &host, "--set", "want=7"]).ok();
    assert_eq!(client.route(&["-C", "server.pit == client.want"]), json!(["front-a", "lab-x"]));
    // The next match sees the update.
    client.grid(["client", "set", &host, "--set", "want=8"]).ok();
    let refused = client.grid(["submit", "-C", "server.pit == client.want", "--", "true"]).expect(75);
    refused.says(&["client.want is 8"]);
    // What the lab declares of that client itself goes first, also for a task that waits there.
    lab.grid(["server", "drain", "local"]).ok();
    lab.grid(["client", "set", &host, "--set", "want=7"]).ok();
    let id = client.submit(["-C", "server.pit == client.want", "--", "true"]);
    lab.grid(["server", "resume", "local"]).ok();
    client.grid(["wait", &id]).ok();
    // What would be too much for every task is refused where it is typed.
    let long: Vec<String> = (0..17).map(|n| format!("--set=long{n}={}", "x".repeat(4_000))).collect();
    client.grid(["client", "set", &host].into_iter().chain(long.iter().map(String::as_str))).ok();
    client.grid(["submit", "--", "true"]).expect(1).says(&["travel with its tasks", "grid client unset"]);
}
