//! `vesta run`: agent, store and page in one process.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use store::{Pace, Retention, Store};
use ui::http::{AgentStatus, AgentView, BpfProgram, Limits, ServerConfig, serve};
use ui::source::SourceDirs;

use crate::{
    account::{self, Account},
    bpf::SamplingOptions,
    capture::CaptureInfo,
    cli::RunArgs,
    config::RunConfig,
    debuginfod::Fetcher,
    exit::{Code, Failure},
    kubernetes::Pods,
    late::{LateCounts, LateRounds},
    live::LiveInterest,
    metrics,
    objects::Objects,
    pipeline::{Pipeline, PipelineOptions},
    processor::unix_ms,
    roles::{load, print_json, print_text},
    signals::StopRequest,
    sink::StoreSink,
};

/// How often old segments are merged and the oldest deleted.
const MAINTENANCE: Duration = Duration::from_secs(30);
/// What merging takes of one CPU. A day of a busy host is merged in a minute at that.
const MAINTENANCE_CPU_PERCENT: u32 = 25;
/// What merging writes at most: a fifth of what a slow disk can.
const MAINTENANCE_BYTES_PER_SECOND: u64 = 16 << 20;
/// The lowest of priorities that still gets its turn.
const NICENESS: i32 = 10;

/// Runs until SIGINT or SIGTERM.
pub(crate) fn run(args: &RunArgs, file: Option<&Path>) -> Result<(), Failure> {
    let config = RunConfig::new(args, file)?;
    let sources = SourceDirs::new(&config.source_dir).map_err(Failure::usage)?;
    let stop = StopRequest::listen().map_err(Failure::error)?;
    // The cheap refusals first: nothing is changed by a start that fails.
    let listener = bind(config.listen)?;
    let address = listener.local_addr().map_err(Failure::error)?;
    let sampling =
        SamplingOptions { frequency_hz: config.frequency_hz, watched_only: false, measured: false };
    let (program, origin) = load(sampling, config.label.clone())?;
    let store = Store::open_writer(&config.data_dir)?;
    let objects = config.objects.as_ref().map(|objects| Objects::for_writing(&store, objects)).transpose()?;
    let host = origin.host.clone();
    let fetcher = config.debuginfod.as_ref().map(Fetcher::start).transpose().map_err(Failure::error)?;
    let pods = config.kubernetes.as_ref().map(Pods::start).transpose().map_err(Failure::error)?;
    let options = PipelineOptions {
        window: config.window,
        log: Some(config.sync),
        table_bytes: config.unwind_table_bytes,
        table_cache: config.unwind_cache.clone(),
        origin,
        labels: config.labels.clone(),
        audit: true,
        fetcher: fetcher.clone(),
        pods: pods.clone(),
    };
    let pipeline = Pipeline::start(program, options, Box::new(StoreSink::new(store.clone())))?;
    let rounds = LateRounds::new(fetcher.as_ref().map(|fetcher| fetcher.folder().to_owned()));
    let late = rounds.counts();
    let maintenance = maintain(store.clone(), &config, rounds, stop.clone())?;
    let uploads =
        objects.clone().map(|objects| objects.keep_up(&store, config.retention, stop.clone())).transpose()?;
    let view = Agent {
        frequency_hz: config.frequency_hz as u32,
        info: pipeline.info,
        window: config.window,
        account: pipeline.account.clone(),
        live: pipeline.live.clone(),
        late,
        fetcher,
        pods,
        objects,
    };
    let server = ServerConfig {
        listener,
        names: vec![host.clone()],
        origins: config.allow_origin.clone(),
        host,
        sources,
        store,
        agent: Some(Arc::new(view)),
        limits: Limits::default(),
    };
    announce(args, address, &config, pipeline.info)?;
    let served = serve_until(server, stop);
    pipeline.stop();
    if maintenance.join().is_err() {
        tracing::error!("store maintenance failed");
    }
    if let Some(uploads) = uploads {
        Objects::end(uploads);
    }
    served
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Failure::new(
            Code::AddressInUse,
            format_args!("{address} is in use; `--listen 127.0.0.1:0` takes a free port"),
        ),
        std::io::ErrorKind::AddrNotAvailable => Failure::new(
            Code::AddressInUse,
            format_args!("cannot listen on {address}: it is no address of this machine"),
        ),
        _ => Failure::error(format_args!("cannot listen on {address}: {error}")),
    })
}

