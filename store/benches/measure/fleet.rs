//! A made-up fleet: services with call trees of their own, the same on every host, sampled at random.
//!
//! Each service has some thousand functions and 15,000 stacks, 25 frames deep, which are walks down from its entry: at each
//! function a few callees, the first of them far more likely than the last, as programs have hot paths and long tails. A new
//! stack shares its beginning with an earlier one, and adds five nodes to the tree, as builds of real programs do
//! (measured: 5.2 to 6.3). The n-th of them is sampled in proportion to 1/n. So a fleet of 20 services has 300,000 stacks, and an hour of it nearly
//! all of them, which is what the trials had that the store's format is built on.

use rustc_hash::{FxHashMap, FxHashSet};
use store::model::*;

pub(crate) const HOSTS: u32 = 20;
pub(crate) const SERVICES: u32 = 20;
/// On each host, of all its services together.
pub(crate) const SAMPLES_PER_SECOND: u64 = 100;
const STACKS_PER_SERVICE: usize = 15_000;
const FUNCTIONS_PER_SERVICE: u64 = 3000;
const THREADS: u64 = 8;
const PERIOD_NS: i64 = 10_000_000;
/// Rows begin at multiples of it, as the agent's do.
const BUCKET_MS: i64 = 10_000;
/// Frames that all stacks of a service begin with.
const COMMON_DEPTH: u32 = 8;
const MAX_DEPTH: u32 = 64;

/// One sample: who, when, and which of the service's stacks.
pub(crate) struct Drawn {
    host: u32,
    service: u32,
    thread: u32,
    stack: u32,
    cpu: u16,
    /// Milliseconds since the start of the window.
    at_ms: u32,
}

/// The fleet and its dice.
pub(crate) struct Fleet {
    random: u64,
    hosts: u32,
    /// On each host.
    per_second: u64,
    functions: Vec<Function>,
    /// By service: its stacks by their functions from the root, the most frequent first.
    stacks: Vec<Vec<Box<[u32]>>>,
    /// By stack: the share of samples up to and with it.
    shares: Vec<f64>,
}

