//! The packages of `.ci/package`, each installed into an empty root. `.ci/run` makes them of the program that is shipped and names
//! their directory, GRID_TEST_PACKAGES.

use crate::support::{Done, Grid, process, rig, said, skipped};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// From the package to the end of the first task.
const SOON: Duration = Duration::from_secs(10);
/// What is packed by xz is smaller than this.
const SMALL: u64 = 6 << 20;

/// The one package of this machine's architecture whose name ends so.
#[track_caller]
fn package(ending: &str) -> PathBuf {
    let dir = std::env::var_os("GRID_TEST_PACKAGES").expect("GRID_TEST_PACKAGES: a directory that .ci/package made");
    let names = [std::env::consts::ARCH, if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" }];
    let ours = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.ends_with(ending) && (ending == "SHA256SUMS" || names.iter().any(|arch| name.contains(arch)))
    };
    let files = fs::read_dir(dir).expect("GRID_TEST_PACKAGES").map(|entry| entry.unwrap().path());
    let found: Vec<PathBuf> = files.filter(ours).collect();
    assert_eq!(found.len(), 1, "packages that end in {ending}: {found:?}");
    found[0].canonicalize().unwrap()
}

/// A package with its contents below a prefix, as a person has them after the installation.
struct Installed {
    grid: Grid,
    prefix: PathBuf,
    began: Instant,
}

impl Installed {
    /// What was made of a package since `began`; its commands come first on the PATH.
    fn new(mut grid: Grid, prefix: PathBuf, began: Instant) -> Self {
        let path = std::env::var("PATH").unwrap();
        grid.set_env("PATH", &format!("{}:{path}", prefix.join("bin").display()));
        Self { grid, prefix, began }
    }

    fn tarball() -> Self {
        let (grid, began) = (Grid::bare(), Instant::now());
        let prefix = grid.file("prefix");
        fs::create_dir(&prefix).unwrap();
        let mut unpack = grid.command("tar");
        unpack.arg("-xJf").arg(package(".tar.xz")).arg("-C").arg(&prefix).arg("--strip-components=1");
        process::run(&mut unpack).ok();
        Self::new(grid, prefix, began)
    }

    /// Its program, found on the PATH.
    #[track_caller]
    fn run(&self, line: &str) -> Done {
        self.grid.sh(&format!("exec grid {line}"))
    }

    /// The first task has ended soon; then the main job of README.
    #[track_caller]
    fn does_the_main_job(&self, package: &str) {
        assert_eq!(self.run("run -- sh -c 'echo hi'").ok(), "hi");
        let took = self.began.elapsed();
        said::tell(&format!("{package}: first task {} ms after the package", took.as_millis()));
        assert!(took < SOON, "{package}: {took:?}");
        assert_eq!(self.grid.sh("command -v grid").ok(), self.prefix.join("bin/grid").to_str().unwrap());
        let id = self.run("submit --parsable -- true").ok();
        self.run(&format!("wait {id}")).ok();
        self.run("status --all").shows(&["COMPLETED"]);
        assert_eq!(self.run("--version").ok(), format!("grid {}", env!("CARGO_PKG_VERSION")));
        // man looks beside the directories of the PATH.
        let page = self.grid.sh("env -u MANPATH man -w grid-submit").ok();
        assert_eq!(
            Path::new(&page).canonicalize().unwrap(),
            self.share("man/man1/grid-submit.1").canonicalize().unwrap()
        );
    }

