//! `vesta query` with a question: samples over time, tables, functions over time, comparisons, labels. The answer
//! is the same from a data directory and from a server, whose JSON it then is.

use std::{fmt::Write as _, io::Write as _, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use store::{FunctionHistory, FunctionName, Selector, Skipped, TimeRange, Timeline};
use ui::{
    flame::GroupBy,
    render::{DiffTable, ShareTable, TopBy},
};

use crate::{
    cli::QueryArgs,
    exit::Failure,
    processor::unix_ms,
    roles::query::{get, ignore_closed_pipe, open, seconds, tell_skipped, times},
};

/// Rows of a table, and groups and functions over time, when nobody asks for a number.
const DEFAULT_ROWS: usize = 50;
const DEFAULT_SERIES: usize = 8;
/// Buckets of time when nobody asks for a step: lines of a screen.
const DEFAULT_BUCKETS: i64 = 60;

/// What is asked.
#[derive(Debug, PartialEq)]
pub(super) enum Question {
    OverTime { by: GroupBy },
    Shares(TopBy),
    Function(String),
    Diff { before: TimeRange, selector: Option<String> },
    Labels,
    Values(GroupBy),
}

impl Question {
    /// The question on the command line; none where the profile itself is wanted.
    pub(super) fn of(args: &QueryArgs) -> Result<Option<Self>, Failure> {
        let ask = &args.ask;
        let label = |name: &str| name.parse::<GroupBy>().map_err(Failure::usage);
        let question = match (&ask.labels, &ask.diff, &ask.function, ask.top, &ask.group_by, ask.step) {
            (Some(name), ..) if name.is_empty() => Self::Labels,
            (Some(name), ..) => Self::Values(label(name)?),
            (_, Some(range), ..) => {
                let Some((from, until)) = range.split_once("..") else {
                    return Err(Failure::usage("--diff takes the other range as FROM..UNTIL, e.g. -2h..-1h"));
                };
                let before = TimeRange::parse(from, until, unix_ms()).map_err(Failure::usage)?;
                Self::Diff { before, selector: ask.diff_selector.clone() }
            }
            (_, _, Some(name), ..) => Self::Function(name.clone()),
            (_, _, _, Some(TopBy::Function), ..) => return Ok(None),
            (_, _, _, Some(by), ..) => Self::Shares(by),
            (_, _, _, _, Some(name), _) => Self::OverTime { by: label(name)? },
            (_, _, _, _, _, Some(_)) => Self::OverTime { by: GroupBy::default() },
            _ if ask.rows.is_some() => {
                return Err(Failure::usage("--rows goes with a question, e.g. --top function"));
            }
            _ => return Ok(None),
        };
        match args.out.output.is_some() || args.out.format.is_some() {
            true => Err(Failure::usage(
                "the answer to a question is a table, or with --json JSON: no --format, no --output",
            )),
            false => Ok(Some(question)),
        }
    }
}

/// The names of labels.
#[derive(Debug, Serialize, Deserialize)]
struct Names {
    labels: Vec<String>,
}

/// The values of a label.
#[derive(Debug, Serialize, Deserialize)]
struct Values {
    values: Vec<LabelValue>,
    truncated: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct LabelValue {
    value: String,
    samples: u64,
}

/// Answers a question.
pub(super) fn ask(args: &QueryArgs, file: Option<&Path>, question: &Question) -> Result<(), Failure> {
    let text = args.selector.as_deref().unwrap_or("");
    let selector = Selector::parse(text).map_err(Failure::usage)?;
    let range = TimeRange::parse(&args.from, &args.until, unix_ms()).map_err(Failure::usage)?;
    match &args.server {
        Some(server) => from_server(&Asked { args, selector: &selector, range }, server, question),
        None => from_store(&Asked { args, selector: &selector, range }, file, question),
    }
}

struct Asked<'a> {
    args: &'a QueryArgs,
    selector: &'a Selector,
    range: TimeRange,
}

impl Asked<'_> {
    fn rows(&self, default: usize) -> usize {
        self.args.ask.rows.map_or(default, usize::from)
    }

    fn step_ms(&self) -> i64 {
        let asked = self.args.ask.step.map(|span| i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX));
        asked.unwrap_or((self.range.len_ms() / DEFAULT_BUCKETS).max(1))
    }

    fn prefix(&self) -> &str {
        self.args.ask.prefix.as_deref().unwrap_or("")
    }

    /// Prints an answer.
    fn show<T: Serialize>(
        &self,
        answer: &T,
        skipped: &[Skipped],
        text: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        tell_skipped(skipped);
        let shown = match self.args.out.json {
            true => serde_json::to_string(answer).map_err(Failure::error)? + "\n",
            false => text(answer),
        };
        let mut out = std::io::stdout().lock();
        ignore_closed_pipe(out.write_all(shown.as_bytes()).and_then(|()| out.flush()))
    }
}

