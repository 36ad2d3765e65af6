//! `vesta query`: profiles read back, from a data directory or from a running server.

use std::{
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use store::{Selector, Skipped, Store, TimeRange, model::Profile, parse_time};
use ui::{
    flame::GroupBy,
    render::{Format, RenderOptions},
};

use crate::{
    cli::{ObjectStoreArgs, OutputArgs, QueryArgs},
    config,
    exit::{Code, Failure},
    objects::Objects,
    processor::unix_ms,
    roles::{
        ask::{Question, ask},
        print_text,
        record::write_profile,
    },
};

/// The largest answer taken from a server.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// How long a server may take.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs the command.
pub(crate) fn query(args: &QueryArgs, file: Option<&Path>) -> Result<(), Failure> {
    if let Some(question) = Question::of(args)? {
        return ask(args, file, &question);
    }
    let format = format_of(&args.out)?;
    let text = args.selector.as_deref().unwrap_or("");
    let selector = Selector::parse(text).map_err(Failure::usage)?;
    let range = TimeRange::parse(&args.from, &args.until, unix_ms()).map_err(Failure::usage)?;
    match &args.server {
        Some(server) => from_server(args, server, text, range, format),
        None => from_store(args, file, &selector, range, format),
    }
}

/// What is asked for, else what the output's name says, else a table; `--json` makes that JSON.
pub(super) fn format_of(out: &OutputArgs) -> Result<Format, Failure> {
    let format = match (out.format, &out.output) {
        (Some(format), _) => format,
        (None, Some(path)) if !is_stdout(path) => Format::from_path(path).map_err(Failure::usage)?,
        (None, _) => Format::Top,
    };
    match format {
        Format::Top | Format::TopJson if out.json => Ok(Format::TopJson),
        _ if out.json => {
            Err(Failure::usage("--json prints the table of --format top; --format json is the flame tree"))
        }
        format => Ok(format),
    }
}

/// Whether `-o` names standard output, as other programs have it.
pub(super) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Writes a profile to a file, or prints it.
pub(super) fn show(profile: &Profile, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = output.filter(|path| !is_stdout(path)) {
        return write_profile(path, format, profile);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = format.write(profile, &RenderOptions::default(), &mut out);
    let end: &[u8] = if format == Format::TopJson { b"\n" } else { b"" };
    ignore_closed_pipe(written.and_then(|()| out.write_all(end)).and_then(|()| out.flush()))
}

fn from_store(
    args: &QueryArgs,
    file: Option<&Path>,
    selector: &Selector,
    range: TimeRange,
    format: Format,
) -> Result<(), Failure> {
    let store = open(args, file)?;
    let answer = store.query(selector, range, format.keep(&GroupBy::default()))?;
    tell_skipped(&answer.skipped);
    if answer.profile.rows.is_empty() {
        tell(&nothing(&store, selector, range));
    }
    show(&answer.profile, format, args.out.output.as_deref())
}

/// The store of the data directory that is asked for.
pub(super) fn open(args: &QueryArgs, file: Option<&Path>) -> Result<Store, Failure> {
    open_store(args.data_dir.as_deref(), &args.objects, file)
}

/// The store of a data directory, else of the one that is configured, with what is on object storage if that is.
pub(super) fn open_store(
    data_dir: Option<&Path>,
    objects: &ObjectStoreArgs,
    file: Option<&Path>,
) -> Result<Store, Failure> {
    let path: PathBuf = match data_dir {
        Some(data_dir) => data_dir.to_owned(),
        None => config::data_dir(file)?,
    };
    match config::objects(objects, file)? {
        None => Ok(Store::open_reader(&path)?),
        Some(objects) => Objects::open_for_reading(&path, data_dir.is_some(), &objects),
    }
}

/// Names what an answer had to do without.
pub(super) fn tell_skipped(skipped: &[Skipped]) {
    for skipped in skipped {
        tell(&format!("skipped {}: {}", skipped.path.display(), skipped.reason));
    }
}

/// Why there may be nothing, with what to try.
fn nothing(store: &Store, selector: &Selector, range: TimeRange) -> String {
    let mut what =
        if selector.is_all() { "no samples".into() } else { format!("no samples match {}", selector.text()) };
    let known = store.label_names(&Selector::all(), range).unwrap_or_default();
    let stranger = selector.labels().into_iter().find(|label| !known.iter().any(|known| known == label));
    if let Some(label) = stranger.filter(|_| !known.is_empty()) {
        let near = near(label, &known).map_or(String::new(), |near| format!(", but `{near}`"));
        what = format!("{what}: no sample has a label `{label}`{near};");
        return format!("{what} `vesta query --labels` lists them");
    }
    match store.span() {
        None => format!("{what}: the data directory {} is empty so far", store.path().display()),
        Some(span) => {
            let time = |ms: i64| {
                jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.to_string())
            };
            format!(
                "{what} in this range; there is data from {} to {}",
                time(span.from_ms),
                time(span.until_ms)
            )
        }
    }
}

/// The known name that a mistyped one is nearest to, if it is near.
fn near<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let distances = known.iter().map(|known| (edits(&name.to_lowercase(), &known.to_lowercase()), known));
    let (edits, nearest) = distances.min()?;
    (edits <= 2 && edits < name.chars().count()).then_some(nearest)
}

