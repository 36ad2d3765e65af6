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

use thiserror::Error;

use crate::{
    account::Account,
    bpf::{BpfError, KernelProgram, RunTimes},
    capture::{BATCHES_MAX, Capture, CaptureInfo, Progress},
    debuginfod::Fetcher,
    keeper::Keeper,
    kubernetes::Pods,
    live::LiveInterest,
    naming::{Namer, Origin},
    processes::LabelOptions,
    processor::{self, PARTS_MAX, ProcessorOptions, ToName, ToProcess},
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
    /// How often the sink logs what was sampled before its window closes, if at all.
    pub(crate) log: Option<Duration>,
    /// Bytes that unwind tables may take in the kernel.
    pub(crate) table_bytes: u64,
    /// Where they are kept on disk, if at all.
    pub(crate) table_cache: Option<CacheOptions>,
    pub(crate) origin: Origin,
    /// What is asked of processes beside their names.
    pub(crate) labels: LabelOptions,
    /// Whether it is kept what each BPF program of the machine costs.
    pub(crate) audit: bool,
    /// Who fetches debug info that is not here, if anyone.
    pub(crate) fetcher: Option<Fetcher>,
    /// Who says what Kubernetes calls pods, if anyone.
    pub(crate) pods: Option<Pods>,
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
        let (windows_in, windows_out) = sync_channel(PARTS_MAX);
        let source = Arc::new(TableSource::new(options.table_cache.as_ref()));
        let naming = {
            let (source, is_logged) = (source.clone(), options.log.is_some());
            let (origin, fetcher, pods) = (options.origin, options.fetcher, options.pods.clone());
            let keeper = Keeper::new(
                sink,
                origin.host.clone(),
                account.clone(),
                options.audit.then(RunTimes::default),
            );
            thread::Builder::new().name("vesta-name".into()).spawn(move || {
                // Made there: it does not move from thread to thread.
                let namer = Namer::new(origin, source, is_logged, fetcher, pods);
                name_windows(&windows_out, namer, keeper);
            })?
        };
        let PipelineOptions { window, log: part, labels, pods, .. } = options;
        let window = ProcessorOptions { window, part, labels, pods };
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

fn name_windows(parts: &Receiver<ToName>, mut namer: Namer, mut keeper: Keeper) {
    while let Ok(message) = parts.recv() {
        match message {
            ToName::Stacks(stacks) => namer.walk(stacks),
            ToName::Part { part, account, closes } => {
                let tally = namer.add(part);
                keeper.part(&mut namer, account, &tally, closes);
            }
        }
    }
}
