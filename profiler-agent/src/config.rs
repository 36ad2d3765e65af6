//! Settings of `vesta run`: flags over environment (both by clap) over one TOML file over defaults.

mod kubernetes;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    cli::{self, Bytes, KubernetesArgs, LabelArgs, ObjectStoreArgs, RunArgs, symbols::DebuginfodArgs},
    debuginfod::{DebuginfodOptions, is_usable},
    processes::LabelOptions,
    unwind_tables::CacheOptions,
};
use kubernetes::KubernetesOfFile;
pub(crate) use kubernetes::KubernetesOptions;

/// Where a configuration file is looked for when none is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/vesta/vesta.toml";
/// Samples per second and CPU: near 100, but not in step with what runs 100 times a second.
pub(crate) const DEFAULT_FREQUENCY_HZ: u64 = 99;
/// Room for unwind tables in the kernel: some 24 million rows, more than a large desktop's running set.
const DEFAULT_TABLE_BYTES: u64 = 64 << 20;

/// Disk for compiled unwind tables: those of every program and library of a large desktop.
const DEFAULT_CACHE_BYTES: u64 = 256 << 20;

/// Why settings are refused.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a valid configuration: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("{path}: {key}: {message}")]
    Value { path: PathBuf, key: &'static str, message: String },
    #[error("`{0}` is no debuginfod server that this build can ask: use http:// or https://")]
    Debuginfod(String),
    #[error("Kubernetes: {0}")]
    Kubernetes(String),
    #[error("the address `{0}` is not understood: use HOST:PORT, e.g. 127.0.0.1:7171")]
    Address(String),
    #[error("the window of {0:?} is out of bounds: use 1s to 60s")]
    Window(Duration),
    #[error("to sync every {0:?} is out of bounds: use 250ms to 60s")]
    Sync(Duration),
}

/// The file's keys; they are the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    listen: Option<String>,
    frequency: Option<u64>,
    retention: Option<String>,
    retention_bytes: Option<String>,
    coarsen: Option<String>,
    window: Option<String>,
    sync: Option<String>,
    unwind_table_bytes: Option<String>,
    unwind_cache_bytes: Option<String>,
    allow_origin: Option<Vec<String>>,
    source_dir: Option<Vec<PathBuf>>,
    store: Option<String>,
    store_cache_bytes: Option<String>,
    debuginfod: Option<Vec<String>>,
    debuginfod_cache_bytes: Option<String>,
    label: Option<Vec<String>>,
    command_line: Option<bool>,
    redact: Option<Vec<String>>,
    #[serde(flatten)]
    kubernetes: KubernetesOfFile,
}

/// Longer ones make fewer small files; what they hold can be read and is safe all the same.
const DEFAULT_WINDOW: Duration = Duration::from_secs(30);
/// What a power cut may cost, and what a disk does all the time without being worn by it.
const DEFAULT_SYNC: Duration = Duration::from_secs(1);
/// A year and a month, so that a month can be compared with the same one a year ago.
const DEFAULT_RETENTION: Duration = Duration::from_secs(400 * 86_400);

/// Files fetched from object storage: a fleet's day at ten seconds, or a host's exact hour three hundred times.
const DEFAULT_STORE_CACHE_BYTES: u64 = 2 << 30;

/// Disk for fetched debug info: that of some hundred programs and libraries.
const DEFAULT_DEBUGINFOD_BYTES: u64 = 1 << 30;
/// Where elfutils' programs look for servers: addresses with spaces between.
const DEBUGINFOD_URLS: &str = "DEBUGINFOD_URLS";

/// Object storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectStoreConfig {
    /// `s3://bucket/prefix` or `file:///folder`.
    pub(crate) url: String,
    pub(crate) cache_bytes: u64,
}

/// Everything `vesta run` needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunConfig {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) frequency_hz: u64,
    pub(crate) retention: Duration,
    pub(crate) retention_bytes: u64,
    /// How exact old samples are kept.
    pub(crate) coarsen: store::Policy,
    pub(crate) window: Duration,
    /// How often what was sampled is brought to disk.
    pub(crate) sync: Duration,
    /// Bytes that unwind tables may take in the kernel.
    pub(crate) unwind_table_bytes: u64,
    /// Where compiled unwind tables are kept, if at all.
    pub(crate) unwind_cache: Option<CacheOptions>,
    /// Pages that may read exports.
    pub(crate) allow_origin: Vec<String>,
    /// Folders whose source files the page may show.
    pub(crate) source_dir: Vec<PathBuf>,
    /// Where profiles go beside the data directory, if anywhere.
    pub(crate) objects: Option<ObjectStoreConfig>,
    /// Where debug info is fetched from, if anywhere.
    pub(crate) debuginfod: Option<DebuginfodOptions>,
    /// Labels of all samples.
    pub(crate) label: Vec<(String, String)>,
    /// What is asked of processes beside their names.
    pub(crate) labels: LabelOptions,
    /// Who says what pods are called, if anyone.
    pub(crate) kubernetes: Option<KubernetesOptions>,
}

