//! Profiles for tests: a few by hand, many by a small generator.

use store::model::{
    Binary, Frame, FrameId, FrameKind, NodeId, Profile, ProfileBuilder, RowKey, STATUS_COMPLETE, StringId,
    Unwound,
};

/// Start of every profile here.
pub(crate) const START_MS: i64 = 1_700_000_000_000;
/// What one sample stands for, at 99 Hz.
pub(crate) const PERIOD_NS: i64 = 10_101_010;

/// Who and how much: the rest of a sample beside its stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) process: &'a str,
    pub(crate) exe: &'a str,
    pub(crate) thread: &'a str,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) status: &'a str,
    pub(crate) time_ms: i64,
}

pub(crate) const REDIS: Who<'static> = Who {
    process: "redis-server",
    exe: "/usr/bin/app",
    thread: "io_thd_1",
    pid: 7,
    tid: 8,
    status: STATUS_COMPLETE,
    time_ms: START_MS,
};

/// A frame by its parts: (kind, function, binary, address).
pub(crate) type Part<'a> = (FrameKind, &'a str, &'a str, u64);

/// A native function of `/usr/bin/app`, each name at an address of its own.
pub(crate) fn native(function: &str) -> Part<'_> {
    let address =
        function.bytes().fold(0x1000, |hash: u64, byte| (hash * 31 + u64::from(byte)) & 0xffff_ffff);
    (FrameKind::Native, function, "/usr/bin/app", address)
}

/// A profile under construction from plain texts.
#[derive(Default)]
pub(crate) struct Maker {
    pub(crate) builder: ProfileBuilder,
}

impl Maker {
    pub(crate) fn frame(&mut self, (kind, function, binary, address): Part<'_>) -> FrameId {
        let b = &mut self.builder;
        let binary = (!binary.is_empty()).then(|| {
            let path = b.string(binary);
            let build_id = b.string(&format!("{:040x}", binary.len()));
            b.binary(Binary { path, build_id })
        });
        let synthetic = matches!(kind, FrameKind::Inlined | FrameKind::Truncated);
        let frame = Frame {
            kind,
            unwound: if synthetic { Unwound::Synthetic } else { Unwound::FramePointer },
            function: b.string(function),
            system_name: b.string(&format!("_Z{function}")),
            file: if synthetic { StringId::EMPTY } else { b.string("src/app.c") },
            line: (address % 500) as u32,
            binary,
            address,
        };
        b.frame(frame)
    }

    /// Adds samples of a stack, outermost caller first.
    pub(crate) fn stack(&mut self, who: Who<'_>, stack: &[Part<'_>], samples: u64) -> &mut Self {
        let mut node = NodeId::ROOT;
        for part in stack {
            let frame = self.frame(*part);
            node = self.builder.child(node, frame);
        }
        let b = &mut self.builder;
        let labels = [("process", who.process), ("exe", who.exe), ("event", "cpu-clock"), ("host", "web-01")];
        let labels = labels.map(|(name, value)| (b.string(name), b.string(value))).to_vec();
        let series = b.cpu_series(labels, PERIOD_NS);
        let key = RowKey {
            series,
            node,
            pid: who.pid,
            tid: who.tid,
            thread: b.string(who.thread),
            status: b.string(who.status),
            time_ms: who.time_ms,
        };
        b.add(key, samples, samples as i64 * PERIOD_NS, &[]);
        self
    }

    /// Adds to a counter of the agent.
    pub(crate) fn account(&mut self, counter: &str, value: u64) -> &mut Self {
        let (host, counter) = (self.builder.string("web-01"), self.builder.string(counter));
        self.builder.account(START_MS, host, counter, value);
        self
    }

    /// A profile of ten seconds.
    pub(crate) fn finish(&mut self) -> Profile {
        std::mem::take(&mut self.builder).finish(START_MS, START_MS + 10_000)
    }
}

/// A profile of native stacks of one process.
pub(crate) fn profile(stacks: &[(&[&str], u64)]) -> Profile {
    let mut maker = Maker::default();
    for (stack, samples) in stacks {
        let parts: Vec<_> = stack.iter().map(|name| native(name)).collect();
        maker.stack(REDIS, &parts, *samples);
    }
    maker.finish()
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A profile of many processes, threads and kinds of frames, with names that try to break formats.
pub(crate) fn generated(seed: u64, stacks: usize) -> Profile {
    const NAMES: [&str; 9] = [
        "main",
        "std::vec<int; 3>::push",
        "parse 12",
        "\u{1f525} hot",
        "# note",
        "a\nb",
        "<&T as Fn>::call",
        "x",
        "[app+0x12]",
    ];
    const BINARIES: [&str; 4] = ["/usr/bin/app", "/usr/lib/libc.so.6", "[kernel]", ""];
    let mut numbers = Numbers(seed | 1);
    let mut maker = Maker::default();
    for _ in 0..stacks {
        let process = ["redis-server", "python3", "kworker/0:1", ""][numbers.below(4) as usize];
        let complete = numbers.below(3) > 0;
        let mut parts = Vec::new();
        if !complete {
            parts.push((FrameKind::Truncated, "no_frame_pointer", "", 0));
        }
        for _ in 0..numbers.below(40) {
            let binary = BINARIES[numbers.below(4) as usize];
            let address = numbers.below(64) * 16;
            let kind = match binary {
                "[kernel]" => FrameKind::Kernel,
                "" => FrameKind::Jit,
                _ => FrameKind::Native,
            };
            parts.push((kind, NAMES[numbers.below(9) as usize], binary, address));
            for _ in 0..numbers.below(3) {
                parts.push((FrameKind::Inlined, NAMES[numbers.below(9) as usize], binary, address));
            }
        }
        let pid = numbers.below(5) as u32;
        let who = Who {
            process,
            exe: "/usr/bin/app",
            thread: ["", "worker 1", "io"][numbers.below(3) as usize],
            pid,
            tid: pid * 10 + numbers.below(3) as u32,
            status: if complete { STATUS_COMPLETE } else { "no_frame_pointer" },
            time_ms: START_MS + numbers.below(10) as i64 * 1000,
        };
        maker.stack(who, &parts, 1 + numbers.below(20));
    }
    maker.account("samples_taken", 12).account("lost_ring_full", 2).finish()
}
