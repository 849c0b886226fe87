//! Options, names and ids that nobody knows; sizes, times and arrays that are none.

use super::Kept;

#[test]
fn unknown_word_is_named_with_a_remedy() {
    let kept = Kept::new();
    kept.grid.grid(["user", "add", "alice"]).ok();
    kept.grid.grid(["user", "remove", "alice"]).ok();
    for (line, code, words) in [
        ("submit --nonsense -- true", 2, &["--nonsense", "Usage: grid submit"][..]),
        ("sumbit -- true", 2, &["sumbit", "submit"]),
        ("submit --user nobody -- true", 1, &["no user \"nobody\"", "grid user list"]),
        ("submit --profile rendr -- true", 1, &["no profile \"rendr\"", "grid task list"]),
        ("submit -w nowhere -- true", 75, &["no server \"nowhere\"", "grid server list"]),
        ("submit -w locla -- true", 75, &["did you mean \"local\"?"]),
        ("submit -w lab/local -- true", 75, &["-w lab/local"]),
        (
            "submit -C server.nope==1 -- true",
            75,
            &["server.nope is not set", "without -C: it could start now on 1 server"],
        ),
        ("submit -C server.cpsu==1 -- true", 75, &["server.cpsu is not set (did you mean server.cpus?)"]),
        ("submit -w teir2/local -- true", 75, &["no distributor \"teir2\"; did you mean \"tier2\"?"]),
        ("submit --app maya -- true", 75, &["maya"]),
        ("server show nope", 1, &["no server \"nope\""]),
        ("server set nope --slots 3", 1, &["no server \"nope\""]),
        ("server drain nope", 1, &["no server \"nope\""]),
        ("server refresh nope", 1, &["no server \"nope\""]),
        ("server remove local nope", 1, &["no server \"nope\""]),
        ("server unset local nope", 1, &["\"nope\" is not declared"]),
        ("server add x --local --distributor nope", 1, &["no distributor \"nope\""]),
        ("server add x --of local,nope", 1, &["no server \"nope\""]),
        ("user show nope", 1, &["no user \"nope\""]),
        ("task show nope", 1, &["no profile \"nope\""]),
        ("client show nope", 1, &["no client \"nope\""]),
        ("distributor drain nope", 1, &["no distributor \"nope\""]),
        ("distributor order --tier 2 tier2,nope", 1, &["no distributor \"nope\""]),
        ("config set nope 3", 1, &["no setting \"nope\"", "grid config list"]),
        ("show 99", 1, &["no task \"99\""]),
        ("show 1.7", 1, &["no task \"1.7\""]),
        ("logs 99", 1, &["no task \"99\""]),
        ("explain 99", 1, &["no task \"99\""]),
        ("cancel 1 99", 1, &["no task \"99\""]),
        ("wait 99", 1, &["no task \"99\""]),
        ("wait next", 1, &["no task \"next\"", "none of yours has that name"]),
        ("wait 15-12", 2, &["\"15-12\" names no task"]),
        ("status --user nobody", 1, &["no user \"nobody\""]),
    ] {
        kept.refuses(line.split(' '), code, words);
    }
}

#[test]
fn unknown_excluded_server_gives_a_warning() {
    let kept = Kept::new();
    let done = kept.grid.grid(["submit", "-n", "-x", "locla", "--", "true"]);
    done.expect(0).says(&["-x locla", "did you mean \"local\"?"]);
    assert_eq!(kept.grid.grid(["submit", "-n", "-x", "local", "--", "true"]).code(), 75);
}

#[test]
fn malformed_size_time_or_array_error_shows_the_form() {
    let kept = Kept::new();
    for (option, bad, word) in [
        ("--mem", "8", "needs a unit"),
        ("--mem", "8Q", "512M"),
        ("--mem", "0", "leave the option out"),
        ("--mem", "G", "512M"),
        ("--mem", "99999999999999999999G", "too large"),
        ("--mem", "8 G B", "512M"),
        ("-t", "90", "needs a unit"),
        ("-t", "-5s", "1h30m"),
        ("--mem", "-1", "512M"),
        ("-t", "1x", "1h30m"),
        ("-t", "0s", "more than nothing"),
        ("-t", "99999999999999d", "1h30m"),
        ("-t", "99999d", "at most"),
        ("-t", "", "1h30m"),
        ("-a", "5-1", "above the last"),
        ("-a", "1-5:0", "1 or more"),
        ("-a", "1-5%0", "1 or more"),
        ("-a", "a-b", "1-100:2%4"),
        ("-a", "1-20000000", "10,000,000"),
        ("-a", "1-99999999999", "1-100:2%4"),
        ("-a", "-5", "1-100:2%4"),
        ("-a", "", "1-100:2%4"),
        ("-c", "0", "1 or more"),
        ("-c", "-1", "1 or more"),
        ("-c", "two", "\"two\": write a whole number, 1 or more"),
        ("-c", "99999999999", "at most 4294967295"),
        ("--retries", "-1", "0 or more"),
        ("--priority", "high", "\"high\" is no whole number from -"),
        ("--app", "blender>=", "blender>=4.1"),
        ("--app", "", "can't be empty"),
        ("--env", "", "NAME=VALUE"),
        ("--env", "=x", "NAME=VALUE"),
        ("--env", "GRID_NOT_SET_ANYWHERE", "GRID_NOT_SET_ANYWHERE=VALUE"),
        ("-o", "", "/dev/null"),
        ("--each-line", "/no/such/file", "No such file"),
        ("--each-line", "/", "Is a directory"),
        ("--each-line", "/dev/null", "no lines"),
    ] {
        kept.refuses(["submit", option, bad, "--", "true"], 2, &[word]);
    }
    for (line, word) in [
        ("server add x --local --mem 0", "leave the option out"),
        ("server add x --local --slots 0", "1 or more"),
        ("server add x --local --max-load nan", "above 0"),
        ("server add x --local --set rack", "NAME=VALUE"),
        ("server add x --local --set 1x=4", "attribute name"),
        ("server add x --local --set name=y", "keeps its name"),
        ("config set idle_exit soon", "1h30m"),
        ("config set idle_exit -1", "1h30m"),
        ("server set local --slots -1", "1 or more"),
        ("config set output_limit much", "512M"),
        ("distributor search --tier 2 best", "round-robin"),
        ("distributor add x --tier 3", "there is no tier \"3\": 1 or 2"),
    ] {
        kept.refuses(line.split(' '), 2, &[word]);
    }
}

#[test]
fn unsupported_option_is_refused_by_name() {
    let kept = Kept::new();
    for (option, value) in [("-d", "2"), ("--after", "2"), ("-b", "tomorrow"), ("-L", "maya"), ("-G", "1")] {
        kept.refuses(["submit", option, value, "--", "true"], 2, &["not supported yet"]);
    }
    let script = kept.grid.file("job.sh");
    std::fs::write(&script, "#!/bin/sh\n#GRID --cpus 4\ntrue\n").unwrap();
    kept.refuses(["submit", "--", "./job.sh"], 2, &["#GRID", "not supported yet"]);
}
