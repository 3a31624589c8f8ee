//! How a transfer goes on: a line per layer with a bar on a terminal, a line per change elsewhere.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};

use dhow_api::client::Progress;

use super::size;
use crate::terminal::window;

/// Letters of a bar, its ends not counted.
const BAR_LETTERS: usize = 30;

/// Room a line needs beside its bar; narrower terminals get none.
const LINE_LETTERS: usize = 50;

/// Erases to the end of the line (ECMA-48, EL).
const ERASE_LINE: &str = "\x1b[K";

/// Where to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// On standard output, as `pull` and `push` do.
    Output,
    /// On standard error, where the output is a container's.
    Error,
    /// Nowhere.
    Nowhere,
}

/// What was drawn so far.
#[derive(Debug)]
pub(crate) struct TransferProgress {
    shown: Shown,
    /// Rows and columns of the terminal.
    terminal: Option<(usize, usize)>,
    /// Which line an id has, counted from the first drawn.
    lines: HashMap<String, usize>,
    /// Lines drawn since the first.
    drawn: usize,
    /// The last status of each id, where lines are not redrawn.
    told: HashMap<String, String>,
}

impl TransferProgress {
    /// Nothing drawn yet.
    pub(crate) fn new(shown: Shown) -> Self {
        let is_terminal = match shown {
            Shown::Output => io::stdout().is_terminal(),
            Shown::Error => io::stderr().is_terminal(),
            Shown::Nowhere => false,
        };
        let size = window::size().filter(|_| is_terminal);
        Self {
            shown,
            terminal: size.map(|size| (usize::from(size.rows), usize::from(size.columns))),
            lines: HashMap::new(),
            drawn: 0,
            told: HashMap::new(),
        }
    }

    /// Shows one step.
    pub(crate) fn step(&mut self, step: &Progress) -> io::Result<()> {
        let text = self.render(step);
        if text.is_empty() {
            return Ok(());
        }
        match self.shown {
            Shown::Output => {
                let mut output = io::stdout().lock();
                output.write_all(text.as_bytes())?;
                output.flush()
            }
            Shown::Error => io::stderr().lock().write_all(text.as_bytes()),
            Shown::Nowhere => Ok(()),
        }
    }

    /// What to write for a step, nothing if it changes nothing.
    fn render(&mut self, step: &Progress) -> String {
        let Some(status) = step.status.as_deref() else {
            return String::new();
        };
        let Some(id) = step.id.as_deref().filter(|id| !id.is_empty()) else {
            self.drawn += 1;
            return format!("{status}\n");
        };
        match self.terminal {
            Some((rows, columns)) => self.redraw(id, status, step, rows, columns),
            None => self.tell(id, status),
        }
    }

    fn tell(&mut self, id: &str, status: &str) -> String {
        // How far it is would be a line per moment.
        let is_passing = matches!(status, "Downloading" | "Extracting" | "Pushing");
        let known = self.told.get(id).is_some_and(|told| told == status);
        if is_passing || known {
            return String::new();
        }
        self.told.insert(id.to_owned(), status.to_owned());
        format!("{id}: {status}\n")
    }

    fn redraw(
        &mut self,
        id: &str,
        status: &str,
        step: &Progress,
        rows: usize,
        columns: usize,
    ) -> String {
        let line = self.line(id, status, step, columns);
        match self.lines.get(id) {
            // What has left the screen cannot be drawn again.
            Some(at) if self.drawn - at < rows => {
                let up = self.drawn - at;
                format!("\x1b[{up}A\r{line}{ERASE_LINE}\x1b[{up}B\r")
            }
            Some(_) => String::new(),
            None => {
                self.lines.insert(id.to_owned(), self.drawn);
                self.drawn += 1;
                format!("{line}{ERASE_LINE}\n")
            }
        }
    }

    /// One line, no longer than the terminal is wide.
    fn line(&self, id: &str, status: &str, step: &Progress, columns: usize) -> String {
        let mut line = format!("{id}: {status}");
        let detail = step.progress_detail.as_ref();
        if let Some((current, total)) = detail.and_then(|detail| detail.current.zip(detail.total)) {
            let sizes = format!("{}/{}", size::decimal(current), size::decimal(total));
            let bar = match columns >= LINE_LETTERS + BAR_LETTERS {
                true => format!(" {}", bar(current, total)),
                false => String::new(),
            };
            line = format!("{line}{bar} {sizes}");
        }
        line.chars().take(columns.saturating_sub(1)).collect()
    }
}

/// `[=====>    ]`.
fn bar(current: i64, total: i64) -> String {
    let current = usize::try_from(current.clamp(0, total.max(0))).unwrap_or_default();
    let total = usize::try_from(total.max(1)).unwrap_or(1);
    let full = current.saturating_mul(BAR_LETTERS) / total;
    let head = if full < BAR_LETTERS { ">" } else { "" };
    let rest = BAR_LETTERS - full - head.len();
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(rest))
}

#[cfg(test)]
mod tests {
    use dhow_api::client::{Progress, ProgressDetail};

    use super::{Shown, TransferProgress, bar};

    fn step(id: &str, status: &str, detail: Option<(i64, i64)>) -> Progress {
        Progress {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: detail.map(|(current, total)| ProgressDetail {
                current: Some(current),
                total: Some(total),
            }),
            ..Progress::default()
        }
    }

    #[test]
    fn bars_are_empty_half_and_full() {
        assert_eq!(bar(0, 10), format!("[>{}]", " ".repeat(29)));
        assert_eq!(
            bar(5, 10),
            format!("[{}>{}]", "=".repeat(15), " ".repeat(14))
        );
        assert_eq!(bar(10, 10), format!("[{}]", "=".repeat(30)));
        assert_eq!(bar(99, 0), format!("[>{}]", " ".repeat(29)));
    }

    #[test]
    fn without_a_terminal_each_change_is_a_line() {
        let mut progress = TransferProgress::new(Shown::Nowhere);
        let mut text = progress.render(&step("abc", "Pulling fs layer", None));
        text += &progress.render(&step("abc", "Downloading", Some((1, 2))));
        text += &progress.render(&step("abc", "Pull complete", None));
        text += &progress.render(&step("abc", "Pull complete", None));
        assert_eq!(text, "abc: Pulling fs layer\nabc: Pull complete\n");
    }

    #[test]
    fn on_a_terminal_a_layer_keeps_its_line() {
        let mut progress = TransferProgress::new(Shown::Nowhere);
        progress.terminal = Some((24, 100));
        let one = progress.render(&step("one", "Waiting", None));
        let two = progress.render(&step("two", "Waiting", None));
        let again = progress.render(&step("one", "Downloading", Some((1_500_000, 3_000_000))));
        assert_eq!(
            (one.as_str(), two.as_str()),
            ("one: Waiting\x1b[K\n", "two: Waiting\x1b[K\n")
        );
        assert!(
            again.starts_with("\x1b[2A\rone: Downloading [==="),
            "{again:?}"
        );
        assert!(again.ends_with("1.5MB/3MB\x1b[K\x1b[2B\r"), "{again:?}");
    }
}
