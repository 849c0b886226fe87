//! A bar on stderr while something is waited for; nothing where stderr is no terminal.

use super::Out;
use crate::ops::import::ImportProgress as Looked;
use crate::ops::wait::{WaitEvent, WaitProgress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// The bar of `grid wait`.
#[derive(Debug)]
pub struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    /// A bar, where there is a terminal to draw it on.
    pub fn new() -> Self {
        let bar = Self::is_shown().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{pos}/{len} ended{msg}  {elapsed}"));
            bar
        });
        Self { bar }
    }

    /// Is there a terminal to draw one on?
    pub fn is_shown() -> bool {
        std::io::stderr().is_terminal()
    }

    /// How many hosts were looked at.
    pub fn look(&self, progress: Looked) {
        if let Some(bar) = &self.bar {
            bar.set_style(style("{pos}/{len} hosts looked at  {elapsed}"));
            bar.set_length(progress.of as u64);
            bar.set_position(progress.looked_at as u64);
        }
    }

    /// What is told while somebody waits: notes stand above the bar. True: waits on.
    pub fn tell(&self, told: WaitEvent<'_>, out: &mut Out) -> bool {
        match (told, &self.bar) {
            (WaitEvent::Progress(progress), _) => self.set(progress),
            (WaitEvent::Note(text), Some(bar)) => bar.suspend(|| out.note(text)),
            (WaitEvent::Note(text), None) => out.note(text),
        }
        true
    }

    /// How far it is.
    fn set(&self, progress: WaitProgress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.size);
            bar.set_position(progress.ended);
            bar.set_message(format!(", {} running", progress.running));
        }
    }
}

/// A bar before these words, a short one where the terminal is narrow: a second line would jump.
fn style(words: &str) -> ProgressStyle {
    let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| size.ws_col);
    let bar = if columns < 70 { "{bar:6}" } else { "{bar:30}" };
    ProgressStyle::with_template(&format!("{bar} {words}")).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