fn from_store(asked: &Asked<'_>, file: Option<&Path>, question: &Question) -> Result<(), Failure> {
    let store = open(asked.args, file)?;
    let (selector, range) = (asked.selector, asked.range);
    match question {
        Question::OverTime { by } => {
            let top = asked.rows(DEFAULT_SERIES);
            let timeline = store.timeline(selector, range, asked.step_ms(), by.name(), top)?;
            asked.show(&timeline, &timeline.skipped, over_time)
        }
        Question::Shares(by) => {
            let answer = store.query_by(selector, range, GroupBy::default().name())?;
            let table = ShareTable::new(&answer.profile, *by, asked.rows(DEFAULT_ROWS));
            asked.show(&table, &answer.skipped, ShareTable::to_string)
        }
        Question::Function(name) => {
            let name = FunctionName::parse(name).map_err(Failure::usage)?;
            let top = asked.rows(DEFAULT_SERIES);
            let history = store.function_history(selector, range, asked.step_ms(), &name, top)?;
            asked.show(&history, &history.skipped, functions)
        }
        Question::Diff { before, selector: other } => {
            let other = other.as_deref().map(Selector::parse).transpose().map_err(Failure::usage)?;
            let other = other.as_ref().unwrap_or(selector);
            let both = store.compare((other, *before), (selector, range), GroupBy::default().name())?;
            let table = DiffTable::new(&both, asked.rows(DEFAULT_ROWS));
            asked.show(&table, &both.skipped, DiffTable::to_string)
        }
        Question::Labels => {
            let mut labels = store.label_names(selector, range)?;
            labels.retain(|name| name.starts_with(asked.prefix()));
            asked.show(&Names { labels }, &[], names)
        }
        Question::Values(label) => {
            let mut all = store.label_values(label.name(), selector, range)?;
            all.retain(|(value, _)| value.starts_with(asked.prefix()));
            let truncated = all.len() > asked.rows(DEFAULT_ROWS);
            all.truncate(asked.rows(DEFAULT_ROWS));
            let values = all.into_iter().map(|(value, samples)| LabelValue { value, samples }).collect();
            asked.show(&Values { values, truncated }, &[], values_text)
        }
    }
}

