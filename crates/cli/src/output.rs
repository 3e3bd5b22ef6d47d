//! How everything is shown: data on stdout, as JSON or as a table.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Table, presets};
use serde::Serialize;

/// Data goes to stdout: JSON, or what `text` makes of it.
pub(crate) fn print(data: &impl Serialize, json: bool, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let text = if json { serde_json::to_string_pretty(data)? } else { text() };
    if text.is_empty() {
        return Ok(());
    }
    print_line(&text)
}

/// One line of data.
pub(crate) fn print_line(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to stdout")
}

/// An empty table: with lines on a terminal, plain columns elsewhere, so that other programs can read it.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    let is_terminal = std::io::stdout().is_terminal();
    table.load_style(if is_terminal { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
    table.set_header(header.iter().copied());
    table
}

/// A length as people read it: `340 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn length(length: Duration) -> String {
    match length.as_millis() {
        millis @ 0..1_000 => format!("{millis} ms"),
        1_000..60_000 => format!("{:.1} s", length.as_secs_f64()),
        _ => format!("{} min {} s", length.as_secs() / 60, length.as_secs() % 60),
    }
}

/// Dollars as people read them: nothing is `-`, and a hundredth of a cent still shows.
pub(crate) fn dollars(usd: f64) -> String {
    if usd == 0.0 { "$0".into() } else { format!("${usd:.4}") }
}

/// The beginning of a text on one line, cut at `most` characters.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let cut: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_dollars_and_beginnings_read_well() {
        let millis = Duration::from_millis;
        assert_eq!(
            [length(millis(7)), length(millis(3_440)), length(millis(125_000))],
            ["7 ms", "3.4 s", "2 min 5 s"]
        );
        assert_eq!([dollars(0.0), dollars(0.00012)], ["$0", "$0.0001"]);
        assert_eq!(beginning("a  b\nc", 5), "a b c");
        assert_eq!(beginning("ä b c d", 4), "ä b…");
    }
}