impl Fleet {
    /// So many hosts with so many samples a second each.
    pub(crate) fn new(hosts: u32, per_second: u64) -> Self {
        let all = 10_000 + SERVICES * FUNCTIONS_PER_SERVICE as u32;
        let functions = (0..all).map(Function::new).collect();
        let mut fleet =
            Self { random: 1, hosts, per_second, functions, stacks: Vec::new(), shares: Vec::new() };
        fleet.stacks = (0..SERVICES).map(|service| fleet.stacks_of(service)).collect();
        let mut sum = 0.0;
        fleet.shares.extend((1..=STACKS_PER_SERVICE).map(|n| {
            sum += 1.0 / n as f64;
            sum
        }));
        fleet.shares.iter_mut().for_each(|share| *share /= sum);
        fleet
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random) % limit
    }

    fn stacks_of(&mut self, service: u32) -> Vec<Box<[u32]>> {
        let mut known = FxHashSet::default();
        let mut stacks: Vec<Box<[u32]>> = Vec::with_capacity(STACKS_PER_SERVICE);
        while stacks.len() < STACKS_PER_SERVICE {
            let shared = match stacks.len() as u64 {
                0 => Vec::new(),
                known => {
                    let other: &[u32] = &stacks[self.below(known) as usize];
                    // Some frames are left off at its end, most often few.
                    let left_off = 1 + self.below(1 << 16).trailing_ones() as usize * 3;
                    other[..other.len().saturating_sub(left_off).max(COMMON_DEPTH as usize)].to_vec()
                }
            };
            let stack = self.walk(service, shared);
            if known.insert(stack.clone()) {
                stacks.push(stack);
            }
        }
        stacks
    }

    /// A walk down a service's call tree, on from a path: functions by number.
    fn walk(&mut self, service: u32, mut path: Vec<u32>) -> Box<[u32]> {
        let is_first = path.is_empty();
        let mut at =
            path.iter().fold(mix(u64::from(service) + 1), |at, function| mix(at ^ u64::from(*function)));
        for depth in path.len() as u32..MAX_DEPTH {
            // The callee of rank r is taken half as often as that of rank r - 1, among up to eight.
            let callees = if depth < COMMON_DEPTH { 1 } else { 1 + mix(at ^ 7) % 8 };
            let rank = u64::from(self.below(1 << 16).trailing_zeros()) % callees;
            at = mix(at.wrapping_mul(31).wrapping_add(rank + 1));
            // Most functions belong to the service, some to libraries that all share.
            let is_shared = depth > COMMON_DEPTH && at.is_multiple_of(5);
            let own = ((at >> 8) % FUNCTIONS_PER_SERVICE) as u32;
            path.push(if is_shared { own } else { 10_000 + service * FUNCTIONS_PER_SERVICE as u32 + own });
            if depth > COMMON_DEPTH && self.below(100) < if is_first { 12 } else { 20 } {
                break;
            }
        }
        path.into()
    }

    /// The samples of a window.
    pub(crate) fn draw(&mut self, window_ms: i64) -> Vec<Drawn> {
        let each = self.per_second * window_ms.unsigned_abs() / 1000;
        let mut drawn = Vec::with_capacity((u64::from(self.hosts) * each) as usize);
        for host in 0..self.hosts {
            for _ in 0..each {
                let service = self.below(u64::from(SERVICES)) as u32;
                let share = self.below(1 << 53) as f64 / (1u64 << 53) as f64;
                let stack = self.shares.partition_point(|upto| *upto <= share).min(STACKS_PER_SERVICE - 1);
                drawn.push(Drawn {
                    host,
                    service,
                    thread: self.below(THREADS) as u32,
                    stack: stack as u32,
                    cpu: self.below(4) as u16,
                    at_ms: self.below(window_ms.unsigned_abs()) as u32,
                });
            }
        }
        drawn
    }

    /// The samples with what they need in the order in which it first comes.
    pub(crate) fn found(&self, drawn: &[Drawn]) -> Found {
        let mut found = Found { hosts: self.hosts, per_second: self.per_second, ..Found::default() };
        let mut series: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        let mut frames: FxHashMap<u32, u32> = FxHashMap::default();
        let mut stacks: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for sample in drawn {
            let who = (sample.service, sample.host);
            let series = *series.entry(who).or_insert_with(|| {
                found.series.push(who);
                found.series.len() as u32 - 1
            });
            let stack = *stacks.entry((sample.service, sample.stack)).or_insert_with(|| {
                let path = &self.stacks[sample.service as usize][sample.stack as usize];
                found.path.extend(path.iter().map(|function| {
                    *frames.entry(*function).or_insert_with(|| {
                        found.functions.push((*function, self.functions[*function as usize].clone()));
                        found.functions.len() as u32 - 1
                    })
                }));
                found.stack_ends.push(found.path.len());
                found.stack_ends.len() as u32 - 1
            });
            let pid = 1000 + sample.service * 7 + sample.host * 1000;
            let (thread, cpu, at_ms) = (sample.thread, sample.cpu, sample.at_ms);
            found.samples.push(FoundSample { series, stack, pid, thread, cpu, at_ms });
        }
        found
    }

    /// The samples as a profile.
    pub(crate) fn window(&self, drawn: &[Drawn], start_ms: i64, window_ms: i64) -> Profile {
        self.found(drawn).window(start_ms, window_ms)
    }
}

/// Samples of a window, and beside them what they need, each series, stack and function once: what naming has in hand.
#[derive(Default)]
pub(crate) struct Found {
    hosts: u32,
    per_second: u64,
    samples: Vec<FoundSample>,
    /// Service and host.
    series: Vec<(u32, u32)>,
    /// Of each stack: where its functions end in `path`.
    stack_ends: Vec<usize>,
    /// Functions of the stacks, from the root: places in `functions`.
    path: Vec<u32>,
    functions: Vec<(u32, Function)>,
}

struct FoundSample {
    series: u32,
    stack: u32,
    pid: u32,
    thread: u32,
    cpu: u16,
    at_ms: u32,
}

