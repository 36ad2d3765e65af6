// Generated stacks for the fixture server: processes with a plausible trunk, and branches from a seeded generator.

/** A small generator of numbers (mulberry32): the same seed gives the same data. */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const KERNEL = ["entry_SYSCALL_64_after_hwframe", "do_syscall_64"];
const SYSCALLS = [
  ["__x64_sys_epoll_wait", "do_epoll_wait", "ep_poll", "schedule_hrtimeout_range", "schedule", "__schedule"],
  ["__x64_sys_read", "ksys_read", "vfs_read", "new_sync_read", "sock_read_iter", "sock_recvmsg", "tcp_recvmsg"],
  ["__x64_sys_write", "ksys_write", "vfs_write", "ext4_file_write_iter", "ext4_buffered_write_iter", "copy_page_from_iter"],
  ["__x64_sys_sendto", "__sys_sendto", "sock_sendmsg", "tcp_sendmsg", "tcp_push", "__tcp_transmit_skb", "ip_queue_xmit"],
  ["__x64_sys_futex", "do_futex", "futex_wait", "futex_wait_queue"],
];
const REASONS = ["no_frame_pointer", "no_unwind_row", "depth_limit", "bad_read"];

const WORDS = ("parse read write hash lookup insert flush encode decode copy scan merge split alloc free lock wake " +
  "queue batch index page block node buffer cache table stream event timer socket request response header body plan " +
  "execute sort join filter match compile render format validate").split(" ");

/** Names that must be shown as text, whatever they hold. */
export const HOSTILE = {
  process: "<img src=x onerror=alert(1)>",
  functions: ["<script>alert(2)</script>", "bell\u0007 esc\u001b[31m nul\u0000", "rtl \u202egnp.exe", "\"quotes'&amp;;=~@", `long_${"x".repeat(10_000)}`],
};

const process = (name, exe, cores, trunk, style, extra = {}) => ({ name, exe, cores, trunk, style, ...extra });

const PROCESSES = [
  process("postgres", "/usr/lib/postgresql/15/bin/postgres", 0.62,
    ["_start", "main", "PostmasterMain", "ServerLoop", "BackendStartup", "PostgresMain", "exec_simple_query", "PortalRun", "standard_ExecutorRun"],
    { libs: ["/lib/libc.so.6", "/usr/lib/libcrypto.so.3"], inline: 0.3, case: "Exec" }, { burst: 2.4 }),
  process("python3", "/usr/bin/python3.11", 0.55,
    ["_start", "main", "Py_RunMain", "pymain_run_python", "<module>", "run_batch", "render_customer", "redact_pii"],
    { libs: ["/usr/lib/python3/lib-dynload/_sre.cpython-311-x86_64-linux-gnu.so", "/lib/libc.so.6"], script: "reports/privacy.py", inline: 0.15, case: "snake" }, { burst: 3.1 }),
  process("node", "/usr/bin/node", 0.31, ["_start", "main", "node::Start", "uv_run", "uv__io_poll"],
    { libs: ["/lib/libc.so.6", "/usr/lib/libssl.so.3"], jit: "api/server.js", inline: 0.1, case: "camel" }),
  process("nginx", "/usr/sbin/nginx", 0.27, ["_start", "main", "ngx_master_process_cycle", "ngx_worker_process_cycle", "ngx_process_events_and_timers", "ngx_epoll_process_events"],
    { libs: ["/usr/lib/libssl.so.3", "/usr/lib/libcrypto.so.3", "/usr/lib/libz.so.1"], inline: 0.2, case: "ngx" }),
  process("redis-server", "/usr/bin/redis-server", 0.2, ["_start", "main", "aeMain", "aeProcessEvents", "readQueryFromClient", "processCommand"],
    { libs: ["/lib/libc.so.6", "/usr/lib/libjemalloc.so.2"], inline: 0.25, case: "camel" }),
  process("java", "/usr/lib/jvm/bin/java", 0.18, ["start_thread", "thread_native_entry", "JavaThread::run"],
    { libs: ["/usr/lib/jvm/lib/server/libjvm.so"], jit: "com/shop/Cart.java", inline: 0.3, case: "java" }),
  process("containerd", "/usr/bin/containerd", 0.07, ["runtime.goexit", "main.main", "server.Serve"], { libs: [], inline: 0.2, case: "go" }),
  process("vesta", "/usr/bin/vesta", 0.012, ["_start", "main", "vesta::run", "agent::drain"], { libs: ["/lib/libc.so.6"], inline: 0.5, case: "rust" }),
  process("sshd", "/usr/sbin/sshd", 0.02, ["_start", "main", "server_loop2"], { libs: ["/usr/lib/libcrypto.so.3"], inline: 0.1, case: "snake" }),
  process("kworker/2:1", "", 0.03, [], { libs: [], inline: 0, case: "kernel" }),
  process("systemd-journal", "/usr/lib/systemd/systemd-journald", 0.015, ["_start", "main", "sd_event_run"], { libs: ["/lib/libc.so.6"], inline: 0, case: "snake" }),
  process(HOSTILE.process, "/bin/<script>alert(1)</script>", 0.02, ["_start", "main", ...HOSTILE.functions], { libs: [], inline: 0, case: "snake" }),
  ...Array.from({ length: 9 }, (_, i) => process(`cron-job-${i}`, "/bin/sh", 0.004, ["_start", "main", "evaltree"], { libs: [], inline: 0, case: "snake" })),
];

