//! Names beside others: a name with a suffix that still fits the file system.

use crate::model::files::RelPath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Longest extension in bytes; anything longer is a part of the name.
const EXTENSION_MAX: usize = 16;

/// A path with `suffix` added to its last name, of at most `longest` bytes. A longer name is shortened: it keeps its beginning and
/// its extension, and a digest of the whole name makes it unique.
pub fn beside(path: &RelPath, suffix: &str, longest: usize) -> RelPath {
    let Some((dir, name)) = path.split().filter(|(_, name)| name.len() + suffix.len() > longest) else {
        return path.beside(suffix);
    };
    let short = shortened(name.as_bytes(), longest.saturating_sub(suffix.len()));
    let short = RelPath::new(Path::new(OsStr::from_bytes(&short))).unwrap_or_default();
    dir.join(&short).beside(suffix)
}

fn shortened(name: &[u8], room: usize) -> Vec<u8> {
    let digest = blake3::hash(name).to_hex();
    let mark = format!("~{}", &digest[..8]);
    let dot = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0);
    let extension = dot.map_or(&name[..0], |at| &name[at..]);
    let extension = if extension.len() > EXTENSION_MAX { &name[..0] } else { extension };
    let stem = room.saturating_sub(mark.len() + extension.len());
    // Not within a character.
    let cut = (0..=stem.min(name.len())).rev().find(|at| name.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80));
    [&name[..cut.unwrap_or(0)], mark.as_bytes(), extension].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rel(path: &str) -> RelPath {
        RelPath::new(Path::new(path)).unwrap()
    }

    fn last(path: &RelPath) -> String {
        path.split().unwrap().1.to_str().unwrap().to_owned()
    }

    #[test]
    fn long_name_keeps_its_beginning_and_extension() {
        let name = |last: &str| format!("{}{last}.tar.zst", "x".repeat(240));
        let (one, other) = (beside(&rel(&name("1")), ".grid-7", 255), beside(&rel(&name("2")), ".grid-7", 255));
        assert_ne!(one, other);
        assert_eq!(last(&one).len(), 255);
        assert!(last(&one).starts_with("xxxx") && last(&one).ends_with(".zst.grid-7"), "{one}");
        assert_eq!(beside(&rel("d/short.txt"), ".grid-7", 255).to_string(), "d/short.txt.grid-7");
        let hidden = beside(&rel(&format!(".{}", "h".repeat(254))), ".grid-7", 255);
        assert!(last(&hidden).starts_with(".hhh") && last(&hidden).len() == 255, "{hidden}");
    }

    proptest! {
        #[test]
        fn name_beside_another_fits_and_is_valid_text(
            name in "(a|ä|€|😀){1,255}(\\.[a-z]{1,20})?",
            suffix in "\\.grid-[0-9]{1,10}(\\.[0-9]{1,9})?",
            longest in 64usize..=255,
        ) {
            let path = beside(&rel("dir").join(&rel(&name)), &suffix, longest);
            let name = last(&path);
            prop_assert!(name.len() <= longest && name.ends_with(&suffix), "{}", name);
            prop_assert_eq!(path.names().count(), 2);
        }
    }
}
