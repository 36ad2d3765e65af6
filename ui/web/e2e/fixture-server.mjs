// A stand-in for Vesta: serves the built page and answers the API with generated data of the documented shapes, so
// that the page can be worked on and tested without root. The same seed gives the same data. Usage:
//   node e2e/fixture-server.mjs [port] [--empty] [--hours 26]
import { createServer } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { columnsOf } from "./columns.mjs";
import { buildStacks } from "./fixture-data.mjs";
import { convert, createMarks, diff, functions, headline, heatmap } from "./fixture-questions.mjs";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
  ".woff2": "font/woff2", ".txt": "text/plain" };
const CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const PERIOD = 10_101_010;
const KINDS = ["root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated"];

/** Starts the server; resolves to `{ url, close }`. */
export function startFixture({ port = 0, empty = false, hours = 5 / 6 } = {}) {
  const stacks = buildStacks();
  const page = readPage();
  const started = Date.now() - hours * 3_600_000;
  const marks = createMarks();
  const server = createServer((request, response) => {
    answer(request, { stacks, page, started, empty, marks }).then(
      ({ status = 200, type = "application/json", body }) => {
        response.writeHead(status, { "content-type": type, "content-security-policy": CSP });
        response.end(body);
      },
      (error) => {
        response.writeHead(500, { "content-type": "application/json" });
        response.end(JSON.stringify({ error: String(error), detail: "" }));
      },
    );
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      resolve({ url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() });
    });
  });
}

async function answer(request, state) {
  const url = new URL(request.url, "http://fixture");
  const json = (value, status = 200) => ({ status, body: JSON.stringify(value) });
  if (!url.pathname.startsWith("/api/")) return file(url.pathname, state.page);
  const path = url.pathname.slice("/api/v1/".length);
  if (path === "status") return json(status(state));
  if (path === "progress") return json({ read: url.searchParams.get("question") ? 12 : null, segments: 31 });
  if (path === "programs") return json(programs());
  if (path === "programs/history") return json(programHistory(url.searchParams, state));
  const marked = await state.marks(request, path, url.searchParams);
  if (marked) return marked.body === undefined ? { status: marked.status, body: "" } : json(marked.body, marked.status);
  if (path === "convert") return json(await convert(request, url.searchParams.get("format")));
  if (path === "size") return json({ segments: 31, bytes: 1_100_000_000 });
  const selection = select(url.searchParams, state);
  if (selection.error) return json(selection.error, 400);
  if (path === "timeline") return json(timeline(selection, url.searchParams));
  if (path === "flame") {
    const { from_ms, until_ms } = status(state).data;
    const tree = flame(selection, url.searchParams);
    if (url.searchParams.get("format") !== "columns") return json(tree);
    return { type: "application/vnd.vesta.flame", body: columnsOf(tree, { from_ms, until_ms }) };
  }
  if (path === "truth") return json(truth(selection));
  if (path === "lanes") return json(lanes(selection, url.searchParams));
  if (path === "source") return json(source(selection, url.searchParams));
  const world = { flame, rate, between, lostIn, select: (params) => select(params, state), PERIOD };
  if (path === "headline") return json(headline(selection, url.searchParams, world));
  if (path === "heatmap") return json(heatmap(selection, world));
  if (path === "diff") return json(diff(selection, url.searchParams, world));
  if (path === "functions") return json(functions(selection, url.searchParams, world));
  if (path === "labels") return json({ labels: ["event", "exe", "host", "process", "status", "thread"] });
  const label = /^labels\/(.+)\/values$/.exec(path)?.[1];
  if (label) return json(values(selection, decodeURIComponent(label)));
  if (path === "query") return { type: "text/plain", body: folded(selection) };
  return json({ error: "no such path", detail: url.pathname }, 404);
}

/** The built page, read once: a build meanwhile does not pull it from under a running test. */
function readPage() {
  const names = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(names.map((entry) => {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    return [path.slice(dist.length), readFileSync(path)];
  }));
}

function file(pathname, page) {
  const name = ["/", "/compare", "/inventory", "/audit"].includes(pathname) ? "/index.html" : pathname;
  const body = page.get(name);
  if (!body) return { status: 404, type: "text/plain", body: "not found\n" };
  return { type: TYPES[extname(name)] ?? "application/octet-stream", body };
}

const watched = Date.now();

