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
        (None, Some(path)) => Format::from_path(path).map_err(Failure::usage)?,
        (None, None) => Format::Top,
    };
    match format {
        Format::Top | Format::TopJson if out.json => Ok(Format::TopJson),
        _ if out.json => {
            Err(Failure::usage("--json prints the table of --format top; --format json is the flame tree"))
        }
        format => Ok(format),
    }
}

/// Writes a profile to a file, or prints it.
pub(super) fn show(profile: &Profile, format: Format, output: Option<&Path>) -> Result<(), Failure> {
    if let Some(path) = output {
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
        tell(&nothing(&store, selector));
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
fn nothing(store: &Store, selector: &Selector) -> String {
    let what =
        if selector.is_all() { "no samples".into() } else { format!("no samples match {}", selector.text()) };
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
    match &args.out.output {
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
    let url = format!("{}{path}", server.trim_end_matches('/'));
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
        return Err(Failure::new(code, format_args!("{url} answers {status}: {}", text.trim())));
    }
    Ok(body)
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
