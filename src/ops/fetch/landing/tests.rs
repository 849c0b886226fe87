//! Unpacking of malicious archives: nothing outside the directory is touched.

use super::*;
use crate::archive::pack::Packer;
use crate::archive::walk::{Rules, Walk, walk};
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt, symlink};
use tar::{Builder, EntryType, Header};

/// A directory in a directory, with files in the outer one.
struct Place {
    outer: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("in")).unwrap();
        std::fs::create_dir(outer.path().join("dir")).unwrap();
        std::fs::write(outer.path().join("precious"), "precious").unwrap();
        symlink("../dir", outer.path().join("in/way")).unwrap();
        Self { outer }
    }

    fn client(&self) -> ClientDirectory {
        ClientDirectory::open(&self.outer.path().join("in"), "7", Timestamp::now(), None).unwrap()
    }

    /// True if nothing outside the inner directory has changed.
    fn is_untouched(&self) -> bool {
        let mut names: Vec<_> = std::fs::read_dir(self.outer.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names == ["dir", "in", "precious"]
            && std::fs::read_to_string(self.outer.path().join("precious")).unwrap() == "precious"
            && std::fs::read_dir(self.outer.path().join("dir")).unwrap().count() == 0
    }
}

/// A malicious entry.
#[derive(Debug, Clone)]
struct Evil {
    path: Vec<u8>,
    kind: EntryType,
    target: Vec<u8>,
    content: Vec<u8>,
    /// The size in the header, if it is a false one.
    size: Option<u64>,
}