/** Two programs: one of Vesta's, which runs 99 times a second, and one that nobody measures. */
function programs() {
  const seconds = (Date.now() - watched) / 1000 + 60;
  const map = (id, name, bytes) => ({ id, name, bytes });
  return {
    now_ms: Date.now(),
    programs: [
      { id: 7, name: "sample_cpu", type: "perf_event", tag: "0123456789abcdef", loaded_ms: watched - 60_000, uid: 0, runs: Math.round(seconds * 99), run_ns: Math.round(seconds * 99 * 1900), memory_bytes: 16_384, instructions: 4200, maps: [map(3, "SAMPLES", 4_194_304), map(4, "TABLES", 67_108_864)], attached: [], holders: [{ pid: 41, name: "vesta" }], own: true },
      { id: 3, name: "<b>hid</b>\u202e", type: "tracing", tag: "fedcba9876543210", loaded_ms: null, uid: null, runs: null, run_ns: null, memory_bytes: null, instructions: null, maps: [], attached: ["tracing hid_bpf"], holders: [], own: false },
    ],
  };
}

/** What they have cost: Vesta's own calmly, one that is gone for a while. */
function programHistory(params, { started }) {
  const [from, until, step] = [Number(params.get("from")) * 1000, Number(params.get("until")) * 1000, Number(params.get("step_ms"))];
  const steps = (ns) => Array.from({ length: Math.ceil((until - from) / step) }, (_, i) => {
    const seconds = Math.max(0, Math.min(Date.now(), from + (i + 1) * step) - Math.max(started, from + i * step)) / 1000;
    return Math.round(ns(i) * seconds);
  });
  const entry = (name, tag, ns) => ({ host: "web-01", tag, name, run_ns: steps(ns) });
  return {
    from_ms: from, until_ms: until, step_ms: step, other: 0, skipped: [],
    programs: [
      entry("sample_cpu", "0123456789abcdef", (i) => 99 * 1900 * (1 + (i % 7) / 10)), entry("<i>probe</i>", "00c0ffee00c0ffee", (i) => (i > 3 && i < 12 ? 4e6 : 0)),
    ],
  };
}

function status({ started, empty, stacks }) {
  const now = Date.now();
  const taken = Math.round(((now - started) / 1000) * 260);
  return {
    version: "0.1.0", host: "web-01", now_ms: now, started_ms: started, frequency_hz: 99, event: "cpu-clock",
    window_ms: 10_000, cpus: 8, origins: ["https://profiler.firefox.com"], takes_marks: true, exact_from_ms: empty ? null : Math.max(started, now - 86_400_000),
    data: { from_ms: empty ? null : started, until_ms: empty ? null : now - 1000, segments: 30, bytes: 3_500_000, skipped: [] },
    agent: {
      samples_taken: taken, samples_stored: taken - 212, lost: { ring_full: 212 }, user_stacks: taken,
      complete: Math.round(taken * 0.97), incomplete: Object.fromEntries(stacks.reasons.map((r) => [r, 10])),
      agent_cpu_s: ((now - started) / 1000) * 0.012, bpf_ns_per_sample: 1900, rss_bytes: 38_400_000,
    },
  };
}

