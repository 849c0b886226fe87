//! A host on which everything fails at once, beside one that is well.

use crate::support::Rig;

#[test]
fn array_with_retries_completes_beside_a_host_on_which_everything_fails() {
    let Some(rig) = Rig::up(2) else { return };
    let grid = rig.at("head");
    grid.grid(["server", "remove", "local"]).ok();
    for host in ["h1", "h2"] {
        grid.grid(["server", "add", host, "--ssh", host, "--slots", "2", "--cpus", "2"]).ok();
    }
    // A program that is on h1 only.
    rig.put("h1", "works", "#!/bin/sh\nsleep 0.2\n");
    rig.root("h1", "chmod 755 /home/grid/works").ok();
    let id = grid.submit(["--array=1-40", "--retries", "2", "--cwd", "/home/grid", "--", "./works"]);
    grid.grid(["wait", &id]).ok();
    let shown = grid.show(&id);
    assert_eq!(shown["counts"]["COMPLETED"], 40, "{shown}");
    let failed = grid.number("SELECT count(*) n FROM attempt");
    assert!((1..40).contains(&failed), "{failed} attempts failed on h2");
    let told = grid.grid(["status"]).ok();
    assert!(told.contains("server h2") && told.contains("failed there at once"), "{told}");
    let listed = grid.grid(["server", "list", "--json"]).json();
    let why =
        |name: &str| listed.as_array().expect("all").iter().find(|s| s["name"] == name).expect("it")["reason"].clone();
    assert!(why("h2").to_string().contains("failed there at once") && why("h1").is_null(), "{listed}");
}
