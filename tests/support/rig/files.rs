//! What lies in a rig's directory before anything starts: scripts, the binary, keys, and the /etc of each host.

use super::{Plan, UID, is_root};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The last number of a host's address, 10.77.0.N.
pub fn number(host: &str) -> u8 {
    host.strip_prefix('h').and_then(|k| k.parse().ok()).unwrap_or(254)
}

/// The hardware address of its card; `host.sh` says the same.
pub fn card(host: &str) -> String {
    format!("02:77:00:00:00:{:02x}", number(host))
}

/// Who logs in there. The head's is another one, with another $HOME: what maps one to the other is seen to work.
pub fn user(host: &str) -> &'static str {
    if host == "head" { "ann" } else { "grid" }
}

pub fn write(dir: &Path, plan: &Plan) {
    let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
    put("switch.sh", include_str!("switch.sh"));
    put("host.sh", include_str!("host.sh"));
    fs::create_dir(dir.join("bin")).expect("a directory");
    let binary = binary(plan.program.as_deref());
    if fs::hard_link(&binary, dir.join("bin/grid")).is_err() {
        fs::copy(&binary, dir.join("bin/grid")).expect("the binary");
    }
    // Seen by all users of the hosts; the directories of tests are 0700.
    fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("permissions");

    let names = plan.names();
    let hosts: String = names.iter().map(|h| format!("10.77.0.{} {h}\n", number(h))).collect();
    put("hosts", &format!("127.0.0.1 localhost\n{hosts}"));
    keygen(&dir.join("key"));
    for host in &names {
        let user = user(host);
        for part in ["etc/ssh", "home", "var-tmp"] {
            fs::create_dir_all(dir.join(host).join(part)).expect("a directory");
        }
        let put = |name: &str, text: &str| put(&format!("{host}/{name}"), text);
        put("user", user);
        put("etc/hosts", &format!("127.0.0.1 localhost\n{hosts}"));
        put("etc/passwd", &passwd(user, "/bin/bash"));
        // No group tty: an sshd that is not root could not give a terminal to it.
        put("etc/group", &format!("root:x:0:\n{user}:x:{UID}:\n"));
        put("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
        put("etc/machine-id", &format!("{}\n", uuid::Uuid::now_v7().simple()));
        put("etc/resolv.conf", "");
        put("etc/ssh/sshd_config", SSHD);
        put("sshd.log", "");
        keygen(&dir.join(host).join("etc/ssh/hostkey"));
        if plan.with_grid.contains(host) {
            put("has-grid", "");
        }
    }
    if let Some((first, others)) = plan.one_home.split_first() {
        for host in others {
            let home = dir.join(host).join("home");
            fs::remove_dir(&home).expect("an empty home");
            symlink(dir.join(first).join("home"), home).expect("a link");
        }
    }
    for host in &names {
        let path = dir.join(host);
        if !path.join("home/.ssh").exists() {
            dot_ssh(dir, &path.join("home"), &names);
        }
        if is_root() {
            let all = Command::new("chown")
                .arg("-R")
                .arg(format!("{UID}:{UID}"))
                .args(["home", "var-tmp", "etc/ssh"].map(|part| path.join(part)))
                .status();
            assert!(all.is_ok_and(|s| s.success()), "chown {host}");
            chown(path.join("sshd.log"), Some(UID), Some(UID)).expect("chown");
        }
    }
}

/// Plain `ssh h1` works from everywhere: a key, the hosts' keys, who one is there.
fn dot_ssh(dir: &Path, home: &Path, names: &[String]) {
    let ssh = home.join(".ssh");
    fs::create_dir(&ssh).expect("a directory");
    fs::set_permissions(&ssh, Permissions::from_mode(0o700)).expect("permissions");
    for (from, to) in [("key", "id_ed25519"), ("key.pub", "id_ed25519.pub"), ("key.pub", "authorized_keys")] {
        fs::copy(dir.join(from), ssh.join(to)).expect("a key");
    }
    let known = |host: &String| {
        let key = fs::read_to_string(dir.join(host).join("etc/ssh/hostkey.pub")).expect("a key");
        let words: Vec<&str> = key.split_whitespace().take(2).collect();
        format!("{host} {}\n", words.join(" "))
    };
    fs::write(ssh.join("known_hosts"), names.iter().map(known).collect::<String>()).expect("known_hosts");
    let entry = |host: &String| format!("Host {host}\n  User {}\n", user(host));
    // The quicker of the key exchanges: a login takes 60 ms instead of 200.
    let all = "Host *\n  KexAlgorithms curve25519-sha256\n";
    let config = names.iter().map(entry).chain([all.to_owned()]).collect::<String>();
    fs::write(ssh.join("config"), config).expect("config");
    fs::set_permissions(ssh.join("config"), Permissions::from_mode(0o600)).expect("permissions");
}

pub fn passwd(user: &str, shell: &str) -> String {
    format!(
        "root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n{user}:x:{UID}:{UID}:{user}:/home/{user}:{shell}\n"
    )
}

pub fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-qt", "ed25519", "-N", "", "-C", "rig", "-f"]).arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen {}", path.display());
}

/// As it would be installed: without debug information, which every host would have to take in.
fn binary(program: Option<&Path>) -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    match program {
        Some(program) => stripped(program, "grid-given"),
        None => MADE.get_or_init(|| stripped(Path::new(env!("CARGO_BIN_EXE_grid")), "grid")).clone(),
    }
}

fn stripped(built: &Path, name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Several rigs of one test program begin at once.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let new = place.join(format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let done = Command::new("strip").arg("-o").arg(&new).arg(built).stderr(Stdio::null()).status();
    if !done.is_ok_and(|status| status.success()) {
        return built.to_owned();
    }
    let last = place.join(name);
    fs::rename(&new, &last).expect("a name");
    last
}

const SSHD: &str = "Port 22
ListenAddress 0.0.0.0
HostKey /etc/ssh/hostkey
AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys
UsePAM no
StrictModes no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
";