/// How many characters are to be put in, left out or changed to make one text of another.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, c) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in to.iter().enumerate() {
            let least = (diagonal + usize::from(c != *other)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[to.len()]
}

fn from_server(
    args: &QueryArgs,
    server: &str,
    selector: &str,
    range: TimeRange,
    format: Format,
) -> Result<(), Failure> {
    let [from, until] = times(range);
    let parameters = [("query", selector.to_owned()), from, until, ("format", format.name().to_owned())];
    let body = get(server, "/api/v1/query", &parameters)?;
    match args.out.output.as_deref().filter(|path| !is_stdout(path)) {
        Some(path) => std::fs::write(path, &body).map_err(|error| Failure::write(path, &error)),
        None if format == Format::Top => print_text(&String::from_utf8_lossy(&body)),
        None => ignore_closed_pipe(std::io::stdout().lock().write_all(&body)),
    }
}

/// A range as parameters: spans are counted back from our own now, and the server gets absolute times.
pub(super) fn times(range: TimeRange) -> [(&'static str, String); 2] {
    [("from", seconds(range.from_ms)), ("until", seconds(range.until_ms))]
}

/// A time in Unix seconds, to the millisecond.
pub(super) fn seconds(ms: i64) -> String {
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    debug_assert_eq!(parse_time(&text, 0).ok(), Some(ms));
    text
}

/// What a server answers.
pub(super) fn get(server: &str, path: &str, parameters: &[(&str, String)]) -> Result<Vec<u8>, Failure> {
    let url = address(server, path)?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(SERVER_TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let failed = |error: &dyn std::fmt::Display| Failure::error(format_args!("{url}: {error}"));
    let mut request = agent.get(&url);
    for (name, value) in parameters {
        request = request.query(*name, value);
    }
    let mut response = request.call().map_err(|error| failed(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    let mut reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX);
    reader.read_to_end(&mut body).map_err(|error| failed(&error))?;
    if !status.is_success() {
        let code = if status.as_u16() == 400 { Code::Usage } else { Code::Error };
        let text = String::from_utf8_lossy(&body);
        return Err(Failure::new(code, format_args!("{url} answers {status}: {}", refusal(text.trim()))));
    }
    Ok(body)
}

/// The address of a question to a server.
pub(super) fn address(server: &str, path: &str) -> Result<String, Failure> {
    if !server.contains("://") {
        let wrong = format_args!("`{server}` is no address of a server: use http://{server}");
        return Err(Failure::usage(wrong));
    }
    Ok(format!("{}{path}", server.trim_end_matches('/')))
}

/// What a server says when it refuses: the sentence and the detail of its JSON, or its text.
pub(super) fn refusal(body: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        detail: String,
    }
    match serde_json::from_str(body) {
        Ok(Refusal { error, detail }) if detail.is_empty() => error,
        Ok(Refusal { error, detail }) => format!("{error}\n{detail}"),
        Err(_) => body.to_owned(),
    }
}

pub(super) fn ignore_closed_pipe(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::error(format_args!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn tell(message: &str) {
    // Standard error may be closed; there is no one left to tell then.
    let _ = writeln!(std::io::stderr(), "vesta: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_label_is_near_the_one_that_was_meant() {
        let known = ["pid", "process", "thread"].map(str::to_owned);
        for (typed, meant) in [("proces", "process"), ("Process", "process"), ("thraed", "thread")] {
            assert_eq!(near(typed, &known), Some(meant));
        }
        for (typed, meant) in [("team", None), ("ab", None), ("", None)] {
            assert_eq!(near(typed, &known), meant, "{typed}");
        }
    }

    #[test]
    fn a_refusal_is_a_sentence() {
        assert_eq!(
            refusal(r#"{"error":"bad selector: x","detail":"  a=\n  ^"}"#),
            "bad selector: x\n  a=\n  ^"
        );
        assert_eq!(refusal(r#"{"error":"it is JSON","detail":""}"#), "it is JSON");
        assert_eq!(refusal("plain text"), "plain text");
        assert!(address("127.0.0.1:7171", "/x").is_err());
        assert_eq!(address("http://a:1/", "/x").ok().as_deref(), Some("http://a:1/x"));
    }
}
