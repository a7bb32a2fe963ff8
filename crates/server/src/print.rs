//! The only place that writes to stdout and stderr. Data goes to stdout, all else
//! to stderr; with `--json` stdout holds JSON and nothing else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use tracing_subscriber::EnvFilter;
use unicode_width::UnicodeWidthStr;

/// Where a command writes to.
#[derive(Debug, Clone, Copy)]
pub struct Out {
    is_json: bool,
}

impl Out {
    /// For people, or with `--json` for programs.
    pub fn new(is_json: bool) -> Self {
        Self { is_json }
    }

    /// Whether `--json` was given.
    pub fn is_json(self) -> bool {
        self.is_json
    }

    /// A line of data.
    pub fn line(self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")
    }

    /// Data as it is.
    pub fn bytes(self, data: &[u8]) -> io::Result<()> {
        io::stdout().lock().write_all(data)
    }

    /// A document of data as one line of JSON.
    pub fn json(self, document: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(document).map_err(io::Error::other)?;
        self.line(&text)
    }

    /// The document with `--json`, else the text.
    pub fn either(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.is_json {
            self.json(document)
        } else {
            self.line(&text())
        }
    }

    /// A table of data; the last column is not padded.
    pub fn table(self, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.width());
                cells
                    .chain([head[column].width()])
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        self.line(&table_line(&widths, head))?;
        rows.iter().try_for_each(|row| {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            self.line(&table_line(&widths, &cells))
        })
    }

    /// A word to the person, on stderr.
    pub fn note(self, text: &str) {
        to_stderr(&format!("{text}\n"));
    }

    /// What went wrong, on stderr.
    pub fn error(self, text: &str) {
        let head = if is_coloured() {
            "\u{1b}[1;31merror:\u{1b}[0m"
        } else {
            "error:"
        };
        to_stderr(&format!("{head} {text}\n"));
    }

    /// A bar on stderr for work of `total` steps, or of unknown length; shown on a
    /// terminal only.
    pub fn progress(self, what: &str, total: Option<u64>) -> ProgressBar {
        let is_shown = io::stderr().is_terminal() && !self.is_json;
        let target = if is_shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(total, target);
        let template = match total {
            Some(_) => "{msg} [{bar:30}] {human_pos} of {human_len}, {per_sec}, {eta} left",
            None => "{msg} {spinner} {human_pos}, {per_sec}, {elapsed}",
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.with_style(style.progress_chars("=> "))
            .with_message(what.to_owned())
    }

    /// The same for bytes.
    pub fn progress_bytes(self, what: &str, total: u64) -> ProgressBar {
        let bar = self.progress(what, Some(total));
        let template = "{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        }
    }
}

fn table_line(widths: &[usize], cells: &[&str]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(
            ' ',
            width.saturating_sub(cell.width()) + 2,
        ));
    }
    line.truncate(line.trim_end().len());
    line
}

/// There is nobody left to tell that stderr is gone.
fn to_stderr(text: &str) {
    if io::stderr().lock().write_all(text.as_bytes()).is_err() {
        tracing::debug!("stderr is gone");
    }
}

fn is_coloured() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Sends logs to stderr, once in a process.
pub fn begin_logging(filter: &str, is_json: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(is_coloured());
    let begun = if is_json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    if begun.is_err() {
        tracing::debug!("logs had begun before");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stay_straight_under_wide_scripts() {
        let widths = [6, 3];
        assert_eq!(table_line(&widths, &["奖品", "a"]), "奖品    a");
        assert_eq!(table_line(&widths, &["prize", "abc"]), "prize   abc");
    }
}