impl Found {
    /// The samples as a profile.
    pub(crate) fn window(&self, start_ms: i64, window_ms: i64) -> Profile {
        let mut b = ProfileBuilder::default();
        let status = b.string(STATUS_COMPLETE);
        let threads: Vec<_> = (0..THREADS).map(|n| b.string(&format!("worker-{n}"))).collect();
        // Each comes first where it is needed first, so that the next one is always that after the last.
        let (mut series, mut frames, mut stacks) = (Vec::new(), Vec::new(), Vec::new());
        for sample in &self.samples {
            if sample.series as usize == series.len() {
                let (service, host) = self.series[series.len()];
                series.push(series_of(&mut b, service, host));
            }
            if sample.stack as usize == stacks.len() {
                let start = stacks.len().checked_sub(1).map_or(0, |last: usize| self.stack_ends[last]);
                let path = &self.path[start..self.stack_ends[stacks.len()]];
                let node = path.iter().fold(NodeId::ROOT, |node, function| {
                    if *function as usize == frames.len() {
                        let (number, function) = &self.functions[frames.len()];
                        frames.push(function.frame(&mut b, *number));
                    }
                    b.child(node, frames[*function as usize])
                });
                stacks.push(node);
            }
            let at_ms = i64::from(sample.at_ms);
            let key = RowKey {
                series: series[sample.series as usize],
                node: stacks[sample.stack as usize],
                pid: sample.pid,
                tid: sample.pid + sample.thread,
                thread: threads[sample.thread as usize],
                status,
                time_ms: start_ms + at_ms - at_ms % BUCKET_MS,
            };
            let exact = Exact { offset_ms: (at_ms % BUCKET_MS) as u16, cpu: sample.cpu };
            b.add(key, 1, PERIOD_NS, &[exact]);
        }
        let each = self.per_second * window_ms.unsigned_abs() / 1000;
        for host in 0..self.hosts {
            let host = b.string(&format!("host-{host:02}"));
            for counter in ["samples_taken", "samples_stored"] {
                let counter = b.string(counter);
                b.account(start_ms, host, counter, each);
            }
        }
        b.finish(start_ms, start_ms + window_ms)
    }
}

fn series_of(b: &mut ProfileBuilder, service: u32, host: u32) -> SeriesId {
    let labels = [
        ("event", "cpu".to_owned()),
        ("host", format!("host-{host:02}")),
        ("process", format!("service-{service:02}")),
        ("exe", format!("/opt/service-{service:02}/bin/server")),
        ("cgroup", format!("/system.slice/service-{service:02}.service")),
    ];
    let labels = labels.iter().map(|(name, value)| (b.string(name), b.string(value))).collect();
    b.cpu_series(labels, PERIOD_NS)
}

/// A function as symbol tables and debug info have it.
#[derive(Clone)]
struct Function {
    binary: String,
    build_id: String,
    name: String,
    system_name: String,
    file: String,
}

impl Function {
    fn new(function: u32) -> Self {
        let (owner, binary) = match function {
            0..10_000 => ("std::shared".to_owned(), "/usr/lib/libshared.so.1".to_owned()),
            _ => {
                let service = (function - 10_000) / FUNCTIONS_PER_SERVICE as u32;
                (format!("service_{service:02}"), format!("/opt/service-{service:02}/bin/server"))
            }
        };
        let module =
            ["http", "storage::index", "codec::json", "scheduler", "net::tls"][function as usize % 5];
        let name =
            format!("{owner}::{module}::Handler<{}>::process_{function}", mix(u64::from(function)) % 97);
        Self {
            build_id: format!("{:016x}", mix(binary.len() as u64)),
            system_name: format!("_ZN{}E", name.replace("::", "3")),
            file: format!("src/{}.rs", module.replace("::", "/")),
            binary,
            name,
        }
    }

    fn frame(&self, b: &mut ProfileBuilder, function: u32) -> FrameId {
        let (path, build_id) = (b.string(&self.binary), b.string(&self.build_id));
        let frame = Frame {
            kind: FrameKind::Native,
            unwound: Unwound::Table,
            function: b.string(&self.name),
            system_name: b.string(&self.system_name),
            file: b.string(&self.file),
            line: function % 2000,
            binary: Some(b.binary(Binary { path, build_id })),
            address: 0x1000 + u64::from(function) * 160 + mix(u64::from(function)) % 100,
        };
        b.frame(frame)
    }
}

fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
