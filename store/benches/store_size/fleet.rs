//! A made-up fleet: services with call trees of their own, the same on every host, sampled at random.
//!
//! Each service has some thousand functions. A stack is a walk down from its entry: at each function a few callees, the
//! first of them far more likely than the last, as programs have hot paths and long tails. Over an hour of all hosts
//! some 300,000 stacks are seen, 25 frames deep, which is what the trials had that the store's format is built on.

use rustc_hash::FxHashMap;
use store::model::*;

pub(crate) const HOSTS: u32 = 20;
pub(crate) const SERVICES: u32 = 20;
/// On each host, of all its services together.
pub(crate) const SAMPLES_PER_SECOND: u64 = 100;
const THREADS: u64 = 8;
const PERIOD_NS: i64 = 10_000_000;
/// Frames that all stacks of a service begin with.
const COMMON_DEPTH: u32 = 8;
const MAX_DEPTH: u32 = 64;

/// One sample: who, and a stack by its functions from the root.
pub(crate) struct Drawn {
    host: u32,
    service: u32,
    thread: u32,
    exact: Exact,
    stack: u64,
    path: Vec<u32>,
}

/// The fleet and its dice.
pub(crate) struct Fleet {
    random: u64,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self { random: 1 }
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.random) % limit
    }

    /// The samples of ten seconds.
    pub(crate) fn draw(&mut self) -> Vec<Drawn> {
        let mut drawn = Vec::new();
        for host in 0..HOSTS {
            for _ in 0..SAMPLES_PER_SECOND * 10 {
                let service = self.below(u64::from(SERVICES)) as u32;
                let thread = self.below(THREADS) as u32;
                let exact = Exact { offset_ms: self.below(10_000) as u16, cpu: self.below(4) as u16 };
                let (stack, path) = self.stack(service);
                drawn.push(Drawn { host, service, thread, exact, stack, path });
            }
        }
        drawn
    }

    /// A walk down a service's call tree: functions by number, and a number for the whole.
    fn stack(&mut self, service: u32) -> (u64, Vec<u32>) {
        let mut path = Vec::with_capacity(32);
        let mut at = mix(u64::from(service) + 1);
        for depth in 0..MAX_DEPTH {
            // The callee of rank r is taken half as often as that of rank r - 1, among up to eight.
            let callees = if depth < COMMON_DEPTH { 1 } else { 1 + mix(at ^ 7) % 8 };
            let rank = u64::from(self.below(1 << 16).trailing_zeros()) % callees;
            at = mix(at.wrapping_mul(31).wrapping_add(rank + 1));
            // Most functions belong to the service, some to libraries that all share.
            let is_shared = depth > COMMON_DEPTH && at.is_multiple_of(5);
            path.push(if is_shared {
                (at >> 8) as u32 % 3000
            } else {
                10_000 + service * 3000 + (at >> 8) as u32 % 3000
            });
            if depth > COMMON_DEPTH && self.below(100) < 6 {
                break;
            }
        }
        (at, path)
    }

    /// The samples as a profile.
    pub(crate) fn window(&self, drawn: &[Drawn], start_ms: i64) -> Profile {
        let mut b = ProfileBuilder::default();
        let status = b.string(STATUS_COMPLETE);
        let threads: Vec<_> = (0..THREADS).map(|n| b.string(&format!("worker-{n}"))).collect();
        let mut series: FxHashMap<(u32, u32), SeriesId> = FxHashMap::default();
        let mut frames: FxHashMap<u32, FrameId> = FxHashMap::default();
        let mut stacks: FxHashMap<(u32, u64), NodeId> = FxHashMap::default();
        for sample in drawn {
            let who = (sample.service, sample.host);
            let series = *series.entry(who).or_insert_with(|| series_of(&mut b, sample.service, sample.host));
            let node = *stacks.entry((sample.service, sample.stack)).or_insert_with(|| {
                sample.path.iter().fold(NodeId::ROOT, |node, function| {
                    let frame = *frames.entry(*function).or_insert_with(|| frame_of(&mut b, *function));
                    b.child(node, frame)
                })
            });
            let pid = 1000 + sample.service * 7 + sample.host * 1000;
            let key = RowKey {
                series,
                node,
                pid,
                tid: pid + sample.thread,
                thread: threads[sample.thread as usize],
                status,
                time_ms: start_ms,
            };
            b.add(key, 1, PERIOD_NS, &[sample.exact]);
        }
        for host in 0..HOSTS {
            let host = b.string(&format!("host-{host:02}"));
            for (counter, value) in
                [("samples_taken", SAMPLES_PER_SECOND * 10), ("samples_stored", SAMPLES_PER_SECOND * 10)]
            {
                let counter = b.string(counter);
                b.account(start_ms, host, counter, value);
            }
        }
        b.finish(start_ms, start_ms + crate::WINDOW_MS)
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

fn frame_of(b: &mut ProfileBuilder, function: u32) -> FrameId {
    let (owner, binary) = match function {
        0..10_000 => ("std::shared".to_owned(), "/usr/lib/libshared.so.1".to_owned()),
        _ => {
            let service = (function - 10_000) / 3000;
            (format!("service_{service:02}"), format!("/opt/service-{service:02}/bin/server"))
        }
    };
    let module = ["http", "storage::index", "codec::json", "scheduler", "net::tls"][function as usize % 5];
    let name = format!("{owner}::{module}::Handler<{}>::process_{function}", mix(u64::from(function)) % 97);
    let (path, build_id) = (b.string(&binary), b.string(&format!("{:016x}", mix(binary.len() as u64))));
    let frame = Frame {
        kind: FrameKind::Native,
        unwound: Unwound::Table,
        function: b.string(&name),
        system_name: b.string(&format!("_ZN{}E", name.replace("::", "3"))),
        file: b.string(&format!("src/{}.rs", module.replace("::", "/"))),
        line: function % 2000,
        binary: Some(b.binary(Binary { path, build_id })),
        address: 0x1000 + u64::from(function) * 160 + mix(u64::from(function)) % 100,
    };
    b.frame(frame)
}

fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
