//! The pipeline, put together: capture → processor → naming → sink, a thread each (naming and sink share one).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use store::model::ProfileBuilder;
use thiserror::Error;

use crate::{
    account::{self, Account},
    bpf::{BpfError, KernelProgram},
    capture::{BATCHES_MAX, Capture, CaptureInfo, Progress},
    live::LiveInterest,
    naming::{Namer, Origin, Tally},
    processor::{self, ProcessorOptions, ToName, ToProcess, WINDOWS_MAX, WindowAccount},
    sink::Sink,
    unwind_tables::{CacheOptions, TableSource, UnwindTables},
};

/// Why the pipeline does not start.
#[derive(Debug, Error)]
pub(crate) enum PipelineError {
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Settings of a pipeline.
#[derive(Clone, Debug)]
pub(crate) struct PipelineOptions {
    pub(crate) window: Duration,
    /// Bytes that unwind tables may take in the kernel.
    pub(crate) table_bytes: u64,
    /// Where they are kept on disk, if at all.
    pub(crate) table_cache: Option<CacheOptions>,
    pub(crate) origin: Origin,
}

/// A pipeline at work.
pub(crate) struct Pipeline {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    /// What it samples with.
    pub(crate) info: CaptureInfo,
    /// What it has done.
    pub(crate) account: Arc<Account>,
    /// What it is doing.
    pub(crate) progress: Arc<Progress>,
    /// Whether anyone watches the open window.
    pub(crate) live: Arc<LiveInterest>,
}

impl Pipeline {
    /// Starts sampling into a sink.
    pub(crate) fn start(
        mut program: KernelProgram,
        options: PipelineOptions,
        sink: Box<dyn Sink>,
    ) -> Result<Self, PipelineError> {
        let (account, progress, live) = <(Arc<Account>, Arc<Progress>, Arc<LiveInterest>)>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (work_in, work_out) = sync_channel(BATCHES_MAX);
        let (windows_in, windows_out) = sync_channel(WINDOWS_MAX);
        let source = Arc::new(TableSource::new(options.table_cache.as_ref()));
        let naming = {
            let (account, source) = (account.clone(), source.clone());
            let origin = options.origin;
            thread::Builder::new()
                .name("vesta-name".into())
                .spawn(move || name_windows(&windows_out, origin, source, sink, &account))?
        };
        let window = ProcessorOptions { window: options.window };
        let built_in = work_in.clone();
        let built = move |built| built_in.send(ToProcess::Built(built)).map_err(|_| ());
        let tables = UnwindTables::new(program.tables()?, options.table_bytes, source, built)?;
        let processor = processor::spawn(window, tables, work_out, windows_in, live.clone())?;
        let (capture, info) = Capture::start(program, progress.clone())?;
        let capture = capture.spawn(work_in, stop.clone())?;
        Ok(Self { stop, threads: vec![capture, processor, naming], info, account, progress, live })
    }

    /// Stops sampling and waits until every sample taken has reached the sink.
    pub(crate) fn stop(self) -> Arc<Account> {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("?").to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a thread of the pipeline failed; its samples are lost");
            }
        }
        self.account
    }
}

fn name_windows(
    windows: &Receiver<ToName>,
    origin: Origin,
    tables: Arc<TableSource>,
    mut sink: Box<dyn Sink>,
    account: &Account,
) {
    let host = origin.host.clone();
    let mut namer = Namer::new(origin, tables);
    let mut cpu_ns = 0;
    while let Ok(message) = windows.recv() {
        match message {
            ToName::Stacks(stacks) => namer.walk(stacks),
            ToName::Open { window, account } => {
                let (mut builder, tally) = namer.name_open(window);
                write_account(&mut builder, &host, &account, &tally, 0);
                sink.show(builder.finish(account.start_ms, account.end_ms));
            }
            ToName::Window { window, account: counted } => {
                let (mut builder, tally) = namer.name(window);
                let cpu_ns_now = (account::cpu_seconds() * 1e9) as u64;
                write_account(&mut builder, &host, &counted, &tally, cpu_ns_now - cpu_ns);
                cpu_ns = cpu_ns_now;
                let kept = sink.keep(builder.finish(counted.start_ms, counted.end_ms));
                if let Err(error) = &kept {
                    tracing::error!(%error, samples = tally.samples, "a window is lost");
                }
                account.add(&counted, &tally, kept.is_ok(), namer.evictions());
            }
        }
    }
}

/// The window's counters, beside its samples in the profile.
fn write_account(
    builder: &mut ProfileBuilder,
    host: &str,
    counted: &WindowAccount,
    tally: &Tally,
    agent_cpu_ns: u64,
) {
    let (before, after) = (&counted.before, &counted.after);
    let mut counters = vec![
        ("samples_taken".to_owned(), after.taken - before.taken),
        ("samples_stored".to_owned(), tally.samples),
        ("user_stacks".to_owned(), tally.user_stacks),
        ("agent_cpu_ns".to_owned(), agent_cpu_ns),
    ];
    if let (Some(now), Some(then)) = (after.bpf_ns, before.bpf_ns.or(Some(0))) {
        counters.push(("bpf_ns".to_owned(), now.saturating_sub(then)));
    }
    let lost_before = before.lost();
    for (reason, lost) in after.lost() {
        counters.push((format!("lost_{reason}"), lost - lost_before.get(reason).unwrap_or(&0)));
    }
    let host = builder.string(host);
    for (counter, value) in counters {
        let counter = builder.string(&counter);
        builder.account(counted.start_ms, host, counter, value);
    }
}