const NAMING = {
  Exec: (a, b) => `Exec${a[0].toUpperCase()}${a.slice(1)}${b[0].toUpperCase()}${b.slice(1)}`,
  snake: (a, b) => `${a}_${b}`,
  camel: (a, b) => `${a}${b[0].toUpperCase()}${b.slice(1)}`,
  ngx: (a, b) => `ngx_http_${a}_${b}`,
  java: (a, b) => `com.shop.${b[0].toUpperCase()}${b.slice(1)}.${a}`,
  go: (a, b) => `${b}.(*Server).${a}`,
  rust: (a, b) => `vesta::${a}::${b}`,
  kernel: (a, b) => `${a}_${b}`,
};

function buildProcess(spec, index) {
  const next = random(1000 + index * 77);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const stacks = [];
  const name = () => NAMING[spec.style.case](pick(WORDS), pick(WORDS));
  const own = (depth) => {
    const { script, jit, libs, inline } = spec.style;
    const roll = next();
    if (roll < inline) return { kind: "inlined", name: name(), binary: spec.exe, file: "src/core.c", line: 40 + depth };
    if (script && depth < 6 && roll < 0.8) return { kind: "interpreted", name: name(), binary: script, file: script, line: 20 + depth * 3 };
    if (jit && roll < 0.75) return { kind: "jit", name: name(), binary: jit, file: jit, line: 10 + depth };
    if (libs.length > 0 && roll > 0.86) return { kind: "native", name: name(), binary: pick(libs) };
    return { kind: "native", name: name(), binary: spec.exe, file: "src/main.c", line: 100 + depth };
  };
  const trunk = spec.trunk.map((fn, depth) => {
    const script = spec.style.script && depth >= 4;
    return { kind: script ? "interpreted" : "native", name: fn, binary: script ? spec.style.script : spec.exe,
      file: script ? spec.style.script : "src/main.c", line: 10 + depth };
  });
  const kernelTail = () => [...KERNEL, ...pick(SYSCALLS)].map((fn) => ({ kind: "kernel", name: fn, binary: "[kernel]" }));
  const grow = (path, weight, depth) => {
    const leaf = depth > 5 + next() * 16 || weight < 3;
    const self = leaf ? weight : weight * next() * 0.12;
    if (self > 0) {
      const roll = next();
      let frames = roll < 0.35 && spec.style.case !== "kernel" ? [...path, ...kernelTail()] : path;
      let reason = "";
      if (next() < 0.03) {
        reason = pick(REASONS);
        frames = [{ kind: "truncated", name: reason }, ...frames.slice(-4)];
      }
      stacks.push({ frames, weight: self, reason });
    }
    if (leaf) return;
    let rest = weight - self;
    const children = 1 + Math.floor(next() * 3.4);
    for (let i = 0; i < children; i++) {
      const part = i === children - 1 ? rest : rest * (0.35 + next() * 0.4);
      rest -= part;
      const frame = spec.style.case === "kernel" ? { kind: "kernel", name: name(), binary: "[kernel]" } : own(depth);
      if (part >= 1) grow([...path, frame], part, depth + 1);
    }
  };
  grow(trunk, 12_000 * Math.max(0.05, spec.cores), 0);
  return {
    labels: { process: spec.name, thread: spec.name, exe: spec.exe, host: "web-01", event: "cpu-clock", status: "complete",
      pid: String(400 + index * 13), tid: String(400 + index * 13), cgroup: `/system.slice/${spec.name}.service` },
    cores: spec.cores, burst: spec.burst ?? 0, seed: 7919 * (index + 1), stacks,
    weight: stacks.reduce((sum, stack) => sum + stack.weight, 0),
  };
}

/** All processes with their stacks. */
export function buildStacks() {
  return { processes: PROCESSES.map(buildProcess), reasons: REASONS };
}