    fn share(&self, below: &str) -> PathBuf {
        self.prefix.join("share").join(below)
    }
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn unpacked_tarball_does_the_main_job_and_its_list_removes_it() {
    let installed = Installed::tarball();
    installed.does_the_main_job("tarball");
    // The line of docs/install.md.
    let page = include_str!("../../docs/install.md");
    let remove = page.lines().find(|line| line.starts_with("tar -tJf")).unwrap();
    let tarball = package(".tar.xz").display().to_string();
    let remove = remove.replace("grid-*-linux.tar.xz", &tarball).replace("~/.local", "\"$PREFIX\"");
    process::run(installed.grid.command("sh").args(["-c", &remove]).env("PREFIX", &installed.prefix)).ok();
    assert!(files(&installed.prefix).is_empty(), "left behind: {:?}", files(&installed.prefix).keys());
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn wheel_in_an_empty_environment_does_the_main_job() {
    let (grid, began) = (Grid::bare(), Instant::now());
    let prefix = grid.file("venv");
    // Not that of the environment, which is first on its PATH.
    let python = grid.sh("python3 -c 'import sys; print(sys.executable)'").ok();
    process::run(grid.command(&python).args(["-m", "venv", "--without-pip"]).arg(&prefix)).ok();
    let pip = |grid: &Grid, words: &[&OsStr]| {
        let mut pip = grid.command(&python);
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "--python"]).arg(prefix.join("bin/python"));
        process::run(pip.args(words)).ok()
    };
    pip(&grid, &["install".as_ref(), "--no-index".as_ref(), package(".whl").as_ref()]);
    let installed = Installed::new(grid, prefix.clone(), began);
    installed.does_the_main_job("wheel");
    let tarball = Installed::tarball();
    let beside = |at: &Installed| files(&at.share(""));
    assert!(beside(&installed) == beside(&tarball), "the wheel has other pages or completions than the tarball");
    let program = |at: &Installed| fs::read(at.prefix.join("bin/grid")).unwrap();
    assert!(program(&installed) == program(&tarball), "the wheel has another program than the tarball");
    pip(&installed.grid, &["uninstall".as_ref(), "--yes".as_ref(), "grid-queue".as_ref()]);
    let left: Vec<String> = files(&installed.share("")).into_keys().filter(|name| name.contains("grid")).collect();
    assert!(left.is_empty() && !installed.prefix.join("bin/grid").exists(), "left behind: {left:?}");
}

