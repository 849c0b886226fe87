//! What a task wrote, for a terminal: text and colours. Whatever would move the cursor, set a title, fill the clipboard or make the
//! terminal answer is left out. The sequences are those of ECMA-48 and xterm (<https://invisible-island.net/xterm/ctlseqs/ctlseqs.html>).

/// A longer sequence is no colour.
const SEQUENCE_MAX: usize = 64;

/// Where in a sequence the last byte left off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Text,
    /// The first byte of two that may be one control character (U+0080 to U+009F).
    Latin,
    Escape,
    /// A control sequence, with its bytes so far.
    Control(Vec<u8>),
    /// A text for the terminal (a title, the clipboard), up to its end.
    Command,
    /// In such a text, behind an escape.
    CommandEscape,
}

/// Passes text and colours of one output.
#[derive(Debug, Default)]
pub struct ColoursOnly {
    within: Within,
    coloured: bool,
}

impl ColoursOnly {
    /// What a terminal gets of these bytes. A sequence may begin in one piece and end in the next.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.take(*byte, &mut passed);
        }
        passed
    }

    /// What ends the colours that are on.
    pub fn end(&mut self) -> &'static [u8] {
        self.within = Within::Text;
        if std::mem::take(&mut self.coloured) { b"\x1b[0m" } else { b"" }
    }

    fn take(&mut self, byte: u8, passed: &mut Vec<u8>) {
        self.within = match (std::mem::take(&mut self.within), byte) {
            // Either ends whatever was begun.
            (_, 0x18 | 0x1a) => Within::Text,
            (Within::Command, 0x1b) => Within::CommandEscape,
            (_, 0x1b) => Within::Escape,
            (Within::Text, 0xc2) => Within::Latin,
            (Within::Latin, 0x9b) => Within::Control(Vec::new()),
            (Within::Latin, 0x90 | 0x98 | 0x9d..=0x9f) => Within::Command,
            (Within::Latin, 0x80..=0x9f) => Within::Text,
            (Within::Latin, 0xa0..=0xbf) => {
                passed.extend_from_slice(&[0xc2, byte]);
                Within::Text
            }
            // A first byte without its second one: what a terminal gets must not join it to a later one.
            (Within::Latin, 0xc2) => Within::Latin,
            (Within::Latin, _) => {
                text(byte, passed);
                Within::Text
            }
            (Within::Text, _) => {
                text(byte, passed);
                Within::Text
            }
            (Within::Escape, b'[') => Within::Control(Vec::new()),
            (Within::Escape, b']' | b'P' | b'X' | b'^' | b'_') => Within::Command,
            // Those of three bytes choose a set of characters.
            (Within::Escape, 0x20..=0x2f) => Within::Escape,
            (Within::Escape, _) => Within::Text,
            (Within::Control(sequence), b'm') if is_colour(&sequence) => {
                passed.extend_from_slice(b"\x1b[");
                passed.extend_from_slice(&sequence);
                passed.push(b'm');
                self.coloured = !matches!(&sequence[..], b"" | b"0");
                Within::Text
            }
            // No title and no colour goes over a line: what is left open swallows no more.
            (Within::Control(_) | Within::Command | Within::CommandEscape, b'\n') => {
                passed.push(byte);
                Within::Text
            }
            (Within::Command, 0x07) => Within::Text,
            (Within::Control(_), 0x40..=0x7e) => Within::Text,
            (Within::Control(mut sequence), _) => {
                // It is left out in any case: its length does not matter.
                if sequence.len() <= SEQUENCE_MAX {
                    sequence.push(byte);
                }
                Within::Control(sequence)
            }
            (Within::Command, _) => Within::Command,
            (Within::CommandEscape, b'\\') => Within::Text,
            (Within::CommandEscape, _) => Within::Command,
        };
    }
}

fn text(byte: u8, passed: &mut Vec<u8>) {
    // Progress bars write over their own line.
    if byte >= 0x20 && byte != 0x7f || matches!(byte, b'\n' | b'\t' | b'\r' | 0x08) {
        passed.push(byte);
    }
}

/// Numbers alone: others ask or set something.
fn is_colour(sequence: &[u8]) -> bool {
    sequence.len() <= SEQUENCE_MAX && sequence.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(bytes: &[u8]) -> String {
        let mut colours = ColoursOnly::default();
        let mut all = colours.pass(bytes);
        all.extend_from_slice(colours.end());
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn text_and_colours_pass() {
        assert_eq!(passed("plain ü\u{a0}日本\n\t50%\r".as_bytes()), "plain ü\u{a0}日本\n\t50%\r");
        assert_eq!(passed(b"\x1b[1;31mred\x1b[0m"), "\x1b[1;31mred\x1b[0m");
        assert_eq!(passed(b"\x1b]0;open\nnext\x1b[3\nlast"), "\nnext\nlast");
        assert_eq!(passed(b"\x1b[38:2:1:2:3mx"), "\x1b[38:2:1:2:3mx\x1b[0m");
    }

    #[test]
    fn what_a_terminal_obeys_is_left_out() {
        for hostile in [
            &b"\x1b]0;title\x07"[..],
            b"\x1b]52;c;cm0gLXJm\x1b\\",
            b"\x1b[2J",
            b"\x1b[10;10H",
            b"\x1b[6n",
            b"\x1b[>4m",
            b"\x1b[?1049h",
            b"\x1bP+q544e\x1b\\",
            b"\x1bc",
            b"\x1b(0",
            b"\x07",
            b"\x0e",
            b"\xc2\x9b2J",
            b"\xc2\x9d0;title\xc2\x07",
            b"\xc2\xc2\x9b2J",
            b"\xc2\x07\xc2\x9b2J",
            b"\x1b[\x1b]0;x\x07",
            b"\x1b]0;x\x18",
        ] {
            let whole = [b"a", hostile, b"b"].concat();
            assert_eq!(passed(&whole), "ab", "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn no_sequence_but_colours_passes_however_it_is_cut(
            pieces in proptest::collection::vec(
                prop_oneof![Just(b"\x1b".to_vec()), Just(b"[".to_vec()), Just(b"]0;".to_vec()), Just(b"31m".to_vec()),
                    Just(b"\xc2\x9b".to_vec()), Just(b"\xc2".to_vec()), Just(b"\x9b".to_vec()), Just(b"\x07".to_vec()), proptest::collection::vec(any::<u8>(), 0..3)], 0..12),
        ) {
            let mut colours = ColoursOnly::default();
            let cut: Vec<u8> = pieces.iter().flat_map(|piece| colours.pass(piece)).collect();
            let whole = ColoursOnly::default().pass(&pieces.concat());
            prop_assert_eq!(&cut, &whole);
            prop_assert!(!whole.windows(2).any(|two| two[0] == 0xc2 && (0x80..=0x9f).contains(&two[1])));
            let mut rest = &whole[..];
            while let Some(at) = rest.iter().position(|byte| *byte == 0x1b) {
                let end = rest[at..].iter().position(|byte| *byte == b'm');
                prop_assert!(rest[at..].starts_with(b"\x1b["));
                prop_assert!(end.is_some_and(|end| is_colour(&rest[at + 2..at + end])));
                rest = &rest[at + 2..];
            }
        }
    }
}