fn archive(entries: &[Evil]) -> File {
    let mut tar = Builder::new(tempfile::tempfile().unwrap());
    for entry in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(0o6777);
        header.set_mtime(1);
        header.set_size(entry.size.unwrap_or(entry.content.len() as u64));
        let old = header.as_old_mut();
        for (field, bytes) in [(&mut old.name, &entry.path), (&mut old.linkname, &entry.target)] {
            let len = bytes.len().min(100);
            field[..len].copy_from_slice(&bytes[..len]);
        }
        header.set_cksum();
        tar.append(&header, entry.content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn evil(path: &str, kind: EntryType, target: &str) -> Evil {
    Evil { path: path.into(), kind, target: target.into(), content: Vec::new(), size: None }
}

fn written(path: &str) -> Evil {
    Evil { content: b"evil".to_vec(), ..evil(path, EntryType::Regular, "") }
}

#[test]
fn archive_that_leads_out_is_refused_before_anything_is_written() {
    use EntryType as Is;
    let long = "n".repeat(5000);
    let cases = [
        vec![written("../precious")],
        vec![written("/etc/evil")],
        vec![written("a/../../precious")],
        vec![evil("l", Is::Link, "../precious")],
        vec![evil("c", Is::Char, "")],
        vec![evil("b", Is::Block, "")],
        vec![evil("p", Is::Fifo, "")],
        vec![evil("s", Is::GNUSparse, "")],
        vec![evil("", Is::Regular, "")],
        vec![Evil { size: Some(u64::MAX / 2), ..written("huge") }],
        vec![Evil { size: Some(u64::MAX), ..written("huge") }],
        vec![Evil { content: vec![b'x'; 100_000], ..evil("l", Is::GNULongName, "") }, written("y")],
        vec![Evil { size: Some(1 << 40), ..evil("l", Is::GNULongName, "") }, written("y")],
        vec![Evil { size: Some(1 << 40), ..evil("l", Is::XHeader, "") }, written("y")],
        vec![Evil { content: format!("../{long}").into_bytes(), ..evil("l", Is::GNULongName, "") }, written("y")],
    ];
    for case in cases {
        let place = Place::new();
        let mut whole = vec![written("good")];
        whole.extend(case.clone());
        let result = place.client().unpack(&archive(&whole));
        assert!(result.is_err(), "{case:?} gave {result:?}");
        assert!(place.is_untouched() && !place.outer.path().join("in/good").exists(), "{case:?}");
    }
}

#[test]
fn link_that_leads_out_is_left_out_and_everything_else_lands() {
    use EntryType::Symlink;
    for (path, target) in [
        ("l", "/etc"),
        ("l", ".."),
        ("d/l", "../.."),
        ("l", "x/d/.."),
        ("l", "a/../.."),
        ("l", "/"),
        ("d/e/l", "../../../in"),
    ] {
        let place = Place::new();
        let all = [evil(path, Symlink, target), written("good"), evil("way2", Symlink, "good"), written("l/below")];
        let landed = place.client().unpack(&archive(&all)).unwrap();
        let left_out = landed.iter().filter(|l| matches!(l.landing, Landing::LeftOut { .. })).collect::<Vec<_>>();
        assert_eq!((left_out.len(), left_out[0].path.as_str()), (1, path), "{landed:?}");
        let inside = place.outer.path().join("in");
        assert_eq!(std::fs::read_to_string(inside.join("way2")).unwrap(), "evil");
        assert!(!inside.join(path).is_symlink() && place.is_untouched(), "{path} -> {target}");
    }
}

#[test]
fn link_that_a_later_entry_makes_a_directory_is_not_written_through() {
    use EntryType::{Directory, Symlink};
    let place = Place::new();
    let all = [
        evil("a", Symlink, "way"),
        evil("a", Directory, ""),
        written("a/x"),
        evil("b", Symlink, "b"),
        written("b/x"),
        evil("c", Directory, ""),
        evil("c/l", Symlink, "../way"),
        evil("c", Symlink, "way"),
        written("c/l/x"),
    ];
    for _ in 0..2 {
        let landed = place.client().unpack(&archive(&all)).unwrap();
        assert!(landed.iter().filter(|l| matches!(l.landing, Landing::Refused { .. })).count() >= 4, "{landed:?}");
        assert!(place.is_untouched());
    }
}

#[test]
fn file_of_the_longest_name_lands_beside_one_that_was_changed() {
    let place = Place::new();
    let inside = place.outer.path().join("in");
    let names = ["1", "2"].map(|last| format!("{}{last}.wav", "ä".repeat(125)));
    assert_eq!(names[0].len(), 255);
    let long = |name: &str, content: &str| {
        [
            Evil { content: name.into(), ..evil("l", EntryType::GNULongName, "") },
            Evil { content: content.into(), ..evil(&name[..50], EntryType::Regular, "") },
        ]
    };
    let all: Vec<Evil> = names.iter().flat_map(|name| long(name, name)).collect();
    for name in &names {
        std::fs::write(inside.join(name), "mine").unwrap();
    }
    let mut first = None;
    for _ in 0..2 {
        // The submit was long before these files were written.
        let client = ClientDirectory::open(&inside, "7", Timestamp(0), None).unwrap();
        let landed = client.unpack(&archive(&all)).unwrap();
        let beside = landed.iter().map(|landed| match &landed.landing {
            Landing::Beside { name } => name.clone(),
            other => panic!("{other:?}"),
        });
        let beside: Vec<String> = beside.collect();
        for (name, lies) in names.iter().zip(&beside) {
            assert!(lies.starts_with("äää") && lies.ends_with(".wav.grid-7") && lies.len() <= 255, "{lies}");
            assert_eq!(std::fs::read_to_string(inside.join(lies)).unwrap(), *name);
            assert_eq!(std::fs::read_to_string(inside.join(name)).unwrap(), "mine");
        }
        assert_eq!(first.get_or_insert_with(|| beside.clone()), &beside, "again makes no more of them");
    }
    // A file that is new here needs a second name only for a moment.
    let new = format!("{}.new", "n".repeat(251));
    let landed = place.client().unpack(&archive(&long(&new, "new"))).unwrap();
    assert_eq!(landed[0].landing, Landing::Written);
}

#[test]
fn file_that_can_not_be_written_does_not_keep_the_others_away() {
    let place = Place::new();
    let long = Evil { content: "n".repeat(5000).into_bytes(), ..evil("l", EntryType::GNULongName, "") };
    let chain =
        [evil("a", EntryType::Symlink, "b"), evil("b", EntryType::Symlink, "way"), written("a/x"), written("way/y")];
    let mut all = vec![long, written("y"), written("plain/../x").clone()];
    all.pop();
    all.extend(chain);
    all.push(written("good"));
    let landed = place.client().unpack(&archive(&all)).unwrap();
    let refused = landed.iter().filter(|l| matches!(l.landing, Landing::Refused { .. })).count();
    assert_eq!(refused, 3, "the long name, and two through links: {landed:?}");
    assert!(place.is_untouched());
    let good = place.outer.path().join("in/good");
    assert_eq!(std::fs::read_to_string(&good).unwrap(), "evil");
    assert_eq!(good.metadata().unwrap().mode() & 0o6000, 0, "neither setuid nor setgid");
}

#[test]
fn damaged_archive_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "x".repeat(10_000)).unwrap();
    let mut packer = Packer::new(tempfile::tempfile().unwrap());
    packer.add(&RelPath::new(Path::new("f")).unwrap(), &dir.path().join("f"), Some).unwrap();
    let (whole, packed) = packer.finish().unwrap();
    assert_eq!(packed.files, 1);
    for len in [0, 100, 511, 513, 5000] {
        let place = Place::new();
        whole.set_len(len).unwrap();
        let landed = place.client().unpack(&whole);
        assert!(landed.is_err() || landed.unwrap().is_empty(), "cut at {len}");
        assert!(place.is_untouched());
        assert_eq!(std::fs::read_dir(place.outer.path().join("in")).unwrap().count(), 1, "cut at {len}");
    }
}

