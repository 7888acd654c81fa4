//! How findings and tables are printed.

use std::fmt;

/// One breach of a rule, at a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The rule's name, as used in `// tidy(<rule>): <reason>`.
    pub(crate) check: &'static str,
    /// Path from the workspace root.
    pub(crate) path: String,
    /// Line, from 1; 0 means the whole file.
    pub(crate) line: usize,
    /// What is wrong, and what would be right.
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(
        check: &'static str,
        path: impl Into<String>,
        line: usize,
        what: impl Into<String>,
    ) -> Self {
        Self {
            check,
            path: path.into(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: [{}] {}", self.path, self.check, self.what),
            line => write!(f, "{}:{line}: [{}] {}", self.path, self.check, self.what),
        }
    }
}

/// Prints the findings and, last, their number; true when there are none.
pub(crate) fn conclude(command: &str, findings: &[Finding]) -> bool {
    for finding in findings {
        println!("{finding}");
    }
    println!("{command}: {} violations", findings.len());
    findings.is_empty()
}

/// Lays out rows in columns wide enough for their widest cell; numbers stand right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: Vec<&str>| {
        let mut out = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            let gap = " ".repeat(width - cell.chars().count());
            let numeric = cell.starts_with(|c: char| c.is_ascii_digit()) || *cell == "-";
            let padded = if numeric {
                format!("{gap}{cell}  ")
            } else {
                format!("{cell}{gap}  ")
            };
            out.push_str(&padded);
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    line(head.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_words_left_and_numbers_right() {
        let rows = vec![
            vec!["a".into(), "1".into()],
            vec!["long".into(), "100".into()],
        ];
        assert_eq!(
            table(&["name", "n"], &rows),
            "name  n\na       1\nlong  100\n"
        );
    }

    #[test]
    fn findings_make_the_conclusion_fail() {
        assert!(conclude("x", &[]));
        assert!(!conclude("x", &[Finding::new("rule", "a.rs", 3, "wrong")]));
        assert_eq!(
            Finding::new("rule", "a.rs", 3, "wrong").to_string(),
            "a.rs:3: [rule] wrong"
        );
    }
}
