//! Profiles on object storage, as `--store` names it: attached to the data directory, and kept up to date by a thread.

use std::{
    io::Write,
    path::Path,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use store::{
    Store,
    remote::{Remote, RemoteError, RemoteOptions, RemoteStats, SyncOptions, cache_folder},
};

use crate::{
    config::{self, ObjectStoreConfig},
    exit::{Code, Failure},
    metrics::Text,
    processor::unix_ms,
    signals::StopRequest,
};

/// How often is looked for what to upload: segments become finished every five minutes.
const EVERY: Duration = Duration::from_secs(30);
/// Longest pause after failures; a store that was away for a day is not asked a thousand times.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Sampling waits for this long at most, to refuse a start with settings that cannot work.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// An upload on its way is given so long to end; one that is cut off is done again.
const LONGEST_END: Duration = Duration::from_secs(5);
/// How often a request to stop is looked for.
const TICK: Duration = Duration::from_millis(50);
/// The lowest of priorities that still gets its turn.
const NICENESS: i32 = 10;

/// An attached store.
#[derive(Clone)]
pub(crate) struct Objects {
    remote: Remote,
}

impl Objects {
    /// Attaches a store to a data directory that this process writes to. Without a network it starts all the same; what
    /// will not get better by waiting is an error.
    pub(crate) fn for_writing(store: &Store, config: &ObjectStoreConfig) -> Result<Self, Failure> {
        let cache_dir = store.path().join("remote/cache");
        let (url, cache_bytes) = (config.url.clone(), config.cache_bytes);
        let options = RemoteOptions { url, cache_dir, cache_bytes, is_writer: true, settings: Vec::new() };
        let remote = Remote::attach(store, &options).map_err(failure)?;
        let (answer, asked) = mpsc::channel();
        let asking = remote.clone();
        let ask = move || {
            // Nobody may wait for it any more.
            answer.send(asking.refresh()).unwrap_or_default();
        };
        thread::Builder::new().name("vesta-store-ask".into()).spawn(ask).map_err(Failure::error)?;
        let passing = match asked.recv_timeout(LONGEST_WAIT) {
            Ok(Ok(())) => return Ok(Self { remote }),
            Ok(Err(error)) if !error.is_passing() => return Err(failure(error)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{} has not answered in {LONGEST_WAIT:?}", config.url),
        };
        tell(&format!("{passing}\nprofiles are kept in the data directory until it can be reached"));
        Ok(Self { remote })
    }

    /// A store with what is in a data directory, if it is there, and what is on object storage. One that was named must
    /// be there.
    pub(crate) fn open_for_reading(
        data_dir: &Path,
        is_named: bool,
        config: &ObjectStoreConfig,
    ) -> Result<Store, Failure> {
        let own = cache_folder(&config::cache_dir(), &config.url);
        let store = match Store::open_reader(data_dir) {
            Err(store::Error::Missing(_)) if !is_named => empty(&own.join("none"))?,
            store => store?,
        };
        attach(&store, &own, config)?;
        Ok(store)
    }

    /// What there is, or what is wrong.
    pub(crate) fn probe(config: &ObjectStoreConfig) -> Result<String, String> {
        let folder = std::env::temp_dir().join(format!("vesta-doctor-{}", std::process::id()));
        let found = empty(&folder.join("none")).and_then(|store| attach(&store, &folder, config));
        let found = found.map(|remote| {
            let RemoteStats { segments, bytes, writers, .. } = remote.stats();
            format!("{}: {segments} segments of {writers} hosts, {} MB", remote.url(), bytes / 1_000_000)
        });
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            tracing::debug!(%error, "a temporary folder is left behind");
        }
        found.map_err(|failure| failure.message().to_owned())
    }

    /// Uploads what is finished, on a thread of its own, until it is to stop. What is not uploaded by then is the next
    /// time.
    pub(crate) fn keep_up(
        self,
        store: &Store,
        retention: Duration,
        stop: StopRequest,
    ) -> Result<JoinHandle<()>, Failure> {
        let store = store.clone();
        let how = SyncOptions { flush: false, max_age_ms: Some(retention.as_millis() as i64) };
        let work = move || {
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!(%error, "segments are uploaded at the usual priority");
            }
            let (mut last, mut pause) = (Instant::now(), EVERY);
            while !stop.requested() {
                if stop.wait(pause.saturating_sub(last.elapsed())) || last.elapsed() < pause {
                    continue;
                }
                pause = match self.remote.sync(&store, how, unix_ms()) {
                    Ok(done) => {
                        tracing::debug!(?done, "object storage");
                        EVERY
                    }
                    Err(error) => {
                        let pause = (pause * 2).min(LONGEST_PAUSE);
                        tracing::warn!(%error, "nothing is uploaded; it will be tried again in {pause:?}");
                        pause
                    }
                };
                last = Instant::now();
            }
        };
        thread::Builder::new().name("vesta-upload".into()).spawn(work).map_err(Failure::error)
    }

    /// Waits for the thread of [`Objects::keep_up`], but not long.
    pub(crate) fn end(uploads: JoinHandle<()>) {
        let since = Instant::now();
        while !uploads.is_finished() && since.elapsed() < LONGEST_END {
            thread::sleep(TICK);
        }
        if uploads.is_finished() && uploads.join().is_err() {
            tracing::error!("uploading failed");
        }
    }

    /// Uploads all there is.
    pub(crate) fn upload_all(&self, store: &Store) -> Result<(), Failure> {
        let how = SyncOptions { flush: true, max_age_ms: None };
        let synced = self.remote.sync(store, how, unix_ms());
        let kept = |error| {
            let dir = store.path().display().to_string();
            Failure::new(
                Code::Store,
                format_args!("{error}\nit is in {dir}, and goes with the next `vesta run --store`"),
            )
        };
        synced.map(drop).map_err(kept)
    }

    /// The store's figures as Prometheus text.
    pub(crate) fn metrics(&self) -> String {
        let stats = self.remote.stats();
        let mut text = Text(String::new());
        for (name, help, value) in [
            ("vesta_objects_segments", "Segments on object storage, of all hosts.", stats.segments),
            ("vesta_objects_bytes", "Bytes of these.", stats.bytes),
            ("vesta_objects_hosts", "Writers that ever committed there.", stats.writers),
            (
                "vesta_objects_pending_segments",
                "Segments here that are not uploaded yet.",
                stats.pending_segments,
            ),
            ("vesta_objects_pending_bytes", "Bytes of these.", stats.pending_bytes),
            ("vesta_objects_cache_bytes", "Bytes of fetched files on disk.", stats.cache_bytes),
        ] {
            text.gauge(name, help, value as f64);
        }
        if let Some(age_s) = stats.age_s {
            text.gauge("vesta_objects_age_seconds", "Time since the store's log was read.", age_s as f64);
        }
        for (name, help, value) in [
            ("vesta_objects_uploaded_total", "Segments that were uploaded and committed.", stats.uploaded),
            (
                "vesta_objects_merges_refused_total",
                "Segments dropped, as others had merged the same, or as their samples were there already.",
                stats.refused,
            ),
            (
                "vesta_objects_given_up_total",
                "Segments deleted for lack of room before they were uploaded.",
                stats.given_up,
            ),
            ("vesta_objects_given_up_bytes_total", "Bytes of these.", stats.given_up_bytes),
            (
                "vesta_objects_conflicts_total",
                "Commits for which another writer was quicker.",
                stats.conflicts,
            ),
            ("vesta_objects_requests_failed_total", "Requests that failed.", stats.requests_failed),
            ("vesta_objects_sent_bytes_total", "Bytes sent.", stats.bytes_up),
            ("vesta_objects_received_bytes_total", "Bytes received.", stats.bytes_down),
            ("vesta_objects_cache_hits_total", "Files that were in the cache.", stats.cache_hits),
            ("vesta_objects_cache_misses_total", "Files that were fetched.", stats.cache_misses),
            (
                "vesta_objects_cache_evicted_total",
                "Files put out of the cache for room.",
                stats.cache_evicted,
            ),
            (
                "vesta_objects_cache_damaged_total",
                "Files in the cache that had been changed.",
                stats.cache_damaged,
            ),
        ] {
            text.counter(name, help, value as f64);
        }
        let requests: Vec<_> = stats
            .requests
            .iter()
            .map(|(kind, count)| (format!("{{kind=\"{kind}\"}}"), *count as f64))
            .collect();
        text.metric("counter", "vesta_objects_requests_total", "Requests, by kind.", &requests);
        text.0
    }
}

/// A data directory without anything, to attach a store to.
fn empty(folder: &Path) -> Result<Store, Failure> {
    match Store::open_writer(folder) {
        // Another command has made it, or is about to use it, too.
        Ok(_) | Err(store::Error::Locked { .. }) => Ok(Store::open_reader(folder)?),
        Err(error) => Err(error.into()),
    }
}

fn attach(store: &Store, folder: &Path, config: &ObjectStoreConfig) -> Result<Remote, Failure> {
    let (url, cache_bytes) = (config.url.clone(), config.cache_bytes);
    let options = RemoteOptions {
        url,
        cache_dir: folder.join("cache"),
        cache_bytes,
        is_writer: false,
        settings: Vec::new(),
    };
    let remote = Remote::attach(store, &options).map_err(failure)?;
    remote.refresh().map_err(failure)?;
    Ok(remote)
}

fn failure(error: RemoteError) -> Failure {
    let code = if matches!(error, RemoteError::Address(_)) { Code::Usage } else { Code::Store };
    Failure::new(code, error)
}

fn tell(message: &str) {
    // Standard error may be closed; there is no one left to tell then.
    let _ = writeln!(std::io::stderr(), "vesta: {message}");
}
