//! From a login to a running agent: a small script for `/bin/sh -s` finds the agent on the host, or receives it over the same
//! connection, and executes it.
//!
//! A shell may read ahead when its script comes from a pipe. So the script is one compound command, and nothing is sent after it
//! until it has answered.

use super::trouble::Trouble;
use crate::model::ssh::SshTarget;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

const SCRIPT: &str = include_str!("bootstrap.sh");

/// The command that ssh executes: the same in every login shell, whatever its quoting.
pub const REMOTE_COMMAND: &str = "exec /bin/sh -s";

/// Bytes that are read from the file and written to the connection at once.
const PIECE: usize = 256 << 10;

/// A program that can be the agent on one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binary {
    /// The machine as `uname -m` says it.
    pub arch: String,
    pub file: PathBuf,
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub digest: String,
}

/// A running bootstrap.
#[derive(Debug)]
pub struct Bootstrap {
    nonce: String,
    script: Vec<u8>,
    written: usize,
    binaries: Vec<Binary>,
    sending: Option<Sending>,
    answered: bool,
}

#[derive(Debug)]
struct Sending {
    file: File,
    piece: Vec<u8>,
    written: usize,
}

impl Sending {
    /// Reads the next piece. False at the end of the file.
    fn read_piece(&mut self) -> io::Result<bool> {
        self.piece.resize(PIECE, 0);
        let read = self.file.read(&mut self.piece)?;
        self.piece.truncate(read);
        self.written = 0;
        Ok(read > 0)
    }
}

