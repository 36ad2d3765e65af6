//! `vesta import`: profiles of other tools into a data directory, or to the Vesta that writes to it.

use std::{collections::BTreeSet, io::Read, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use store::{Store, model::Profile};
use ui::import::Options;

use crate::{
    cli::ImportArgs,
    config,
    exit::{Code, Failure},
    objects::Objects,
    roles::{
        print_json, print_text,
        query::{address, refusal},
        source,
    },
};

/// How long a server may take for a file.
const SERVER_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest answer taken from a server: a few numbers, or a sentence.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What was imported from a file: the answer of `POST /api/v1/import`, and a line of `--json`.
#[derive(Debug, Serialize, Deserialize)]
struct Imported {
    #[serde(default)]
    file: String,
    samples: u64,
    events: BTreeSet<String>,
    from_ms: i64,
    until_ms: i64,
}

/// Runs the command.
pub(crate) fn import(args: &ImportArgs, file: Option<&Path>) -> Result<(), Failure> {
    let options = source::options(&args.source)?;
    if let Some(server) = &args.server {
        for path in &args.source.files {
            tell(args, to_server(args, server, path, &options)?)?;
        }
        return Ok(());
    }
    // Nothing is kept unless all of it can be read.
    let read = |path| source::read(path, &options).map(|imported| imported.profile);
    let profiles = args.source.files.iter().map(|path| read(path));
    let profiles = profiles.collect::<Result<Vec<_>, _>>()?;
    let data_dir = match &args.data_dir {
        Some(data_dir) => data_dir.clone(),
        None => config::data_dir(file)?,
    };
    let store = Store::open_writer(&data_dir).map_err(|error| match error {
        store::Error::Locked { .. } => Failure::new(
            Code::Store,
            format_args!(
                "{error}\nit takes the file itself: `vesta import --server http://127.0.0.1:7171 FILE`"
            ),
        ),
        error => error.into(),
    })?;
    let objects = config::objects(&args.objects, file)?;
    let objects = objects.map(|objects| Objects::for_writing(&store, &objects)).transpose()?;
    for (path, profile) in args.source.files.iter().zip(&profiles) {
        store.import(profile)?;
        tell(args, Imported::new(path, profile))?;
    }
    objects.map_or(Ok(()), |objects| objects.upload_all(&store))
}

impl Imported {
    fn new(path: &Path, profile: &Profile) -> Self {
        Self {
            file: path.display().to_string(),
            samples: profile.samples(),
            events: ui::import::events(profile),
            from_ms: profile.start_ms,
            until_ms: profile.end_ms,
        }
    }
}

fn tell(args: &ImportArgs, imported: Imported) -> Result<(), Failure> {
    if args.json {
        return print_json(&imported);
    }
    let time = |ms: i64| {
        jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
    };
    let Imported { file, samples, events, from_ms, until_ms } = imported;
    let events = events.into_iter().collect::<Vec<_>>().join(", ");
    print_text(&format!("{file}: {samples} samples of {events}, {} to {}\n", time(from_ms), time(until_ms)))
}

fn to_server(args: &ImportArgs, server: &str, path: &Path, options: &Options) -> Result<Imported, Failure> {
    let url = address(server, "/api/v1/import")?;
    let failed =
        |error: &dyn std::fmt::Display| Failure::error(format_args!("{}: {url}: {error}", path.display()));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(SERVER_TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = agent.post(&url).header("content-type", "application/octet-stream");
    for (name, value) in &options.labels {
        request = request.query("label", format!("{name}={value}"));
    }
    if let Some(ms) = options.start_ms {
        request = request.query("time", format!("{}.{:03}", ms / 1000, ms % 1000));
    }
    if let Some(event) = &args.source.event {
        request = request.query("event", event);
    }
    let mut body = source::open(path)?;
    let mut response =
        request.send(ureq::SendBody::from_reader(&mut body)).map_err(|error| failed(&error))?;
    let status = response.status();
    let mut answer = String::new();
    let mut reader = response.body_mut().as_reader().take(ANSWER_BYTES_MAX);
    reader.read_to_string(&mut answer).map_err(|error| failed(&error))?;
    if !status.is_success() {
        return Err(failed(&format_args!("answers {status}: {}", refusal(answer.trim()))));
    }
    let imported: Imported = serde_json::from_str(&answer).map_err(|error| failed(&error))?;
    Ok(Imported { file: path.display().to_string(), ..imported })
}