fn any_kind() -> impl Strategy<Value = EntryType> {
    prop::sample::select(vec![
        EntryType::Regular,
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
        EntryType::GNUSparse,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn archive_never_writes_outside_of_its_directory(
        entries in prop::collection::vec(
            ("(/?(a|b|way|in|\\.\\.|\\.|precious|)(/|)){1,4}", any_kind(), "(/?(a|b|way|\\.\\.|dir|precious)(/|)){0,4}", "[a-z./]{0,30}"),
            1..6,
        ),
        cut in prop::option::of(0u64..4096),
    ) {
        let place = Place::new();
        let entries: Vec<Evil> = entries.into_iter().map(|(path, kind, target, content)| {
            Evil { path: path.into(), kind, target: target.into(), content: content.into(), size: None }
        }).collect();
        let file = archive(&entries);
        if let Some(cut) = cut {
            file.set_len(cut.min(file.metadata().unwrap().len())).unwrap();
        }
        // Twice: leftovers of the first time must not help the second.
        let _ = place.client().unpack(&file);
        let _ = place.client().unpack(&file);
        prop_assert!(place.is_untouched(), "{entries:?}");
        // No link that was written leads out of it.
        let inside = place.outer.path().join("in").canonicalize().unwrap();
        for found in walk(&inside, Rules::All, &mut Walk::whole()).unwrap().into_values() {
            if let Ok(real) = found.canonicalize() {
                prop_assert!(real.starts_with(&inside) || found.ends_with("way") || real.ends_with("dir"), "{found:?} {entries:?}");
            }
        }
    }

    #[test]
    fn link_stays_inside_or_is_refused(path in "(a/){0,3}l", target in "(\\.\\./|a/|\\./){0,5}(a|\\.\\.)") {
        let path = RelPath::new(Path::new(&path)).unwrap();
        if links::stays_inside(&path, target.as_bytes()) {
            let mut depth = i32::try_from(path.names().count()).unwrap() - 1;
            for name in target.split('/') {
                depth += match name { ".." => -1, "." | "" => 0, _ => 1 };
                prop_assert!(depth >= 0, "{path} -> {target}");
            }
        }
    }
}