fn announce(
    args: &RunArgs,
    address: SocketAddr,
    config: &RunConfig,
    info: CaptureInfo,
) -> Result<(), Failure> {
    let url = format!("http://{address}");
    if args.json {
        return print_json(&serde_json::json!({
            "url": url,
            "data_dir": config.data_dir,
            "frequency_hz": config.frequency_hz,
            "event": info.event.name(),
            "cpus": info.cpus,
        }));
    }
    print_text(&format!(
        "Vesta is at {url}\nsampling {} CPUs at {} Hz ({}), profiles are kept in {}; Ctrl-C ends\n",
        info.cpus,
        config.frequency_hz,
        info.event.name(),
        config.data_dir.display()
    ))
}

fn serve_until(server: ServerConfig, stop: StopRequest) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .thread_name("vesta-http")
        .enable_all()
        .build()
        .map_err(Failure::error)?;
    let shutdown = async move { stop.come().await };
    let served = runtime.block_on(serve(server, shutdown)).map_err(Failure::error);
    // A query still running must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Merges segments and deletes what is past its retention, on a thread of its own.
fn maintain(
    store: Store,
    config: &RunConfig,
    mut late: LateRounds,
    stop: StopRequest,
) -> Result<JoinHandle<()>, Failure> {
    let limits = Retention {
        max_age_ms: Some(config.retention.as_millis() as i64),
        max_bytes: Some(config.retention_bytes),
    };
    let policy = config.coarsen.clone();
    let over = stop.clone();
    let pace =
        Pace::limited(MAINTENANCE_CPU_PERCENT, MAINTENANCE_BYTES_PER_SECOND).until(move || over.requested());
    let work = move || {
        // This thread alone, and only the worse if it fails: what is profiled goes first.
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "segments are merged at the usual priority");
        }
        let mut last = Instant::now();
        while !stop.requested() {
            if stop.wait(MAINTENANCE.saturating_sub(last.elapsed())) || last.elapsed() < MAINTENANCE {
                continue;
            }
            last = Instant::now();
            match store.settle() {
                Ok(settled) if settled == store::Settled::default() => {}
                Ok(settled) => tracing::info!(?settled, "windows that were only logged"),
                Err(error) => tracing::warn!(%error, "logs stay as they are; it will be tried again"),
            }
            // Deleting first: a full disk refuses the merged copies.
            match store.retain(limits, unix_ms()) {
                Ok(removed) => tracing::debug!(?removed, "old segments"),
                Err(error) => tracing::warn!(%error, "old segments are not deleted; it will be tried again"),
            }
            match store.compact_by(&policy, &pace, unix_ms()) {
                Ok(merged) => tracing::debug!(?merged, "small segments"),
                Err(error) => tracing::warn!(%error, "small segments are not merged; it will be tried again"),
            }
            // After merging: what is merged is named once.
            if let Err(error) = late.round(&store, &pace, unix_ms()) {
                tracing::warn!(%error, "late names are not stored; it will be tried again");
            }
        }
    };
    thread::Builder::new().name("vesta-store".into()).spawn(work).map_err(Failure::error)
}

/// The agent as the server sees it.
struct Agent {
    frequency_hz: u32,
    info: CaptureInfo,
    window: Duration,
    account: Arc<Account>,
    live: Arc<LiveInterest>,
    late: Arc<LateCounts>,
    fetcher: Option<Fetcher>,
    pods: Option<Pods>,
    objects: Option<Objects>,
}

impl AgentView for Agent {
    fn status(&self) -> AgentStatus {
        // Only a page that is open asks again and again.
        self.live.note();
        let totals = self.account.totals();
        let owned = |counts: &std::collections::BTreeMap<&'static str, u64>| {
            counts.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
        };
        AgentStatus {
            frequency_hz: self.frequency_hz,
            event: self.info.event.name().to_owned(),
            window_ms: self.window.as_millis() as u64,
            samples_taken: totals.samples_taken,
            samples_stored: totals.samples_stored,
            lost: owned(&totals.lost),
            user_stacks: totals.tally.user_stacks,
            complete: totals.tally.complete,
            incomplete: owned(&totals.tally.incomplete),
            agent_cpu_s: account::cpu_seconds(),
            bpf_ns_per_sample: totals.bpf_ns_per_sample().map(|ns| ns as f64),
            rss_bytes: account::Resident::now().all,
        }
    }

    fn cpus(&self) -> Option<usize> {
        Some(self.info.cpus)
    }

    fn programs(&self) -> Result<Option<Vec<BpfProgram>>, String> {
        crate::bpf::programs().map(Some)
    }

    fn metrics(&self) -> String {
        let own = metrics::prometheus(&self.account.totals(), self.account.started.elapsed().as_secs_f64());
        let own = own + &metrics::names(&self.late, self.fetcher.as_ref().map(Fetcher::counts));
        let own = own + &self.pods.as_ref().map_or_else(String::new, |pods| metrics::pods(pods.counts()));
        own + &self.objects.as_ref().map_or_else(String::new, Objects::metrics)
    }
}