const MATCHER = /^\s*([a-z_]+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/;

function select(params, state) {
  const query = params.get("query") ?? "";
  const tests = [];
  const stackTests = [];
  let rest = query;
  while (rest.trim()) {
    const found = MATCHER.exec(rest);
    if (!found) {
      const at = query.length - rest.length;
      return { error: { error: "The selector is not valid", detail: `${query}\n${" ".repeat(at)}^ expected label="value"` } };
    }
    const [whole, label, operator, raw] = found;
    const value = raw.replace(/\\(.)/g, "$1");
    const positive = operator === "=" ? (v) => v === value : operator === "!=" ? (v) => v !== value
      : operator === "=~" ? (v) => new RegExp(`^(?:${value})$`).test(v) : (v) => !new RegExp(`^(?:${value})$`).test(v);
    // A process has stacks of many a status; all other labels are its own.
    if (label === "status") stackTests.push((stack) => positive(stack.reason || "complete"));
    else tests.push((labels) => positive(labels[label] ?? ""));
    rest = rest.slice(whole.length);
  }
  const time = (text, fallback) => {
    if (!text || text === "now") return text ? Date.now() : fallback;
    const [, amount, unit] = /^-(\d+)([smhd])$/.exec(text) ?? [];
    if (amount) return Date.now() - Number(amount) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[unit];
    return Math.round(Number(text) * 1000);
  };
  const until = time(params.get("until"), Date.now());
  const from = time(params.get("from"), until - 900_000);
  const start = state.empty ? until : Math.max(from, state.started);
  const end = Math.min(until, Date.now() - 1000);
  const groups = state.stacks.processes.filter((process) => tests.every((test) => test(process.labels)));
  const parts = params.getAll("part").map((text) => text.split(",").map(Number));
  const offsets = { parts, low: Number(params.get("offset_from_ms") ?? 0), high: Number(params.get("offset_until_ms") ?? 1000) };
  return { from, until, start, end, groups, state, offsets, keeps: (stack) => stackTests.every((test) => test(stack)) };
}

// One process is as calm as the others until lately, so that there is something to compare.
const RESTLESS_FROM = Date.now() / 1000 - 20 * 3600;

// Samples of a process in the second that starts at `second`: a wave, noise of a hash, bursts and a gap.
function rate(process, second) {
  const minute = Math.floor(second / 60);
  if (minute % 60 >= 41 && minute % 60 < 43) return 0;
  const noise = ((Math.imul(second ^ process.seed, 0x9e3779b1) >>> 16) % 100) / 100;
  const wave = 1 + 0.35 * Math.sin(second / (90 + (process.seed % 200)) + process.seed);
  const lately = process.labels.process !== "python3" || second > RESTLESS_FROM;
  const burst = process.burst && lately && minute % 23 >= 9 && minute % 23 < 12 ? process.burst : 1;
  return Math.floor(99 * process.cores * wave * burst * (0.8 + 0.4 * noise) + noise);
}

// The samples of a second lie at times of their own, the same ones whenever it is asked about.
export const offsetOf = (process, second, i, count) => ((Math.imul((second * 31 + i) ^ process.seed, 0x9e3779b1) >>> 16) % 400) + Math.floor((i * 600) / Math.max(1, count));

function between(process, start, end, { low, high, parts = [] } = { low: 0, high: 1000 }) {
  let sum = 0;
  const whole = low === 0 && high === 1000 && parts.length === 0;
  const isIn = (time, offset) => (parts.length ? parts.some(([from, until, least, most]) => time >= from && time < until && offset >= least && offset < most) : offset >= low && offset < high);
  for (let s = Math.ceil(start / 1000); s * 1000 < end; s++) {
    const count = rate(process, s);
    if (whole) {
      sum += count;
      continue;
    }
    for (let i = 0; i < count; i++) {
      const offset = offsetOf(process, s, i, count);
      if (isIn(s * 1000 + offset, offset)) sum++;
    }
  }
  return sum;
}

const lostIn = (start, end) => {
  let lost = 0;
  for (let s = Math.ceil(start / 1000); s * 1000 < end; s++) if (Math.floor(s / 60) % 60 === 40 && s % 60 > 20) lost += 5;
  return lost;
};

function grouped(selection, by) {
  const groups = new Map();
  for (const process of selection.groups) {
    const value = process.labels[by] ?? "";
    groups.set(value, [...(groups.get(value) ?? []), process]);
  }
  return groups;
}

function timeline(selection, params) {
  const { from, until, start, end } = selection;
  const step = Math.max(1, Math.ceil(Math.max(Number(params.get("step_ms") ?? (until - from) / 300), (until - from) / 2000)));
  const by = params.get("by") ?? "process";
  const buckets = Math.ceil((until - from) / step);
  const column = (of) => Array.from({ length: buckets }, (_, i) => {
    const low = Math.max(start, from + i * step);
    const high = Math.min(end, from + (i + 1) * step);
    return high > low ? of(low, high) : 0;
  });
  const all = [...grouped(selection, by)].map(([value, processes]) => {
    const samples = column((low, high) => processes.reduce((sum, process) => sum + between(process, low, high), 0));
    return { value, total: samples.reduce((a, b) => a + b, 0), samples };
  }).filter((group) => group.total > 0).sort((a, b) => b.total - a.total);
  const top = Number(params.get("top") ?? 8);
  const rest = all.slice(top);
  const other = column(() => 0).map((_, i) => rest.reduce((sum, group) => sum + group.samples[i], 0));
  const sums = other.map((value, i) => value + all.slice(0, top).reduce((sum, group) => sum + group.samples[i], 0));
  return {
    from_ms: from, until_ms: until, step_ms: step, period_ns: PERIOD, by, groups: all.slice(0, top),
    other: { groups: rest.length, total: other.reduce((a, b) => a + b, 0), samples: other },
    complete: sums.map((value) => Math.floor(value * 0.97)), lost: column(lostIn), rates: [{ time_ms: from, period_ns: PERIOD }], skipped: [],
  };
}

// Spreads a process' samples over its stacks by weight, whole samples only, none lost.
function spread(process, samples) {
  const out = new Map();
  let before = 0;
  let weight = 0;
  for (const stack of process.stacks) {
    weight += stack.weight;
    const upTo = Math.floor((samples * weight) / process.weight + 1e-9);
    if (upTo > before) out.set(stack, upTo - before);
    before = upTo;
  }
  return out;
}

function flame(selection, params) {
  const { from, until, start, end, state } = selection;
  const by = params.get("by") ?? "process";
  const strings = [""];
  const known = new Map([["", 0]]);
  const text = (value) => {
    if (!known.has(value)) known.set(value, strings.push(value) - 1);
    return known.get(value);
  };
  const frames = { kind: [], function: [], system_name: [], file: [], line: [], binary: [], build_id: [], unwound: [] };
  const ids = new Map();
  const frame = ({ kind, name, binary = "", file = "", line = 0 }) => {
    const key = `${kind}\0${name}\0${binary}`;
    if (!ids.has(key)) {
      ids.set(key, frames.kind.push(KINDS.indexOf(kind)) - 1);
      frames.function.push(text(name));
      frames.system_name.push(0);
      frames.file.push(text(file));
      frames.line.push(line);
      frames.binary.push(text(binary));
      frames.build_id.push(text(binary.startsWith("/") ? "5f2c0a" : ""));
      frames.unwound.push(text(kind === "kernel" ? "kernel" : "frame_pointer"));
    }
    return ids.get(key);
  };
  const node = (id) => ({ id, self: 0, total: 0, children: new Map() });
  const root = node(frame({ kind: "root", name: "all" }));
  const incomplete = {};
  let complete = 0;
  for (const [value, processes] of grouped(selection, by)) {
    for (const process of processes) {
      const samples = end > start ? between(process, start, end, selection.offsets) : 0;
      for (const [stack, count] of spread(process, samples)) {
        if (!selection.keeps(stack)) continue;
        if (stack.reason) incomplete[stack.reason] = (incomplete[stack.reason] ?? 0) + count;
        else complete += count;
        let at = root;
        root.total += count;
        for (const part of [{ kind: "group", name: value }, ...stack.frames]) {
          const id = frame(part);
          if (!at.children.has(id)) at.children.set(id, node(id));
          at = at.children.get(id);
          at.total += count;
        }
        at.self += count;
      }
    }
  }
  const nodes = { parent: [], frame: [], self: [], total: [] };
  const walk = (at, parent) => {
    const index = nodes.parent.length;
    nodes.parent.push(index - parent);
    nodes.frame.push(at.id);
    nodes.self.push(at.self);
    nodes.total.push(at.total);
    for (const child of at.children.values()) walk(child, index);
  };
  walk(root, 0);
  const lost = state.empty ? 0 : lostIn(start, end);
  return {
    from_ms: from, until_ms: until, period_ns: PERIOD, samples: root.total, complete, incomplete,
    taken: root.total + lost, lost: lost ? { ring_full: lost } : {}, pruned: 0, skipped: [], kinds: KINDS, strings, frames, nodes,
  };
}

function truth(selection) {
  const { from, until, start, end, groups, state } = selection;
  const reasons = new Map();
  let samples = 0;
  let complete = 0;
  const add = (list, name, count) => {
    const known = list.find((entry) => entry.name === name);
    if (known) known.samples += count;
    else list.push({ name, samples: count });
  };
  for (const process of groups) {
    for (const [stack, count] of spread(process, end > start ? between(process, start, end) : 0)) {
      if (!selection.keeps(stack)) continue;
      samples += count;
      if (!stack.reason) {
        complete += count;
        continue;
      }
      const binaries = reasons.get(stack.reason) ?? reasons.set(stack.reason, new Map()).get(stack.reason);
      const { kind, binary, name } = stack.frames[1];
      const behind = binaries.get(binary) ?? { binary, kind: kind === "inlined" ? "native" : kind, samples: 0, functions: [], processes: [] };
      binaries.set(binary, behind);
      behind.samples += count;
      add(behind.functions, name, count);
      add(behind.processes, process.labels.process, count);
    }
  }
  const most = (list) => list.sort((a, b) => b.samples - a.samples);
  const sum = (list) => list.reduce((all, entry) => all + entry.samples, 0);
  const lost = state.empty ? 0 : lostIn(start, end);
  const told = (reason) => ({ reason, title: reason.replace(/_/g, " "), text: "What happened is told here.", advice: "What helps is told here, as `--this`." });
  return {
    from_ms: from, until_ms: until, period_ns: PERIOD, samples, complete,
    reasons: most([...reasons].map(([reason, binaries]) => {
      const all = most([...binaries.values()]);
      for (const behind of all) {
        behind.functions = most(behind.functions).slice(0, 3);
        behind.processes = most(behind.processes).slice(0, 3);
      }
      const left = all.slice(10);
      return { ...told(reason), samples: sum(all), binaries: all.slice(0, 10), other: { binaries: left.length, samples: sum(left) } };
    })),
    taken: samples + lost, losses: lost ? [{ ...told("ring_full"), samples: lost }] : [], skipped: [],
  };
}

/** Threads take turns second by second, and CPUs, too. */
const turnOf = (process, second, turns) => (second + (process.seed % 97)) % turns;

function lanes(selection, params) {
  const { from, until, start, end, groups } = selection;
  const by = params.get("by") ?? "thread";
  const step = Math.max(1, Math.ceil(Math.max(Number(params.get("step_ms") ?? (until - from) / 300), (until - from) / 2000)));
  const buckets = Math.ceil((until - from) / step);
  const found = new Map();
  for (const process of groups) {
    const threads = 1 + (process.seed % 4);
    for (let second = Math.ceil(start / 1000); second * 1000 < end; second++) {
      const samples = rate(process, second);
      const thread = turnOf(process, second, threads);
      const cpu = turnOf(process, second, 8);
      const key = by === "cpu" ? String(cpu) : `${process.labels.process} ${thread}`;
      if (!found.has(key)) {
        const name = thread ? `worker-${thread}` : process.labels.thread;
        const { process: of, pid, tid } = process.labels;
        found.set(key, { ...(by === "cpu" ? { process: "", thread: "", pid: 0, tid: 0, cpu } : { process: of, thread: name, pid: +pid, tid: +tid + thread, cpu: null }),
          total: 0, samples: Array(buckets).fill(0) });
      }
      const lane = found.get(key);
      lane.total += samples;
      lane.samples[Math.floor((second * 1000 - from) / step)] += samples;
    }
  }
  const all = [...found.values()].filter((lane) => lane.total > 0);
  all.sort((a, b) => (by === "cpu" ? a.cpu - b.cpu : b.total - a.total));
  const top = Number(params.get("top") ?? 50);
  const rest = all.slice(top);
  return {
    from_ms: from, until_ms: until, step_ms: step, period_ns: PERIOD, by, lanes: all.slice(0, top),
    other: { lanes: rest.length, total: rest.reduce((sum, lane) => sum + lane.total, 0) }, skipped: [],
  };
}

/** One script may be read. */
const SCRIPT = "reports/privacy.py";
const SCRIPT_TEXT = Array.from({ length: 60 }, (_, i) => (i % 7 ? `    value = redact(value, rule_${i})  # <b>&amp;` : `def step_${i}(value):`)).join("\n");

function source(selection, params) {
  const file = params.get("file") ?? "";
  const lines = new Map();
  let samples = 0;
  let inFile = 0;
  const row = (line) => lines.get(line) ?? lines.set(line, { line, self: 0, total: 0 }).get(line);
  for (const process of selection.groups) {
    for (const [stack, count] of spread(process, between(process, selection.start, selection.end))) {
      if (!selection.keeps(stack)) continue;
      samples += count;
      const here = new Set(stack.frames.filter((frame) => frame.file === file).map((frame) => frame.line ?? 0));
      if (here.size > 0) inFile += count;
      for (const line of here) row(line).total += count;
      const leaf = stack.frames.at(-1);
      if (leaf?.file === file) row(leaf.line ?? 0).self += count;
    }
  }
  const text = file === SCRIPT ? SCRIPT_TEXT : null;
  return { file, period_ns: PERIOD, samples, in_file: inFile, lines: [...lines.values()].sort((a, b) => a.line - b.line),
    text, reason: text ? "" : "Source files are not read: start Vesta with --source-dir.", skipped: [] };
}

function values(selection, label) {
  const { start, end } = selection;
  const found = [...grouped(selection, label)].map(([value, processes]) => ({
    value, samples: processes.reduce((sum, process) => sum + between(process, start, end), 0),
  }));
  return { values: found.filter((v) => v.samples > 0).sort((a, b) => b.samples - a.samples), truncated: false };
}

function folded(selection) {
  const lines = [];
  for (const process of selection.groups) {
    for (const [stack, count] of spread(process, between(process, selection.start, selection.end))) {
      lines.push(`${[process.labels.process, ...stack.frames.map((f) => f.name)].join(";")} ${count}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const hours = process.argv.indexOf("--hours");
  const { url } = await startFixture({
    port: Number(process.argv[2] ?? 7272), empty: process.argv.includes("--empty"), ...(hours > 0 && { hours: Number(process.argv[hours + 1]) }),
  });
  console.log(`fixture on ${url}`);
}
