//! Profiles made up from a seed, and a form of them that does not hang on handles.

use store::model::*;

/// 2026-01-31T12:00:00Z, the start of an hour and of a chunk.
pub(crate) const NOON: i64 = 1_769_860_800_000;
pub(crate) const PERIOD: i64 = 10_101_010;

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

/// A window of ten seconds from `start_ms` with about `rows` rows, every field in use.
pub(crate) fn window(seed: u64, start_ms: i64, rows: usize) -> Profile {
    window_of("web-01", seed, start_ms, rows)
}

/// The same of a host.
pub(crate) fn window_of(host: &str, seed: u64, start_ms: i64, rows: usize) -> Profile {
    let mut random = Random(seed);
    let mut b = ProfileBuilder::default();
    let frames = frames(&mut b);
    let series: Vec<_> = (0..5).map(|n| series(&mut b, n, host)).collect();
    let statuses = ["complete", "no_frame_pointer", "depth_limit"].map(|s| b.string(s));
    let threads = ["", "main", "worker-1", "tokio-runtime-w", "日本語"].map(|s| b.string(s));
    for _ in 0..rows {
        let mut node = NodeId::ROOT;
        for _ in 0..random.below(12) {
            node = b.child(node, *random.pick(&frames));
        }
        let pid = *random.pick(&[0, 1, 4711, 4_194_304]);
        let (series, period) = *random.pick(&series);
        let key = RowKey {
            series,
            node,
            pid,
            tid: pid + random.below(3) as u32,
            thread: *random.pick(&threads),
            status: *random.pick(&statuses),
            time_ms: start_ms,
        };
        let samples = 1 + random.below(6);
        let mut exact: Vec<_> = (0..samples)
            .map(|_| Exact { offset_ms: random.below(10_000) as u16, cpu: random.below(128) as u16 })
            .collect();
        if random.below(5) == 0 {
            exact.clear();
        }
        b.add(key, samples, samples as i64 * period, &exact);
    }
    let host = b.string(host);
    for counter in ["samples_taken", "samples_stored", "lost_ring_full", "agent_cpu_ns"] {
        let counter = b.string(counter);
        b.account(start_ms, host, counter, random.below(1000));
    }
    b.finish(start_ms, start_ms + 10_000)
}

/// A series and its period. The last is of another type of values.
fn series(b: &mut ProfileBuilder, n: usize, host: &str) -> (SeriesId, i64) {
    let names = ["redis-server", "nginx", "", "name \"with\" quotes\n", "java"];
    let mut labels = vec![
        ("event", if n == 4 { "alloc_space" } else { "cpu-clock" }.to_owned()),
        ("host", host.to_owned()),
        ("process", names[n].to_owned()),
        ("cgroup", format!("/system.slice/{n}.service")),
    ];
    if n > 0 {
        labels.push(("exe", format!("/usr/bin/{n}")));
        labels.push(("team", "blau".to_owned()));
        labels.push(("zone", format!("z{n}")));
    }
    let labels = labels.iter().map(|(name, value)| (b.string(name), b.string(value))).collect();
    if n < 4 {
        return (b.cpu_series(labels, PERIOD), PERIOD);
    }
    let unit = b.string("bytes");
    let period = Period { every: 524_288, event: b.string("space"), unit };
    (b.series(Series { labels, unit, period }), period.every)
}

fn frames(b: &mut ProfileBuilder) -> Vec<FrameId> {
    let binaries: Vec<_> =
        [("/usr/bin/redis-server", "c0ffee"), ("[kernel]", ""), ("/lib/libc.so.6", "12ab")]
            .map(|(path, id)| (b.string(path), b.string(id)))
            .map(|(path, build_id)| b.binary(Binary { path, build_id }))
            .into();
    (0..40)
        .map(|n: usize| {
            let function = b.string(&format!("namespace::function_{}<T, U>", n % 23));
            let system_name =
                if n.is_multiple_of(3) { StringId::EMPTY } else { b.string(&format!("_ZN{n}")) };
            let file = if n.is_multiple_of(4) { StringId::EMPTY } else { b.string(&format!("src/{n}.c")) };
            b.frame(Frame {
                kind: FrameKind::ALL[n % FrameKind::ALL.len()],
                unwound: Unwound::ALL[n % Unwound::ALL.len()],
                function,
                system_name,
                file,
                line: if n.is_multiple_of(7) { u32::MAX } else { n as u32 },
                binary: (!n.is_multiple_of(5)).then(|| binaries[n % binaries.len()]),
                address: if n.is_multiple_of(6) { 0xffff_ffff_8100_0000 + n as u64 } else { n as u64 * 16 },
            })
        })
        .collect()
}

/// Everything a profile says, without its handles, in a fixed order.
pub(crate) fn plain(p: &Profile) -> Vec<String> {
    let mut lines: Vec<_> = p
        .rows
        .iter()
        .map(|row| {
            let series = p.series(row.key.series);
            let labels: Vec<_> = series.labels.iter().map(|(n, v)| (p.text(*n), p.text(*v))).collect();
            let stack: Vec<_> =
                p.stacks.leaf_to_root(row.key.node).map(|id| plain_frame(p, p.frame(id))).collect();
            let RowKey { pid, tid, time_ms, .. } = row.key;
            let (thread, status) = (p.text(row.key.thread), p.text(row.key.status));
            let exact: Vec<_> = p.exact_of(row).iter().map(|e| (e.offset_ms, e.cpu)).collect();
            format!(
                "{time_ms} {labels:?} {}, {} {} {} {pid} {tid} {thread} {status} {} {} {exact:?} {stack:?}",
                p.text(series.unit),
                series.period.every,
                p.text(series.period.event),
                p.text(series.period.unit),
                row.samples,
                row.value
            )
        })
        .collect();
    lines.extend(
        p.accounts
            .iter()
            .map(|a| format!("{} {} {} {}", a.time_ms, p.text(a.host), p.text(a.counter), a.value)),
    );
    lines.sort();
    lines
}

pub(crate) fn plain_frame(p: &Profile, f: &Frame) -> String {
    let binary = f.binary.map(|id| (p.text(p.binary(id).path), p.text(p.binary(id).build_id)));
    let names = [f.function, f.system_name, f.file].map(|id| p.text(id));
    format!("{:?} {:?} {names:?} {} {binary:?} {:x}", f.kind, f.unwound, f.line, f.address)
}

/// A profile of one process with one stack and one sample at each of these times.
pub(crate) fn at_times(bucket_ms: i64, process: &str, times: &[i64]) -> Profile {
    let mut b = ProfileBuilder::default();
    let labels = vec![(b.string("process"), b.string(process)), (b.string("event"), b.string("cpu-clock"))];
    let series = b.cpu_series(labels, PERIOD);
    let function = b.string("main");
    let frame = b.frame(Frame {
        kind: FrameKind::Native,
        unwound: Unwound::Leaf,
        function,
        system_name: function,
        file: StringId::EMPTY,
        line: 0,
        binary: None,
        address: 1,
    });
    let node = b.child(NodeId::ROOT, frame);
    let status = b.string(STATUS_COMPLETE);
    let exact: Vec<_> =
        times.iter().map(|time| Exact { offset_ms: (time - bucket_ms) as u16, cpu: 0 }).collect();
    let key = RowKey { series, node, pid: 7, tid: 8, thread: StringId::EMPTY, status, time_ms: bucket_ms };
    b.add(key, times.len() as u64, times.len() as i64 * PERIOD, &exact);
    b.finish(bucket_ms, bucket_ms + 10_000)
}
