//! Files of tasks that go to other homes: they follow the task, and what it makes comes back the same way.

use super::way::three;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn files_follow_a_task_through_both_tiers_and_come_back() {
    let (client, front, lab) = three();
    fs::write(client.file("encode.sh"), "#!/bin/sh\ntr a-z A-Z < $1 > out.txt; pwd\n").unwrap();
    fs::set_permissions(client.file("encode.sh"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(client.file("a.wav"), "sound").unwrap();
    let send = ["--send", "encode.sh", "--send", "a.wav", "--fetch", "out*"];
    let done = client.grid(["run"].iter().chain(&send).chain(&["--", "./encode.sh", "a.wav"]));
    assert!(done.ok().contains(&lab.home().display().to_string()), "it ran in the lab's spool");
    assert_eq!(fs::read_to_string(client.file("out.txt")).unwrap(), "SOUND");
    assert_eq!((lab.tasks(), front.tasks()), (1, 0));
    assert_eq!(fs::read_dir(front.home().join("spool/sent")).unwrap().count(), 0, "the front keeps nothing");
    assert_eq!(client.show("last")["files"]["fetched"][0]["files"], 1);
    // Not where it was submitted, for that is another home's; but anywhere by name.
    lab.grid(["wait", "1"]).ok();
    assert!(!lab.file("out.txt").exists());
    lab.grid(["fetch", "1"]).expect(2).says(&["--to"]);
    lab.grid(["fetch", "1", "--to", "there"]).ok();
    assert_eq!(fs::read_to_string(lab.file("there/out.txt")).unwrap(), "SOUND");
}

/// The client's copy came whole, and the connection was cut before the client heard the last word.
#[test]
fn results_of_a_client_that_was_cut_behind_the_last_byte_count_as_given() {
    let (client, _front, lab) = three();
    let given = || lab.number("select count(*) n from fetched where unpacked_at is not null");
    for (task, spoilt) in [("1", false), ("2", true)] {
        let id = client.submit(["--fetch", "out", "--", "sh", "-c", "echo sound > out"]);
        lab.grid(["wait", task]).ok();
        let mut archive = fs::read(lab.home().join(format!("spool/fetched/{task}.0"))).unwrap();
        if spoilt {
            archive.reverse();
        }
        fs::write(client.home().join(format!("spool/fetched/{id}.0.part")), &archive).unwrap();
        client.grid(["fetch", &id, "--to", &format!("to-{id}")]).ok();
        assert_eq!(fs::read_to_string(client.file(&format!("to-{id}/out"))).unwrap(), "sound\n");
        assert_eq!(given().to_string(), task);
    }
}

#[test]
fn array_with_megabytes_of_files_in_a_whole_directory_travels() {
    let (client, _front, lab) = three();
    let text: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(client.file("big"), &text).unwrap();
    client.grid(["run", "--dir", "--", "cp", "big", "copy"]).ok();
    assert!(fs::read(client.file("copy")).unwrap() == text);
    // The same content is there already.
    let id = client.submit(
        ["--send", "big", "-a", "1-3", "--fetch", "o*", "--", "sh", "-c"]
            .iter()
            .copied()
            .chain(["echo $GRID_ARRAY_INDEX > o$GRID_ARRAY_INDEX"]),
    );
    client.grid(["wait", &id]).expect(0);
    for index in 1..=3 {
        assert_eq!(fs::read_to_string(client.file(&format!("o{index}"))).unwrap(), format!("{index}\n"));
    }
    assert_eq!(lab.number("select count(*) from bundle"), 1);
    // Held until its files are there, and held by its client as well.
    fs::write(client.file("f"), "later").unwrap();
    let id = client.submit(["-H", "--send", "f", "--", "cat", "f"]);
    assert_eq!(client.state(&id), "HELD");
    client.grid(["release", &id]).ok();
    client.grid(["wait", &id]).ok();
    assert_eq!(client.grid(["logs", &id]).ok(), "later");
}