fn from_server(asked: &Asked<'_>, server: &str, question: &Question) -> Result<(), Failure> {
    let rows = |default| ("top", asked.rows(default).to_string());
    let step = || ("step_ms", asked.step_ms().to_string());
    let prefix = || ("prefix", asked.prefix().to_owned());
    match question {
        Question::OverTime { by } => {
            let own = [("by", by.name().to_owned()), step(), rows(DEFAULT_SERIES)];
            let timeline: Timeline = fetch(asked, server, "/api/v1/timeline", &own)?;
            asked.show(&timeline, &timeline.skipped, over_time)
        }
        Question::Shares(by) => {
            let own = [("by", by.name().to_owned()), rows(DEFAULT_ROWS)];
            let table: ShareTable = fetch(asked, server, "/api/v1/top", &own)?;
            asked.show(&table, &[], ShareTable::to_string)
        }
        Question::Function(name) => {
            let own = [("name", name.clone()), step(), rows(DEFAULT_SERIES)];
            let history: FunctionHistory = fetch(asked, server, "/api/v1/functions", &own)?;
            asked.show(&history, &history.skipped, functions)
        }
        Question::Diff { before, selector } => {
            let mut own = vec![("format", "top-json".to_owned()), rows(DEFAULT_ROWS)];
            own.push(("before_from", seconds(before.from_ms)));
            own.push(("before_until", seconds(before.until_ms)));
            own.extend(selector.clone().map(|selector| ("before_query", selector)));
            let table: DiffTable = fetch(asked, server, "/api/v1/diff", &own)?;
            asked.show(&table, &[], DiffTable::to_string)
        }
        Question::Labels => {
            asked.show(&fetch::<Names>(asked, server, "/api/v1/labels", &[prefix()])?, &[], names)
        }
        Question::Values(label) => {
            let path = format!("/api/v1/labels/{label}/values");
            let mut values: Values = fetch(asked, server, &path, &[prefix()])?;
            values.truncated |= values.values.len() > asked.rows(DEFAULT_ROWS);
            values.values.truncate(asked.rows(DEFAULT_ROWS));
            asked.show(&values, &[], values_text)
        }
    }
}

fn fetch<T: DeserializeOwned>(
    asked: &Asked<'_>,
    server: &str,
    path: &str,
    own: &[(&str, String)],
) -> Result<T, Failure> {
    let mut parameters = vec![("query", asked.selector.text().to_owned())];
    parameters.extend(times(asked.range));
    parameters.extend(own.iter().cloned());
    let body = get(server, path, &parameters)?;
    serde_json::from_slice(&body)
        .map_err(|error| Failure::error(format_args!("{server}{path} answers what is no answer: {error}")))
}

/// A line for each bucket, a column for each series.
fn columns(from_ms: i64, step_ms: i64, series: &[(String, &[u64])]) -> String {
    let heads: Vec<String> = series.iter().map(|(name, _)| short(name)).collect();
    let mut text = format!("{:<24}", "time");
    for head in &heads {
        let _ = write!(text, "  {head:>8}");
    }
    text.push('\n');
    for bucket in 0..series.first().map_or(0, |(_, samples)| samples.len()) {
        let time = from_ms.saturating_add(step_ms.saturating_mul(bucket as i64));
        let _ = write!(
            text,
            "{:<24}",
            jiff::Timestamp::from_millisecond(time).map_or_else(|_| time.to_string(), |t| t.to_string())
        );
        for ((_, samples), head) in series.iter().zip(&heads) {
            let width = head.chars().count().max(8);
            let _ = write!(text, "  {:>width$}", samples.get(bucket).copied().unwrap_or(0));
        }
        text.push('\n');
    }
    text
}

/// A name on one line that leaves room for others.
fn short(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match name.chars().count() {
        0 => "[none]".to_owned(),
        1..=32 => name,
        _ => name.chars().take(31).chain(['…']).collect(),
    }
}

fn over_time(timeline: &Timeline) -> String {
    let mut series: Vec<_> =
        timeline.groups.iter().map(|group| (group.value.clone(), &group.samples[..])).collect();
    if timeline.other.groups > 0 {
        series.push((format!("{} others", timeline.other.groups), &timeline.other.samples));
    }
    columns(timeline.from_ms, timeline.step_ms, &series)
}

