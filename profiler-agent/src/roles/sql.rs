//! `vesta sql`: a statement, answered from a data directory or by a running server.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Read},
    path::Path,
};

use serde_json::{Map, Value};
use store::{SqlAnswer, sql::MAX_STATEMENT_BYTES};

use crate::{
    cli::{SqlArgs, SqlFormat},
    exit::Failure,
    roles::{
        print_text,
        query::{get, open_store, tell, tell_skipped},
    },
};

/// The widest column of a table on a terminal, where others need the room.
const COLUMN_MAX: usize = 60;
/// The narrowest that a column is made.
const COLUMN_MIN: usize = 8;

/// Runs the command.
pub(crate) fn sql(args: &SqlArgs, file: Option<&Path>) -> Result<(), Failure> {
    let statement = match args.statement.as_str() {
        "-" => standard_input()?,
        statement => statement.to_owned(),
    };
    let answer = match &args.server {
        Some(server) => from_server(server, &statement, args.limit)?,
        None => {
            let store = open_store(args.data_dir.as_deref(), &args.objects, file)?;
            store.sql(&statement, args.limit as usize)?
        }
    };
    tell_skipped(&answer.skipped);
    print_text(&match args.format {
        SqlFormat::Table => table(&answer, terminal_width()),
        SqlFormat::Csv => csv(&answer),
        SqlFormat::Json => serde_json::to_string(&answer).map_err(Failure::error)? + "\n",
        SqlFormat::Jsonl => jsonl(&answer)?,
    })?;
    if answer.truncated {
        tell(&format!("these are the first {} rows; --limit shows more", answer.rows));
    }
    Ok(())
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = MAX_STATEMENT_BYTES as u64 + 1;
    let read = std::io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format_args!("standard input: {error}")))?;
    Ok(text)
}

fn from_server(server: &str, statement: &str, limit: u32) -> Result<SqlAnswer, Failure> {
    let parameters = [("sql", statement.to_owned()), ("rows", limit.to_string())];
    let body = get(server, "/api/v1/sql", &parameters)?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::error(format_args!("{server} answers what is no answer: {error}")))
}

/// Columns of the terminal that standard output is; none if it is none.
fn terminal_width() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A value on one line.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text cut to so many characters.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Columns side by side, numbers to the right; cut to a width if there is one.
fn table(answer: &SqlAnswer, width: Option<usize>) -> String {
    let mut columns: Vec<(bool, Vec<String>)> = Vec::new();
    for column in &answer.columns {
        let is_number = ["int", "uint", "float", "decimal"].iter().any(|kind| column.kind.starts_with(kind));
        let name = std::iter::once(cell(&Value::String(column.name.clone())));
        columns.push((is_number, name.chain(column.values.iter().map(cell)).collect()));
    }
    let widest = |cells: &Vec<String>| cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = columns.iter().map(|(_, cells)| widest(cells)).collect();
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    let mut text = String::new();
    for row in 0..=answer.rows {
        let mut line = String::new();
        for (i, ((is_number, cells), width)) in columns.iter().zip(&widths).enumerate() {
            let cell = cut(cells.get(row).map_or("", String::as_str), *width);
            let gap = if i == 0 { "" } else { "  " };
            match is_number {
                true => drop(write!(line, "{gap}{cell:>width$}")),
                false => drop(write!(line, "{gap}{cell:<width$}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Makes the widest columns narrower until all of them fit, or none can be made narrower.
fn fit(widths: &mut [usize], width: usize) {
    let gaps = 2 * widths.len().saturating_sub(1);
    loop {
        let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        let Some(widest) = widths.iter_mut().max_by_key(|width| **width) else { return };
        if over == 0 || *widest <= COLUMN_MIN {
            return;
        }
        // Long texts first give up what makes them exceptional.
        let least = if *widest > COLUMN_MAX { COLUMN_MAX } else { (*widest - 1).max(COLUMN_MIN) };
        *widest = least.max(widest.saturating_sub(over));
    }
}

/// Comma-separated, as RFC 4180 has it; lists and maps are JSON.
fn csv(answer: &SqlAnswer) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let value = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    };
    let names: Vec<_> = answer.columns.iter().map(|column| quoted(&column.name)).collect();
    let mut text = names.join(",") + "\n";
    for row in 0..answer.rows {
        let values: Vec<_> = answer
            .columns
            .iter()
            .map(|column| column.values.get(row).map_or_else(String::new, value))
            .collect();
        text.push_str(&values.join(","));
        text.push('\n');
    }
    text
}

/// A JSON object for each row. Columns of the same name are told apart by number.
fn jsonl(answer: &SqlAnswer) -> Result<String, Failure> {
    let mut names: Vec<String> = Vec::new();
    for column in &answer.columns {
        let mut name = column.name.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{}_{number}", column.name);
        }
        names.push(name);
    }
    let mut text = String::new();
    for row in 0..answer.rows {
        let values = answer.columns.iter().map(|column| column.values.get(row).cloned().unwrap_or_default());
        let object: Map<String, Value> = names.iter().cloned().zip(values).collect();
        text.push_str(&serde_json::to_string(&object).map_err(Failure::error)?);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::SqlColumn;

    fn answer() -> SqlAnswer {
        let column = |name: &str, kind: &str, values: Vec<Value>| SqlColumn {
            name: name.to_owned(),
            kind: kind.to_owned(),
            values,
        };
        SqlAnswer {
            columns: vec![
                column("process", "text", vec![json!("redis, \"main\""), json!(null)]),
                column("samples", "int64", vec![json!(7), json!("9007199254740993")]),
                column("samples", "list of text", vec![json!(["a", "b\nc"]), json!([])]),
            ],
            rows: 2,
            ..SqlAnswer::default()
        }
    }

    #[test]
    fn a_table_is_aligned_and_fits_a_terminal() {
        let expected = "\
process                 samples  samples
redis, \"main\"                 7  [\"a\",\"b\\nc\"]
               9007199254740993  []
";
        assert_eq!(table(&answer(), None), expected);
        let narrow = table(&answer(), Some(36));
        assert!(narrow.lines().all(|line| line.chars().count() <= 36), "{narrow}");
        assert!(narrow.contains('…'), "{narrow}");
        assert!(table(&answer(), Some(1)).lines().count() == 3);
        assert_eq!(table(&SqlAnswer::default(), Some(80)), "\n");
    }

    #[test]
    fn csv_quotes_what_would_be_misread() {
        let expected = "process,samples,samples\n\"redis, \"\"main\"\"\",7,\"[\"\"a\"\",\"\"b\\nc\"\"]\"\n,9007199254740993,[]\n";
        assert_eq!(csv(&answer()), expected);
    }

    #[test]
    fn a_line_of_json_names_each_column() {
        let lines = jsonl(&answer()).unwrap();
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first, json!({"process": "redis, \"main\"", "samples": 7, "samples_2": ["a", "b\nc"]}));
    }
}
