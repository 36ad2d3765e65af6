//! A table, for a terminal and as Markdown.

/// Rows of cells; the first column is text, the others are figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::bench) struct Table {
    pub(in crate::bench) title: String,
    pub(in crate::bench) header: Vec<String>,
    pub(in crate::bench) rows: Vec<Vec<String>>,
}

impl Table {
    /// For a terminal: columns of equal width, figures to the right.
    pub(in crate::bench) fn text(&self) -> String {
        let lines = std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines.clone().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = format!("{}\n", self.title);
        for line in lines.clone() {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
            });
            text.push_str(cells.collect::<String>().trim_end());
            text.push('\n');
        }
        text
    }

    /// For a document.
    pub(in crate::bench) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let ruler: Vec<&str> = (0..self.header.len()).map(|n| if n == 0 { "---" } else { "---:" }).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("**{}**\n\n{}|{}|\n{rows}", self.title, line(&self.header), ruler.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        Table {
            title: "Title".into(),
            header: words("what µs"),
            rows: vec![words("a 10"), words("longer 5")],
        }
    }

    #[test]
    fn columns_are_aligned_on_a_terminal() {
        assert_eq!(table().text(), "Title\n  what    µs\n  a       10\n  longer   5\n");
    }

    #[test]
    fn markdown_has_a_ruler_with_as_many_columns() {
        assert_eq!(
            table().markdown(),
            "**Title**\n\n| what | µs |\n|---|---:|\n| a | 10 |\n| longer | 5 |\n"
        );
    }
}