impl RunConfig {
    /// The settings of a command line and its configuration file.
    pub(crate) fn new(args: &RunArgs, file: Option<&Path>) -> Result<Self, ConfigError> {
        let (path, file) = read(file)?;
        let objects = objects_of(&args.objects, &path, &file)?;
        let said = DebuginfodOfFile::of(&file);
        let value = |key, message| ConfigError::Value { path: path.clone(), key, message };
        let span_of = |key, text: Option<String>| {
            text.map(|text| cli::span(&text).map_err(|message| value(key, message))).transpose()
        };
        let retention = span_of("retention", file.retention)?;
        let window = span_of("window", file.window)?;
        let sync = span_of("sync", file.sync)?;
        let retention_bytes = file
            .retention_bytes
            .map(|text| cli::bytes(&text).map_err(|message| value("retention_bytes", message)))
            .transpose()?;
        let coarsen =
            file.coarsen.map(|text| text.parse().map_err(|message| value("coarsen", message))).transpose()?;
        let table_bytes = file
            .unwind_table_bytes
            .map(|text| cli::table_bytes(&text).map_err(|message| value("unwind_table_bytes", message)))
            .transpose()?;
        let cache_bytes = file
            .unwind_cache_bytes
            .map(|text| cli::cache_bytes(&text).map_err(|message| value("unwind_cache_bytes", message)))
            .transpose()?;
        if let Some(hz) = file.frequency.filter(|hz| !(1..=10_000).contains(hz)) {
            return Err(value("frequency", format!("{hz} is not a whole number from 1 to 10000")));
        }
        let origins = file.allow_origin.unwrap_or_default();
        let origins: Result<Vec<_>, _> = origins.iter().map(|text| cli::origin(text)).collect();
        let origins = origins.map_err(|message| value("allow_origin", message))?;
        let labels = file.label.unwrap_or_default();
        let labels: Result<Vec<_>, _> = labels.iter().map(|text| cli::own_label(text)).collect();
        let labels = labels.map_err(|message| value("label", message))?;
        let (command_line, redact) = (file.command_line.unwrap_or(false), file.redact.unwrap_or_default());
        let listen = args.listen.clone().or(file.listen).unwrap_or_else(|| "127.0.0.1:7171".into());
        let window = args.window.or(window).map_or(DEFAULT_WINDOW, |span| span.0);
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&window) {
            return Err(ConfigError::Window(window));
        }
        let sync = args.sync.or(sync).map_or(DEFAULT_SYNC, |span| span.0);
        if !(Duration::from_millis(250)..=Duration::from_secs(60)).contains(&sync) {
            return Err(ConfigError::Sync(sync));
        }
        let data_dir = args.data_dir.clone().or(file.data_dir).unwrap_or_else(default_data_dir);
        let debuginfod = debuginfod_of(&args.debuginfod, &path, &said, &data_dir)?;
        let unwind_cache = unwind_cache(&data_dir, args.unwind_cache_bytes.or(cache_bytes));
        Ok(Self {
            data_dir,
            listen: address(&listen)?,
            frequency_hz: args.frequency.or(file.frequency).unwrap_or(DEFAULT_FREQUENCY_HZ),
            retention: args.retention.or(retention).map_or(DEFAULT_RETENTION, |span| span.0),
            retention_bytes: args.retention_bytes.or(retention_bytes).map_or(20_000_000_000, |bytes| bytes.0),
            coarsen: args.coarsen.clone().or(coarsen).unwrap_or_default(),
            window,
            sync,
            unwind_table_bytes: table_bytes_or_default(args.unwind_table_bytes.or(table_bytes)),
            unwind_cache,
            objects,
            debuginfod,
            label: if args.labels.label.is_empty() { labels } else { args.labels.label.clone() },
            labels: label_options(&args.labels, command_line, redact),
            kubernetes: kubernetes::kubernetes(&args.kubernetes, file.kubernetes, variable)?,
            allow_origin: if args.allow_origin.is_empty() { origins } else { args.allow_origin.clone() },
            source_dir: match &args.source_dir[..] {
                [] => file.source_dir.unwrap_or_default(),
                dirs => dirs.to_vec(),
            },
        })
    }
}