impl Bootstrap {
    /// A bootstrap for this target with these programs. The nonce marks the script's lines among the login's noise.
    pub fn new(target: &SshTarget, binaries: Vec<Binary>, nonce: &str) -> Self {
        let nonce = format!("grid-{nonce}");
        let archs: Vec<String> = binaries
            .iter()
            .filter(|b| b.arch.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            .map(|b| {
                let name = b.digest.get(..16).unwrap_or(&b.digest);
                format!("{}) sum={} name={name} size={} ;;", b.arch, b.digest, b.size)
            })
            .collect();
        let dir = target.remote_dir().unwrap_or_default();
        // Control characters were refused when the target was made; everything else can be quoted.
        let dir = shlex::try_quote(dir).map_or_else(|_| "''".to_owned(), |quoted| quoted.into_owned());
        let option = if target.remote_dir().is_some() { "--dir \"$dir\"" } else { "" };
        let script = SCRIPT
            .replace("@ARCHS@", &archs.join("\n"))
            .replace("@NONCE@", &nonce)
            .replace("@KEY@", &target.key().to_string())
            .replace("@DIROPTION@", option)
            .replace("@DIR@", &dir);
        Self { nonce, script: script.into_bytes(), written: 0, binaries, sending: None, answered: false }
    }

    /// True once the script has answered: the login is done.
    pub const fn answered(&self) -> bool {
        self.answered
    }

    /// True if there is something to send.
    pub const fn wants_to_write(&self) -> bool {
        self.written < self.script.len() || self.sending.is_some()
    }

    /// Writes as much as the connection takes. True if anything was written.
    pub fn flush(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let mut went = false;
        while self.written < self.script.len() {
            let Some(n) = some_written(to, &self.script[self.written..])? else { return Ok(went) };
            self.written += n;
            went = true;
        }
        while let Some(sending) = &mut self.sending {
            if sending.written == sending.piece.len() && !sending.read_piece()? {
                self.sending = None;
                break;
            }
            let Some(n) = some_written(to, &sending.piece[sending.written..])? else { break };
            sending.written += n;
            went = true;
        }
        Ok(went)
    }

    /// Parses the script's lines in the received bytes from `from` on. Gives where the next call starts.
    pub fn receive(&mut self, came: &[u8], from: usize) -> Result<usize, Trouble> {
        let mut at = from;
        let mark = format!("{} ", self.nonce).into_bytes();
        while let Some(begin) = find(&came[at..], &mark) {
            let rest = &came[at + begin + mark.len()..];
            // The line is not complete: the next call parses it again.
            let Some(len) = rest.iter().position(|b| *b == b'\n') else { return Ok(at + begin) };
            self.take(&String::from_utf8_lossy(&rest[..len]))?;
            at += begin + mark.len() + len + 1;
        }
        Ok(at.max(came.len().saturating_sub(mark.len())))
    }

    fn take(&mut self, said: &str) -> Result<(), Trouble> {
        self.answered = true;
        let (word, rest) = said.split_once(' ').unwrap_or((said, ""));
        match word {
            "send" => {
                let Some(binary) = self.binaries.iter().find(|b| b.arch == rest) else {
                    return Err(Trouble::Arch(rest.to_owned()));
                };
                let file = File::open(&binary.file)
                    .map_err(|error| Trouble::Other(format!("{}: {error}", binary.file.display())))?;
                self.sending = Some(Sending { file, piece: Vec::new(), written: 0 });
                Ok(())
            }
            "fail" => {
                let (kind, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Err(Trouble::from_script(kind, text.trim_end()))
            }
            _ => Ok(()),
        }
    }
}

fn some_written(to: &mut impl Write, bytes: &[u8]) -> io::Result<Option<usize>> {
    loop {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => return Ok(Some(n)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// The offset of one byte string in another.
pub(super) fn find(bytes: &[u8], piece: &[u8]) -> Option<usize> {
    bytes.windows(piece.len()).position(|window| window == piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::{Command, Stdio};

    /// A fake agent of three lines, as a program to send.
    fn binary(dir: &Path, text: &str) -> Binary {
        let file = dir.join("grid-here");
        std::fs::write(&file, text).unwrap();
        let digest = sha2::Digest::finalize(sha2::Digest::chain_update(<sha2::Sha256 as sha2::Digest>::new(), text));
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let arch = rustix::system::uname().machine().to_string_lossy().into_owned();
        Binary { arch, file, size: text.len() as u64, digest }
    }

    /// Runs the bootstrap in a shell. Gives the output after the bootstrap's own lines, and how many bytes were sent.
    fn boot(
        shell: &[&str],
        home: &Path,
        binary: &Binary,
        dir: Option<&str>,
    ) -> Option<(Result<String, Trouble>, usize)> {
        let target = SshTarget::new("h1", Vec::new(), dir.map(str::to_owned)).unwrap();
        let mut bootstrap = Bootstrap::new(&target, vec![binary.clone()], "0");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg("-s").env("HOME", home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let (mut stdin, mut stdout) = (child.stdin.take()?, child.stdout.take()?);
        let (mut came, mut looked, mut sent) = (b"Welcome to the lab!\n".to_vec(), 0, 0);
        let result = loop {
            let before = bootstrap.written;
            let sending = bootstrap.sending.is_some();
            // A script that gives up does not read everything.
            let _ = bootstrap.flush(&mut stdin);
            sent += bootstrap.written - before;
            sent += usize::from(sending) * usize::try_from(binary.size).unwrap();
            let mut piece = [0; 256];
            match stdout.read(&mut piece).unwrap() {
                0 => break Ok(String::from_utf8_lossy(&came).into_owned()),
                n => came.extend_from_slice(&piece[..n]),
            }
            match bootstrap.receive(&came, looked) {
                Ok(at) => looked = at,
                Err(trouble) => break Err(trouble),
            }
        };
        drop(stdin);
        child.wait().unwrap();
        Some((result, sent))
    }

    const AGENT: &str = "#!/bin/sh\ncase $1 in --version) echo grid; exit 0 ;; esac\necho became \"$@\"\n";

    #[test]
    fn script_installs_the_agent_once_in_every_shell() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"], &["sh"]] {
            let home = tempfile::tempdir().unwrap();
            let binary = binary(home.path(), AGENT);
            let Some((first, sent_first)) = boot(shell, home.path(), &binary, None) else { continue };
            let said = first.unwrap();
            assert!(said.ends_with("became agent --link 6a1c71538a5b4b67\n"), "{shell:?}: {said}");
            let (again, sent_again) = boot(shell, home.path(), &binary, None).unwrap();
            assert!(again.unwrap().ends_with("became agent --link 6a1c71538a5b4b67\n"));
            assert_eq!(sent_first - sent_again, AGENT.len(), "{shell:?}: the second time it is there");
            let (elsewhere, _) = boot(shell, home.path(), &binary, Some("it's/here $HOME")).unwrap();
            assert!(elsewhere.unwrap().contains("it's/here $HOME"), "{shell:?}: a directory with anything in its name");
            assert!(home.path().join("it's/here $HOME/bin").is_dir());
        }
    }

    #[test]
    fn failure_of_the_script_is_reported() {
        for shell in [&["dash"][..], &["bash"], &["busybox", "sh"]] {
            let home = tempfile::tempdir().unwrap();
            let broken = binary(home.path(), "#!/bin/sh\necho needs GLIBC_9 >&2; exit 1\n");
            let Some((result, _)) = boot(shell, home.path(), &broken, None) else { continue };
            assert!(
                matches!(&result, Err(Trouble::Exec { error, .. }) if error.contains("GLIBC_9")),
                "{shell:?}: {result:?}"
            );
            let whole = binary(home.path(), AGENT);
            let damaged = Binary { digest: "0".repeat(64), ..whole.clone() };
            let (result, _) = boot(shell, home.path(), &damaged, None).unwrap();
            assert!(matches!(result, Err(Trouble::Damaged(_))), "{shell:?}: {result:?}");
            let other = Binary { arch: "riscv64".to_owned(), ..whole.clone() };
            let (result, _) = boot(shell, home.path(), &other, None).unwrap();
            assert!(matches!(result, Err(Trouble::Arch(_))), "{shell:?}: {result:?}");
            std::fs::write(home.path().join("file"), "").unwrap();
            let (result, _) = boot(shell, home.path(), &whole, Some("file/below")).unwrap();
            assert!(
                matches!(&result, Err(Trouble::Place { dir, .. }) if dir.contains("file/below")),
                "{shell:?}: {result:?}"
            );
        }
    }
}
