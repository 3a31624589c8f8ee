//! How the outcome is printed: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::figures::{Goal, Pairs, Unit};

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The benchmark's name, as one asks for it.
    pub name: &'static str,
    /// What was measured.
    pub what: String,
    /// What it was measured against; empty where there is no peer.
    pub peer: &'static str,
    /// What the figures count.
    pub unit: Unit,
    /// What must be reached.
    pub goal: Goal,
    /// The figures, or why there are none.
    pub outcome: Result<Pairs, String>,
}

const HEADINGS: [&str; 7] = ["what", "ours", "peer", "ratio", "spread", "reach", "met"];

/// What stands where there is no figure.
const NOTHING: &str = "–";

/// The table, with the reasons for what is missing below it.
#[must_use]
pub fn text(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| {
            let widths = lines.iter().map(|line| line[column].chars().count());
            widths.max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            // Writing to a string cannot fail.
            let _ = write!(text, "{cell}{:padding$}  ", "");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for row in rows {
        if let Some(reason) = reason(row) {
            let _ = writeln!(text, "{}: {reason}", row.name);
        }
    }
    text
}

fn cells(row: &Row) -> [String; 7] {
    let pairs = row.outcome.as_ref().ok();
    let figure = |figure: Option<f64>| figure.map_or(NOTHING.to_owned(), |it| show(it, row.unit));
    let ratio = pairs.and_then(Pairs::ratio);
    let spread = pairs.and_then(Pairs::spread);
    [
        row.what.clone(),
        figure(pairs.and_then(|pairs| pairs.ours.median())),
        figure(pairs.and_then(|pairs| pairs.peer.median())),
        ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}×")),
        spread.map_or(NOTHING.to_owned(), |(low, high)| {
            format!("{low:.2}–{high:.2}")
        }),
        reach(row.goal, row.unit),
        match pairs.and_then(|pairs| pairs.meets(row.goal)) {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not measured",
        }
        .to_owned(),
    ]
}

/// A figure as a person reads it.
fn show(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds => format!("{:.1} ms", figure * 1e3),
        Unit::BytesPerSecond => format!("{:.0} MB/s", figure / 1e6),
        Unit::Bytes => format!("{:.1} MiB", figure / f64::from(1 << 20)),
    }
}

fn reach(goal: Goal, unit: Unit) -> String {
    match goal {
        Goal::RatioAtMost(limit) => format!("≤ {limit}×"),
        Goal::RatioAtLeast(limit) => format!("≥ {limit}×"),
        Goal::AtMost(limit) => format!("≤ {}", show(limit, unit)),
    }
}

/// Why something is missing in a row.
fn reason(row: &Row) -> Option<String> {
    match &row.outcome {
        Err(reason) => Some(format!("not measured: {reason}")),
        Ok(pairs) => {
            let reason = pairs.peer_missing.as_ref()?;
            Some(format!("{} not measured: {reason}", row.peer))
        }
    }
}

/// The same for programs; figures in seconds, bytes, and bytes a second.
#[must_use]
pub fn json(machine: &str, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows.iter().map(row_json).collect();
    json!({ "machine": machine, "rows": rows })
}

fn row_json(row: &Row) -> Value {
    let pairs = row.outcome.as_ref().ok();
    let all = |samples: Option<&[f64]>| samples.unwrap_or_default().to_vec();
    json!({
        "name": row.name,
        "what": row.what,
        "peer_is": row.peer,
        "ours": all(pairs.map(|pairs| pairs.ours.all())),
        "peer": all(pairs.map(|pairs| pairs.peer.all())),
        "ours_median": pairs.and_then(|pairs| pairs.ours.median()),
        "peer_median": pairs.and_then(|pairs| pairs.peer.median()),
        "ratio": pairs.and_then(Pairs::ratio),
        "spread": pairs.and_then(Pairs::spread).map(|(low, high)| [low, high]),
        "reach": reach(row.goal, row.unit),
        "met": pairs.and_then(|pairs| pairs.meets(row.goal)),
        "missing": reason(row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(outcome: Result<Pairs, String>) -> Row {
        Row {
            name: "warm",
            what: "a warm run".to_owned(),
            peer: "podman",
            unit: Unit::Seconds,
            goal: Goal::RatioAtMost(0.5),
            outcome,
        }
    }

    #[test]
    fn a_row_shows_both_sides_and_whether_the_goal_is_met() {
        let pairs = Pairs {
            ours: vec![0.1, 0.1].into(),
            peer: vec![0.4, 0.25].into(),
            peer_missing: None,
        };

        let text = text(&[row(Ok(pairs))]);

        let line = "a warm run  100.0 ms  325.0 ms  0.31×  0.25–0.40  ≤ 0.5×  yes";
        assert_eq!(text.lines().nth(1), Some(line));
    }

    #[test]
    fn a_missing_peer_is_said_with_its_reason() {
        let pairs = Pairs {
            ours: vec![0.1].into(),
            peer_missing: Some("not installed".to_owned()),
            ..Pairs::default()
        };

        let text = text(&[row(Ok(pairs))]);

        assert!(text.contains("not measured"), "{text}");
        assert!(text.ends_with("warm: podman not measured: not installed\n"));
    }

    #[test]
    fn programs_get_null_for_what_is_unknown() {
        let value = json("a machine", &[row(Err("no kernel".to_owned()))]);

        assert_eq!(value["rows"][0]["met"], Value::Null);
        assert_eq!(value["rows"][0]["missing"], "not measured: no kernel");
    }
}