/// What is asked of processes, by flags, which win, and by the file.
pub(crate) fn label_options(args: &LabelArgs, command_line: bool, redact: Vec<String>) -> LabelOptions {
    let redact = if args.redact.is_empty() { redact } else { args.redact.clone() };
    // An empty word is in every name.
    let words = redact.iter().map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty());
    LabelOptions { command_line: args.command_line || command_line, redact: words.collect() }
}

/// Kubernetes, for `vesta record`: nothing is read of a file.
pub(crate) fn kubernetes_of_flags(args: &KubernetesArgs) -> Result<Option<KubernetesOptions>, ConfigError> {
    kubernetes::kubernetes(args, KubernetesOfFile::default(), variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Bytes that unwind tables may take in the kernel, unless someone said.
pub(crate) fn table_bytes_or_default(said: Option<Bytes>) -> u64 {
    said.map_or(DEFAULT_TABLE_BYTES, |bytes| bytes.0)
}

/// Where compiled unwind tables are kept in a folder; none if no bytes are allowed.
pub(crate) fn unwind_cache(parent: &Path, said: Option<Bytes>) -> Option<CacheOptions> {
    let limit_bytes = said.map_or(DEFAULT_CACHE_BYTES, |bytes| bytes.0);
    (limit_bytes > 0).then(|| CacheOptions { folder: parent.join("unwind-tables"), limit_bytes })
}

/// The data directory of `vesta query` without one: the file's, else the default.
pub(crate) fn data_dir(file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    Ok(read(file)?.1.data_dir.unwrap_or_else(default_data_dir))
}

/// Object storage, for commands beside `vesta run`.
pub(crate) fn objects(
    args: &ObjectStoreArgs,
    file: Option<&Path>,
) -> Result<Option<ObjectStoreConfig>, ConfigError> {
    let (path, file) = read(file)?;
    objects_of(args, &path, &file)
}

fn objects_of(
    args: &ObjectStoreArgs,
    path: &Path,
    file: &File,
) -> Result<Option<ObjectStoreConfig>, ConfigError> {
    let cache_bytes = file.store_cache_bytes.as_deref().map(cli::cache_bytes).transpose();
    let cache_bytes = cache_bytes.map_err(|message| {
        let key = "store_cache_bytes";
        ConfigError::Value { path: path.to_owned(), key, message }
    })?;
    let cache_bytes = args.store_cache_bytes.or(cache_bytes);
    let cache_bytes = cache_bytes.map_or(DEFAULT_STORE_CACHE_BYTES, |bytes| bytes.0);
    // An empty one turns off what the file says.
    let url = args.store.clone().or_else(|| file.store.clone()).filter(|url| !url.is_empty());
    Ok(url.map(|url| ObjectStoreConfig { url, cache_bytes }))
}

/// What the file says of debuginfod.
#[derive(Clone, Debug, Default)]
struct DebuginfodOfFile {
    urls: Option<Vec<String>>,
    cache_bytes: Option<String>,
}

impl DebuginfodOfFile {
    fn of(file: &File) -> Self {
        Self { urls: file.debuginfod.clone(), cache_bytes: file.debuginfod_cache_bytes.clone() }
    }
}

/// Debuginfod servers, for commands beside `vesta run`. What is fetched is kept in the data directory.
pub(crate) fn debuginfod(
    args: &DebuginfodArgs,
    file: Option<&Path>,
    data_dir: &Path,
) -> Result<Option<DebuginfodOptions>, ConfigError> {
    let (path, file) = read(file)?;
    debuginfod_of(args, &path, &DebuginfodOfFile::of(&file), data_dir)
}

fn debuginfod_of(
    args: &DebuginfodArgs,
    path: &Path,
    said: &DebuginfodOfFile,
    data_dir: &Path,
) -> Result<Option<DebuginfodOptions>, ConfigError> {
    let cache_bytes = said.cache_bytes.as_deref().map(cli::cache_bytes).transpose();
    let cache_bytes = cache_bytes.map_err(|message| {
        let key = "debuginfod_cache_bytes";
        ConfigError::Value { path: path.to_owned(), key, message }
    })?;
    let of_environment = || {
        let urls = std::env::var(DEBUGINFOD_URLS).unwrap_or_default();
        urls.split_ascii_whitespace().map(str::to_owned).collect()
    };
    let urls = match (&args.debuginfod[..], &said.urls) {
        ([], Some(urls)) => urls.clone(),
        ([], None) => of_environment(),
        (urls, _) => urls.to_vec(),
    };
    // An empty one turns off what the file and the environment say.
    let urls: Vec<String> = urls.into_iter().filter(|url| !url.is_empty()).collect();
    if let Some(url) = urls.iter().find(|url| !is_usable(url)) {
        return Err(ConfigError::Debuginfod(url.clone()));
    }
    let limit_bytes =
        args.debuginfod_cache_bytes.or(cache_bytes).map_or(DEFAULT_DEBUGINFOD_BYTES, |bytes| bytes.0);
    let folder = data_dir.join("debuginfod");
    let is_on = !urls.is_empty() && limit_bytes > 0;
    Ok(is_on.then_some(DebuginfodOptions { urls, folder, limit_bytes }))
}

/// How exact old samples are kept, for `vesta store compact`: as said, else as the file says, else the default.
pub(crate) fn coarsen(
    said: Option<store::Policy>,
    file: Option<&Path>,
) -> Result<store::Policy, ConfigError> {
    let (path, file) = read(file)?;
    match (said, file.coarsen) {
        (Some(policy), _) => Ok(policy),
        (None, Some(text)) => {
            text.parse().map_err(|message| ConfigError::Value { path, key: "coarsen", message })
        }
        (None, None) => Ok(store::Policy::default()),
    }
}

/// A named file must be there; the default one may be missing.
fn read(named: Option<&Path>) -> Result<(PathBuf, File), ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ConfigError::Read { path, source }),
    };
    match toml::from_str(&text) {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(ConfigError::Parse { path, message: error.to_string() }),
    }
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| ConfigError::Address(text.to_owned()))
}

fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/vesta");
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share");
    std::env::var_os("XDG_DATA_HOME").map_or_else(home, PathBuf::from).join("vesta")
}

/// What may be lost, for commands without a data directory: as the XDG base directory specification says, and the system's
/// own for root.
pub(crate) fn cache_dir() -> PathBuf {
    let root = rustix::process::geteuid().is_root();
    let given = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let default = || match std::env::var_os("HOME") {
        Some(home) if !root => PathBuf::from(home).join(".cache"),
        _ => PathBuf::from("/var/cache"),
    };
    given.unwrap_or_else(default).join("vesta")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn run(args: &[&str], file: Option<&str>) -> Result<RunConfig, ConfigError> {
        let cli = Cli::try_parse_from(["vesta", "run"].iter().chain(args)).unwrap();
        let Command::Run(args) = cli.command else { panic!("not run") };
        let kept = file.map(|text| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            file
        });
        RunConfig::new(&args, kept.as_ref().map(|file| file.path()))
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = "frequency = 49\nretention = \"2d\"\nlisten = \"127.0.0.1:9000\"\n";
        let config = run(&["--frequency", "199"], Some(file)).unwrap();
        assert_eq!((config.frequency_hz, config.retention.as_secs()), (199, 2 * 86_400));
        assert_eq!(config.listen.port(), 9000);
        assert_eq!((config.window.as_secs(), config.unwind_table_bytes), (30, 64 << 20));
        let sync = |flags: &[&str], file| run(flags, file).unwrap().sync.as_millis();
        assert_eq!((sync(&[], None), sync(&[], Some("sync = \"500ms\""))), (1000, 500));
        assert_eq!(sync(&["--sync", "250ms"], Some("sync = \"500ms\"")), 250);
        let file = "unwind_table_bytes = \"8MiB\"\n";
        assert_eq!(run(&[], Some(file)).unwrap().unwind_table_bytes, 8 << 20);
        assert_eq!(run(&["--unwind-table-bytes", "4MiB"], Some(file)).unwrap().unwind_table_bytes, 4 << 20);
        let cache = run(&["--data-dir", "/d"], None).unwrap().unwind_cache.unwrap();
        assert_eq!((cache.folder.to_str(), cache.limit_bytes), (Some("/d/unwind-tables"), 256 << 20));
        assert_eq!(run(&[], Some("unwind_cache_bytes = \"0\"")).unwrap().unwind_cache, None);
        let file = "allow_origin = [\"https://profiler.firefox.com\"]\n";
        assert_eq!(run(&[], Some(file)).unwrap().allow_origin, ["https://profiler.firefox.com"]);
        let file_of_both = "source_dir = [\"/usr/src\"]\n";
        assert_eq!(run(&[], Some(file_of_both)).unwrap().source_dir, [PathBuf::from("/usr/src")]);
        let given = run(&["--source-dir", "/a,/b", "--source-dir", "/c"], Some(file_of_both)).unwrap();
        assert_eq!(given.source_dir, ["/a", "/b", "/c"].map(PathBuf::from));
        let two = run(&["--allow-origin", "https://a.example,http://localhost:5000"], Some(file)).unwrap();
        assert_eq!(two.allow_origin, ["https://a.example", "http://localhost:5000"]);
        let objects = |flags: &[&str], file| run(flags, file).unwrap().objects;
        let file = "store = \"s3://a/b\"\nstore_cache_bytes = \"1GiB\"\n";
        let expected = |url: &str, cache_bytes| Some(ObjectStoreConfig { url: url.to_owned(), cache_bytes });
        assert_eq!(objects(&[], None), None);
        assert_eq!(objects(&[], Some(file)), expected("s3://a/b", 1 << 30));
        assert_eq!(objects(&["--store", "s3://c"], Some(file)), expected("s3://c", 1 << 30));
        assert_eq!(objects(&["--store", "", "--store-cache-bytes", "0"], Some(file)), None);
        let servers =
            |flags: &[&str], file| run(&[&["--data-dir", "/d"], flags].concat(), file).unwrap().debuginfod;
        let expected = |url: &str, limit_bytes| {
            let folder = PathBuf::from("/d/debuginfod");
            Some(DebuginfodOptions { urls: vec![url.to_owned()], folder, limit_bytes })
        };
        let file = "debuginfod = [\"http://a\"]\ndebuginfod_cache_bytes = \"5MB\"\n";
        assert_eq!(servers(&[], Some(file)), expected("http://a", 5_000_000));
        assert_eq!(servers(&["--debuginfod", "http://b/"], Some(file)), expected("http://b/", 5_000_000));
        assert_eq!(servers(&["--debuginfod", ""], Some(file)), None);
        assert_eq!(servers(&["--debuginfod-cache-bytes", "0"], Some(file)), None);
        let file = "label = [\"env=prod\"]\ncommand_line = true\nredact = [\"PIN\"]\n";
        let config = run(&[], Some(file)).unwrap();
        assert_eq!(config.label, [("env".to_owned(), "prod".to_owned())]);
        assert_eq!(config.labels, LabelOptions { command_line: true, redact: vec!["pin".to_owned()] });
        assert_eq!(run(&["--label", "env=test"], Some(file)).unwrap().label[0].1, "test");
        assert_eq!(run(&[], None).unwrap().labels, LabelOptions::default());
        let coarsen = |flags: &[&str], file| run(flags, file).unwrap().coarsen;
        assert_eq!(coarsen(&[], None), "24h=10s,7d=1m,90d=1h".parse().unwrap());
        assert_eq!(coarsen(&[], Some("coarsen = \"2d=1m\"")), "2d=1m".parse().unwrap());
        assert_eq!(coarsen(&["--coarsen", "exact"], Some("coarsen = \"2d=1m\"")), store::Policy::exact());
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        let message = |file: &str| run(&[], Some(file)).unwrap_err().to_string();
        assert!(message("frequenzy = 9").contains("frequenzy"));
        assert!(message("label = [\"pid=1\"]").contains("pid"));
        assert!(message("retention = \"soon\"").contains("retention"));
        assert!(message("coarsen = \"1d=7s\"").contains("coarsen"));
        assert!(message("frequency = 0").contains("frequency"));
        assert!(message("window = \"2m\"").contains("1s to 60s"));
        assert!(message("sync = \"100ms\"").contains("250ms to 60s"));
        assert!(message("unwind_table_bytes = \"1GiB\"").contains("1MiB to 256MiB"));
        assert!(message("allow_origin = [\"*\"]").contains("allow_origin"));
        assert!(message("store_cache_bytes = \"much\"").contains("store_cache_bytes"));
        assert!(message("debuginfod = [\"ftp://a\"]").contains("`ftp://a`"));
        assert!(message("debuginfod_cache_bytes = \"much\"").contains("debuginfod_cache_bytes"));
        assert!(message("listen = \"nowhere\"").contains("nowhere"));
        let missing = RunConfig::new(
            &match Cli::try_parse_from(["vesta", "run"]).unwrap().command {
                Command::Run(args) => args,
                _ => panic!("not run"),
            },
            Some(Path::new("/no/such/file.toml")),
        );
        assert!(missing.unwrap_err().to_string().contains("/no/such/file.toml"));
    }
}
