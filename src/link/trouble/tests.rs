//! Messages of ssh, of shells and of the bootstrap script.

use super::*;

/// Messages of OpenSSH 9.2, as seen on real hosts; exit code 255 unless given.
#[test]
fn messages_of_ssh_are_classified() {
    let cases: &[(&str, Trouble)] = &[
        ("ssh: connect to host 10.77.0.1 port 22: Connection refused\r\n", Trouble::Refused),
        ("ssh: connect to host 10.77.0.1 port 22: Connection timed out\r\n", Trouble::NoAnswer),
        ("ssh: connect to host 10.77.0.99 port 22: No route to host\r\n", Trouble::NoRoute),
        ("ssh: connect to host 10.99.0.1 port 22: Network is unreachable\r\n", Trouble::NoRoute),
        (
            "Connection timed out during banner exchange\r\nConnection to 10.77.0.1 port 22 timed out\r\n",
            Trouble::Silent,
        ),
        ("Connection to 10.77.0.4 port 22 timed out\r\n", Trouble::NoAnswer),
        ("ssh: Could not resolve hostname nohost: Name or service not known\r\n", Trouble::Name),
        ("ssh: Could not resolve hostname nohost: Temporary failure in name resolution\r\n", Trouble::Name),
        (
            "No ED25519 host key is known for 10.77.0.1 and you have requested strict checking.\r\nHost key verification failed.\r\n",
            Trouble::HostKeyUnknown,
        ),
        ("Host key verification failed.\r\n", Trouble::HostKeyUnknown),
        (
            "@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nHost key for h1 has changed and you have requested strict checking.\r\nHost key verification failed.\r\n",
            Trouble::HostKeyChanged,
        ),
        ("grid@10.77.0.1: Permission denied (publickey).\r\n", Trouble::Denied("publickey".to_owned())),
        (
            "WARNING: UNPROTECTED PRIVATE KEY FILE!\nbad permissions\r\ngrid@h: Permission denied (publickey,password).\r\n",
            Trouble::Denied("publickey,password".to_owned()),
        ),
        (
            "kex_exchange_identification: Connection closed by remote host\r\nConnection closed by 10.77.0.1 port 22\r\n",
            Trouble::Closed,
        ),
        (
            "kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.77.0.1 port 22\r\n",
            Trouble::Closed,
        ),
        ("Connection to 10.77.0.1 closed by remote host.\r\n", Trouble::Lost),
        ("Timeout, server 10.77.0.1 not responding.\r\n", Trouble::Lost),
        ("client_loop: send disconnect: Broken pipe\r\n", Trouble::Lost),
        (
            "Control socket connect(/run/c): Connection refused\r\nConnection to 10.77.0.4 port 22 timed out\r\n",
            Trouble::NoAnswer,
        ),
        (
            "command-line: line 0: Bad configuration option: nonsense\r\n",
            Trouble::Options("command-line: line 0: Bad configuration option: nonsense".to_owned()),
        ),
        ("Welcome!\nssh: connect to host h port 22: Connection refused\r\n", Trouble::Refused),
    ];
    for (said, expected) in cases {
        assert_eq!(Trouble::classify(said, Some(255), false), *expected, "{said}");
    }
}

/// The messages of bash, dash, zsh, fish and csh.
#[test]
fn missing_grid_is_recognised_in_every_shell() {
    for (said, code) in [
        ("bash: line 1: exec: grid: not found\n", 127),
        ("sh: 1: exec: grid: not found\n", 127),
        ("zsh:1: command not found: grid\n", 127),
        ("fish: Unknown command: grid\n", 127),
        ("grid: Command not found.\n", 1),
        ("bash: line 1: exec: grid: cannot execute: Permission denied\n", 126),
        ("", 127),
    ] {
        let trouble = Trouble::classify(said, Some(code), false).of_grid(Some(code));
        assert!(matches!(trouble, Trouble::NoGrid(_)), "{said}: {trouble:?}");
        let words = trouble.words("lab");
        assert!(words.contains("install grid on lab") && !words.contains("--remote-dir"), "{words}");
    }
    let refused = "ssh: connect to host lab port 22: Connection refused\n";
    assert_eq!(Trouble::classify(refused, Some(255), false).of_grid(Some(255)), Trouble::Refused);
}

/// A banner stands on ssh's stderr, whatever ends the login after it.
#[test]
fn banner_is_not_the_reason_of_a_login_shell_that_ends() {
    let banner = "*****\nAuthorised use only.\n";
    let (exit, none) = (Trouble::classify(banner, Some(7), false), Trouble::classify(banner, Some(1), false));
    let words = exit.clone().with_noise("").words("h1");
    assert!(words.starts_with("the login shell ended with code 7") && words.contains(".bashrc"), "{words}");
    let said = none.clone().with_noise("This account is currently not available.\n");
    assert_eq!(said, Trouble::NoLogin("This account is currently not available.".to_owned()));
    let said = none.with_noise("Closed for the summer.\n").to_string();
    assert!(said.ends_with("(the last line that came: \"Closed for the summer.\")"), "{said}");
    assert_eq!(exit.step(), "shell");
    // Nor where grid itself was to begin.
    assert!(matches!(exit.of_grid(Some(7)), Trouble::Shell { code: 7, .. }));
}

#[test]
fn answers_of_the_script_are_classified() {
    assert_eq!(Trouble::classify("", Some(7), false), Trouble::Shell { code: 7, line: None });
    assert_eq!(Trouble::classify("", Some(255), true), Trouble::Lost);
    let exec = Trouble::classify("/bin/sh: 9: exec: /x/grid: Permission denied\n", Some(126), true);
    assert!(matches!(exec, Trouble::Exec { .. }), "{exec:?}");
    let full = Trouble::from_script("place", "/home/x/.cache/grid/bin\tNo space left on device");
    assert_eq!(full.to_string(), "/home/x/.cache/grid/bin: No space left on device");
    assert!(full.words("h1").contains("--remote-dir"));
    assert!(Trouble::HostKeyChanged.words("h1").contains("ssh-keygen -R h1"));
}
