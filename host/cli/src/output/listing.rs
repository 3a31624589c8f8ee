//! Listings: the same rows as a table, as ids, as JSON lines or through a template.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::table::Table;
use super::template::{Template, unescape};

/// A column: the field's name in templates, and its heading.
pub(crate) type Column = (&'static str, &'static str);

/// How a listing is to look.
#[derive(Debug)]
pub(crate) enum Format {
    /// The usual table.
    Table,
    /// One object a line.
    Json,
    /// A template per row, in columns with a heading.
    TableOf(Template),
    /// A template per row.
    Rows(Template),
}

impl Format {
    /// Reads `--format`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.unwrap_or("table").trim();
        if text == "table" {
            return Ok(Self::Table);
        }
        if text == "json" {
            return Ok(Self::Json);
        }
        let (is_table, template) = match text.strip_prefix("table ") {
            Some(template) => (true, template),
            None => (false, text),
        };
        let template =
            Template::parse(&unescape(template)).context("invalid template for --format")?;
        Ok(if is_table {
            Self::TableOf(template)
        } else {
            Self::Rows(template)
        })
    }
}

/// Lays rows out. `columns` are those of the usual table; a row has these fields and may have more.
pub(crate) fn render(
    format: &Format,
    columns: &[Column],
    all_columns: &[Column],
    rows: &[Map<String, Value>],
) -> Result<String> {
    match format {
        Format::Table => Ok(usual_table(columns, rows)),
        Format::Json => {
            let mut text = String::new();
            for row in rows {
                text.push_str(&serde_json::to_string(row).context("failed to encode a row")?);
                text.push('\n');
            }
            Ok(text)
        }
        Format::Rows(template) => filled(template, rows).map(|lines| {
            lines
                .into_iter()
                .fold(String::new(), |text, line| text + &line + "\n")
        }),
        Format::TableOf(template) => {
            let heading = template.fill_headings(&|field| {
                let known = all_columns.iter().find(|(name, _)| *name == field);
                known.map_or_else(
                    || field.to_uppercase(),
                    |(_, heading)| (*heading).to_owned(),
                )
            });
            let mut lines = vec![heading];
            lines.extend(filled(template, rows)?);
            Ok(Table::from_lines(lines.iter().map(String::as_str)).render())
        }
    }
}

fn usual_table(columns: &[Column], rows: &[Map<String, Value>]) -> String {
    let headings: Vec<&str> = columns.iter().map(|(_, heading)| *heading).collect();
    let mut table = Table::new(&headings);
    for row in rows {
        let cell = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        table.row(
            columns
                .iter()
                .map(|(name, _)| cell(name).to_owned())
                .collect(),
        );
    }
    table.render()
}

fn filled(template: &Template, rows: &[Map<String, Value>]) -> Result<Vec<String>> {
    let lines = rows
        .iter()
        .map(|row| template.render(&Value::Object(row.clone())));
    lines
        .collect::<Result<_, _>>()
        .context("--format does not fit the data")
}

/// Turns a list of names and texts into a row.
pub(crate) fn row<const N: usize>(cells: [(&str, String); N]) -> Map<String, Value> {
    cells
        .into_iter()
        .map(|(name, text)| (name.to_owned(), Value::String(text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Column, Format, render, row};

    const COLUMNS: [Column; 2] = [("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn shown(format: &str) -> String {
        let rows = [row([("ID", "abc".to_owned()), ("Names", "web".to_owned())])];
        let format = Format::parse(Some(format)).expect("a format");
        render(&format, &COLUMNS, &COLUMNS, &rows).expect("a listing")
    }

    #[test]
    fn the_usual_table() {
        assert_eq!(shown("table"), "CONTAINER ID   NAMES\nabc            web\n");
    }

    #[test]
    fn an_object_a_line() {
        assert_eq!(shown("json"), "{\"ID\":\"abc\",\"Names\":\"web\"}\n");
    }

    #[test]
    fn a_template_a_row() {
        assert_eq!(shown("{{.Names}}={{.ID}}"), "web=abc\n");
    }

    #[test]
    fn a_table_of_a_template_has_headings() {
        assert_eq!(
            shown("table {{.Names}}\\t{{.ID}}"),
            "NAMES     CONTAINER ID\nweb       abc\n"
        );
    }
}
