//! Columns, aligned as Docker's are: at least ten wide, three apart, nothing after the last.

/// Narrowest column.
const MIN_WIDTH: usize = 10;
/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// Rows of cells, the first being the heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Lays rows out that hold tabs between their cells.
    pub(crate) fn from_lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let rows = lines
            .into_iter()
            .map(|line| line.split('\t').map(str::to_owned).collect());
        Self {
            rows: rows.collect(),
        }
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(|column| self.width(column)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column < last {
                    let fill = widths[column] - cell.chars().count();
                    text.extend(std::iter::repeat_n(' ', fill));
                }
            }
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        (longest + PADDING).max(MIN_WIDTH)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_ten_wide_and_three_apart() {
        let mut table = Table::new(&["ID", "IMAGE", "NAMES"]);
        table.row(vec!["1".into(), "a-long-image-name".into(), "web".into()]);
        assert_eq!(
            table.render(),
            "ID        IMAGE               NAMES\n1         a-long-image-name   web\n"
        );
    }
}