fn functions(history: &FunctionHistory) -> String {
    let mut series = vec![("all".to_owned(), &history.samples[..])];
    for function in &history.functions {
        let alike = history.functions.iter().filter(|other| other.function == function.function).count();
        let mut name = short(&function.function);
        // Every program has a `main`.
        if alike > 1 {
            let file = function.binary.rsplit('/').next().unwrap_or_default();
            name = format!("{name} in {}", short(file));
        }
        series.push((format!("{name} self"), &function.own));
        series.push((format!("{name} total"), &function.total));
    }
    let mut text = columns(history.from_ms, history.step_ms, &series);
    match history.found - history.functions.len() {
        0 if history.found == 0 => text.push_str("no such function in this range\n"),
        0 => {}
        more => drop(writeln!(text, "{more} more functions")),
    }
    text
}

fn names(names: &Names) -> String {
    names.labels.iter().map(|name| format!("{name}\n")).collect()
}

fn values_text(values: &Values) -> String {
    let mut text = format!("{:>10}  value\n", "samples");
    for LabelValue { value, samples } in &values.values {
        let value = if value.is_empty() { "[none]" } else { value };
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(text, "{samples:>10}  {value}");
    }
    if values.truncated {
        text.push_str("there are more\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn question(line: &[&str]) -> Result<Option<Question>, String> {
        let cli =
            Cli::try_parse_from([&["vesta", "query"], line].concat()).map_err(|error| error.to_string())?;
        let Command::Query(args) = cli.command else { panic!("not query") };
        Question::of(&args).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_command_line_tells_the_question() {
        let by = |name: &str| name.parse::<GroupBy>().unwrap();
        assert_eq!(question(&[]), Ok(None));
        assert_eq!(question(&["--step", "10s"]), Ok(Some(Question::OverTime { by: by("process") })));
        assert_eq!(question(&["--group-by", "thread"]), Ok(Some(Question::OverTime { by: by("thread") })));
        assert_eq!(question(&["--top", "function"]), Ok(None));
        assert_eq!(question(&["--top", "binary"]), Ok(Some(Question::Shares(TopBy::Binary))));
        assert_eq!(
            question(&["--function", "~a|b", "--step", "1m"]),
            Ok(Some(Question::Function("~a|b".into())))
        );
        assert_eq!(question(&["--labels"]), Ok(Some(Question::Labels)));
        assert_eq!(question(&["--labels=process"]), Ok(Some(Question::Values(by("process")))));
        let Ok(Some(Question::Diff { before, .. })) = question(&["--diff", "1000..2000"]) else {
            panic!("no diff")
        };
        assert_eq!((before.from_ms, before.until_ms), (1_000_000, 2_000_000));
        for wrong in [
            &["--diff", "-2h"][..],
            &["--diff", "-1h..-2h"],
            &["--labels=a b"],
            &["--rows", "5"],
            &["--top", "binary", "--format", "svg"],
            &["--top", "colour"],
            &["--prefix", "x"],
            &["--top", "file", "--step", "1s"],
        ] {
            assert!(question(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn answers_over_time_are_columns() {
        let series = [("redis\nserver".to_owned(), &[1u64, 20][..]), (String::new(), &[3, 4])];
        let expected = "\
time                      redis server    [none]
2026-01-31T12:00:00Z                 1         3
2026-01-31T12:00:10Z                20         4
";
        assert_eq!(columns(1_769_860_800_000, 10_000, &series), expected);
    }

    #[test]
    fn functions_of_one_name_are_told_apart_by_their_files() {
        let history = serde_json::json!({
            "from_ms": 0, "until_ms": 1000, "step_ms": 1000, "period_ns": 1, "samples": [9], "found": 3, "skipped": [],
            "functions": [
                {"function": "main", "kind": "native", "binary": "/bin/a", "self": [1], "total": [2]},
                {"function": "main", "kind": "native", "binary": "/bin/b", "self": [3], "total": [4]},
                {"function": "other", "kind": "native", "binary": "/bin/b", "self": [5], "total": [6]},
            ],
        });
        let text = functions(&serde_json::from_value(history).unwrap());
        let head = text.lines().next().unwrap();
        for column in ["main in a self", "main in b total", "  other self"] {
            assert!(head.contains(column), "{head}");
        }
    }
}