/// Installs the package into a root that holds nothing else and runs a task there: no shell, no library, no user database.
const EMPTY_ROOT: &str = r#"
set -eu
root=$1 package=$2 PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$root"/var/lib/dpkg/info "$root"/var/lib/dpkg/updates "$root"/proc "$root"/dev "$root"/root
touch "$root/var/lib/dpkg/status"
# Images for containers leave out manual pages.
dpkg --root="$root" --log=/dev/null --path-include='*' --install "$package" >/dev/null
mount -t proc proc "$root/proc"
for device in null random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
env -i HOME=/root PATH="$PATH" chroot "$root" /usr/bin/grid run -- grid --version
env -i HOME=/root PATH="$PATH" chroot "$root" /usr/bin/grid status --all
"#;

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn deb_in_an_empty_root_does_the_main_job_and_leaves_nothing() {
    if let Err(why) = rig::possible() {
        return skipped("deb_in_an_empty_root_does_the_main_job_and_leaves_nothing", why);
    }
    let (grid, began) = (Grid::bare(), Instant::now());
    let root = grid.file("root");
    let mut within = grid.command("unshare");
    within.args(["--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", EMPTY_ROOT, "sh"]);
    let done = process::run(within.arg(&root).arg(package(".deb")));
    let took = began.elapsed();
    done.shows(&[&format!("grid {}\n", env!("CARGO_PKG_VERSION")), "COMPLETED"]);
    said::tell(&format!("deb: first task in an empty root at most {} ms after the package", took.as_millis()));
    assert!(took < SOON, "{took:?}");
    // The same pages as in the tarball, packed.
    let pages =
        |share: PathBuf| files(&share.join("man/man1")).into_keys().map(|name| name.trim_end_matches(".gz").to_owned());
    let tarball = Installed::tarball();
    assert!(pages(root.join("usr/share")).eq(pages(tarball.share(""))));
    let mut remove = grid.command("unshare");
    remove.args(["--map-root-user", "dpkg", "--log=/dev/null", "--root"]).arg(&root).args(["--purge", "grid-queue"]);
    process::run(&mut remove).ok();
    assert!(!root.join("usr").exists(), "left behind: {:?}", files(&root.join("usr")));
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn deb_belongs_to_root_and_only_the_program_is_executable() {
    let listed = process::run(Command::new("dpkg-deb").arg("--contents").arg(package(".deb"))).ok();
    for line in listed.lines() {
        let mode = match line.split_whitespace().last().unwrap() {
            "./usr/bin/grid" => "-rwxr-xr-x",
            dir if dir.ends_with('/') => "drwxr-xr-x",
            _ => "-rw-r--r--",
        };
        assert!(line.starts_with(&format!("{mode} root/root ")), "{line}");
    }
    let listed = process::run(Command::new("dpkg-deb").arg("--info").arg(package(".deb"))).ok();
    assert!(!listed.contains("postinst") && !listed.contains("Depends:"), "{listed}");
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn manual_pages_are_shown_without_a_warning() {
    let installed = Installed::tarball();
    let pages = files(&installed.share("man/man1"));
    assert!(pages.len() > 50, "{} pages", pages.len());
    let mut man = installed.grid.command("man");
    man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").args(["--warnings", "-P", "cat", "-l"]);
    let done = process::run(man.args(pages.keys().map(|name| installed.share("man/man1").join(name)))).expect(0);
    assert_eq!(done.err(), "");
    assert!(done.out().contains("GRID-SUBMIT(1)") || done.out().contains("grid-submit(1)"), "{}", done.out());
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn shells_complete_with_the_files_of_the_package() {
    let installed = Installed::tarball();
    let complete = |shell: &str, script: &str| {
        let done = process::run(installed.grid.command(shell).args(["-c", script]).env("SHARE", installed.share("")));
        assert_eq!(done.err(), "", "{shell}");
        done.shows(&["submit"]);
    };
    complete(
        "bash",
        "f=$SHARE/bash-completion/completions/grid; bash -n $f && . $f && COMP_WORDS=(grid sub) COMP_CWORD=1 &&
         _grid grid sub grid; echo ${COMPREPLY[@]}",
    );
    complete(
        "fish",
        "fish --no-execute $SHARE/fish/vendor_completions.d/grid.fish; source $SHARE/fish/vendor_completions.d/grid.fish; complete -C 'grid sub'",
    );
    // Only a terminal can ask zsh itself.
    complete(
        "zsh",
        "f=$SHARE/zsh/site-functions; zsh -n $f/_grid && fpath=($f $fpath) && autoload -U compinit && compinit -D -u &&
         [ $_comps[grid] = _grid ] && autoload +X _grid && functions _grid_commands; grep submit $f/_grid",
    );
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn packages_are_small_and_their_checksums_hold() {
    for ending in [".tar.xz", ".deb", ".whl"] {
        let size = fs::metadata(package(ending)).unwrap().len();
        said::tell(&format!("*{ending}: {size} bytes"));
        // A wheel knows only deflate.
        assert!(size < if ending == ".whl" { SMALL * 3 / 2 } else { SMALL }, "*{ending}: {size} bytes");
    }
    let sums = package("SHA256SUMS");
    let mut check = Command::new("sha256sum");
    let checked = process::run(check.args(["--check", "--strict"]).arg(&sums).current_dir(sums.parent().unwrap())).ok();
    assert!(checked.lines().count() >= 3, "{checked}");
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn packages_have_the_same_bytes_when_made_elsewhere() {
    let installed = Installed::tarball();
    let source = installed.grid.file("another source");
    fs::create_dir_all(source.join(".ci")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in [".ci/package", ".ci/wheel", "Cargo.toml"] {
        fs::copy(root.join(part), source.join(part)).unwrap();
    }
    // The texts and the time of the packages that are there: the source may have later ones.
    for (text, content) in files(&installed.share("doc/grid-queue")) {
        fs::write(source.join(text), content).unwrap();
    }
    let program = installed.prefix.join("bin/grid");
    let epoch = fs::metadata(&program).unwrap().mtime().to_string();
    let mut make = installed.grid.command("sh");
    make.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(source.join(".ci/package")).arg(program);
    make.arg("made").env("SOURCE_DATE_EPOCH", epoch).env("TZ", "Asia/Tokyo").env("LC_ALL", "C.UTF-8");
    // It packs for longer than other commands take.
    let made = make.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for ending in [".tar.xz", ".deb", ".whl"] {
        let one = package(ending);
        let other = installed.grid.file("made").join(one.file_name().unwrap());
        assert!(fs::read(&one).unwrap() == fs::read(other).unwrap(), "{} differs", one.display());
    }
}

#[test]
#[ignore = "needs GRID_TEST_PACKAGES"]
fn binstall_finds_the_program_in_the_tarball() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let told = manifest["package"]["metadata"]["binstall"].as_table().unwrap();
    let filled = |field: &str| {
        let text = told[field].as_str().unwrap().replace("{ version }", env!("CARGO_PKG_VERSION"));
        let text = text.replace("{ target-arch }", std::env::consts::ARCH);
        text.replace("{ bin }", "grid").replace("{ binary-ext }", "").replace("{ repo }", "https://host/grid")
    };
    let tarball = package(".tar.xz");
    assert_eq!(filled("pkg-url").rsplit('/').next(), tarball.file_name().unwrap().to_str());
    assert!(!filled("pkg-url").contains(['{', '}']), "{}", filled("pkg-url"));
    assert_eq!(told["pkg-fmt"].as_str(), Some("txz"));
    let listed = process::run(Command::new("tar").arg("-tJf").arg(&tarball)).ok();
    assert!(listed.lines().any(|line| line == filled("bin-dir")), "{} is not in\n{listed}", filled("bin-dir"));
}

/// The files below a directory, with their contents.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(below, content)| (format!("{name}/{below}"), content)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}
