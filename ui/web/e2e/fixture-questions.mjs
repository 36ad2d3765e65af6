// What the fixture server answers beside samples: comparisons, the heat map, functions over time, annotations, pins.
import { offsetOf } from "./fixture-server.mjs";

const DAY = 86_400_000;

/** Annotations and pins, kept as long as the server runs. */
export function createMarks() {
  const kept = { annotations: [], pins: [], links: [] };
  let count = 0;
  const body = async (request) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    return JSON.parse(Buffer.concat(chunks).toString());
  };
  return async (request, path, params) => {
    const [what, id] = path.split("/");
    if (!(what in kept)) return undefined;
    if (request.method === "DELETE") {
      const before = kept[what].length;
      kept[what] = kept[what].filter((mark) => mark.id !== id);
      return kept[what].length < before ? { status: 204 } : { status: 404, body: { error: "there is nothing of this id", detail: "" } };
    }
    if (request.method === "POST") {
      const origin = request.headers.origin;
      if (origin && new URL(origin).host !== request.headers.host) return { status: 403, body: { error: "not from pages of another origin", detail: "" } };
      const given = await body(request);
      const known = what === "links" && kept.links.find(({ state }) => state === given.state);
      if (known) return { status: 200, body: known };
      const mark = what === "links" ? { state: given.state } : what === "pins" ? { from_ms: given.from, until_ms: given.until, note: given.note ?? "" } : { time_ms: given.time ?? Date.now(), kind: given.kind ?? "note", text: given.text };
      const made = { id: `01HZX3V8K9QWERTYASDFGZX${String(count++).padStart(3, "0")}`, ...mark };
      kept[what].push(made);
      return { status: 200, body: made };
    }
    if (what === "links") {
      const link = kept.links.find((link) => link.id === id);
      return link ? { status: 200, body: link } : { status: 404, body: { error: "this link leads to nothing (any more)", detail: "" } };
    }
    const [from, until] = ["from", "until"].map((name) => Number(params.get(name) ?? 0) * 1000);
    const found = what === "pins" ? kept.pins : kept.annotations.filter(({ time_ms: at }) => at >= from && at < until).sort((a, b) => a.time_ms - b.time_ms);
    return { status: 200, body: { [what]: found } };
  };
}

function side(selection, world) {
  const start = Math.max(selection.start, selection.from);
  const watched = Math.max(0, selection.end - start);
  const samples = watched ? selection.groups.reduce((sum, process) => sum + world.between(process, start, selection.end), 0) : 0;
  return {
    from_ms: selection.from, until_ms: selection.until, watched_ms: watched, samples,
    cores: watched ? (samples * world.PERIOD) / (watched * 1e6) : 0,
  };
}

const shifted = (params, from, until) => {
  const other = new URLSearchParams(params);
  other.set("from", String(from / 1000));
  other.set("until", String(until / 1000));
  return other;
};

/** A headline whose cause is the group that changed most: enough to see that the page says what it is told. */
export function headline(selection, params, world) {
  const now = side(selection, world);
  const days = { week: 7, none: 0 }[params.get("baseline")] ?? 1;
  const nothing = { ...now, baseline: null, ratio: null, significant: false, cause: null };
  if (days === 0) return nothing;
  const before = params.get("baseline") === "range"
    ? [Number(params.get("before_from")) * 1000, Number(params.get("before_until")) * 1000]
    : [selection.from - days * DAY, selection.until - days * DAY];
  const then = world.select(shifted(params, ...before));
  const baseline = side(then, world);
  if (baseline.watched_ms < (before[1] - before[0]) / 2) return nothing;
  const ratio = baseline.cores > 0 ? now.cores / baseline.cores : null;
  const changes = selection.groups.map((process) => {
    const [a, b] = [[then.start, then.end], [selection.start, selection.end]].map(([start, end]) => world.between(process, start, end));
    return { process, a, b, change: b / now.watched_ms - a / baseline.watched_ms };
  });
  const whole = changes.reduce((sum, { change }) => sum + change, 0);
  const top = changes.sort((x, y) => Math.abs(y.change) - Math.abs(x.change))[0];
  const changed = ratio !== null && (ratio >= 1.15 || ratio <= 1 / 1.15);
  const cores = (samples, ms) => (samples * world.PERIOD) / (ms * 1e6);
  return {
    ...now, baseline, ratio, significant: changed,
    cause: changed && top && top.change / whole >= 0.3 ? {
      function: top.process.stacks[0].frames.at(-1).name, kind: "native", binary: top.process.labels.exe, group: top.process.labels.process,
      share: top.change / whole, before_cores: cores(top.a, baseline.watched_ms), cores: cores(top.b, now.watched_ms), first_seen_ms: null, deploy: null,
    } : null,
  };
}

export function heatmap(selection, world) {
  const from = Math.floor(selection.from / 1000) * 1000;
  const columns = [];
  for (let second = from / 1000; second * 1000 < selection.until; second++) {
    const cells = new Array(50).fill(0);
    if (second * 1000 >= selection.start && second * 1000 < selection.end) {
      for (const process of selection.groups) {
        const count = world.rate(process, second);
        for (let i = 0; i < count; i++) cells[Math.floor(offsetOf(process, second, i, count) / 20)]++;
      }
    }
    columns.push(cells);
  }
  return { from_ms: from, until_ms: selection.until, column_ms: 1000, row_ms: 20, columns, without_times: 0, skipped: [] };
}

/** Merges two flame answers; `before` gets columns of its own. */
export function diff(selection, params, world) {
  const then = shifted(params, Number(params.get("before_from")) * 1000, Number(params.get("before_until")) * 1000);
  const query = params.get("before_query") ?? params.get("query") ?? "";
  then.set("query", query === "{}" ? "" : query);
  const [before, after] = [world.flame(world.select(then), params), world.flame(selection, params)];
  const union = { strings: [""], frames: { kind: [], function: [], system_name: [], file: [], line: [], binary: [], build_id: [], unwound: [] },
    nodes: { parent: [], frame: [], self: [], total: [], before_self: [], before_total: [] } };
  const words = new Map([["", 0]]);
  const text = (word) => words.get(word) ?? words.set(word, union.strings.push(word) - 1).get(word);
  const frames = new Map();
  const places = new Map();
  for (const [answer, isBefore] of [[before, true], [after, false]]) {
    const mapped = [];
    answer.nodes.parent.forEach((distance, i) => {
      const at = answer.nodes.frame[i];
      const word = (column) => answer.strings[answer.frames[column][at]];
      const key = `${answer.frames.kind[at]} ${word("function")} ${word("binary")}`;
      if (!frames.has(key)) {
        frames.set(key, union.frames.kind.push(answer.frames.kind[at]) - 1);
        for (const column of ["function", "system_name", "file", "binary", "build_id", "unwound"]) union.frames[column].push(text(word(column)));
        union.frames.line.push(answer.frames.line[at]);
      }
      const parent = i === 0 ? -1 : mapped[i - distance];
      const path = `${parent} ${frames.get(key)}`;
      if (!places.has(path)) {
        places.set(path, union.nodes.parent.push(parent < 0 ? 0 : union.nodes.parent.length - parent) - 1);
        union.nodes.frame.push(frames.get(key));
        for (const column of ["self", "total", "before_self", "before_total"]) union.nodes[column].push(0);
      }
      const place = places.get(path);
      mapped.push(place);
      union.nodes.self[place] += answer.nodes.self[i];
      union.nodes.total[place] += answer.nodes.total[i];
      if (!isBefore) return;
      union.nodes.before_self[place] += answer.nodes.self[i];
      union.nodes.before_total[place] += answer.nodes.total[i];
    });
  }
  return { ...after, ...union, samples: before.samples + after.samples, complete: before.complete + after.complete,
    before: { from_ms: before.from_ms, until_ms: before.until_ms, samples: before.samples, complete: before.complete } };
}

export function functions(selection, params, world) {
  const name = new RegExp(params.get("name").replace(/^~(\(\?i\))?/, ""), "i");
  const step = Number(params.get("step_ms"));
  const buckets = Math.ceil((selection.until - selection.from) / step);
  const found = new Map();
  for (const process of selection.groups) {
    const shares = new Map();
    for (const stack of process.stacks) {
      for (const frame of new Set(stack.frames.filter((one) => name.test(one.name)).map((one) => `${one.name}\0${one.binary ?? ""}\0${one.kind}`))) {
        shares.set(frame, (shares.get(frame) ?? 0) + stack.weight / process.weight);
      }
    }
    for (const [key, share] of shares) {
      const total = found.get(key) ?? found.set(key, new Array(buckets).fill(0)).get(key);
      for (let i = 0; i < buckets; i++) {
        const start = Math.max(selection.start, selection.from + i * step);
        const end = Math.min(selection.end, selection.from + (i + 1) * step);
        if (end > start) total[i] += Math.round(world.between(process, start, end) * share);
      }
    }
  }
  const rows = [...found].map(([key, total]) => {
    const [fn, binary, kind] = key.split("\0");
    return { function: fn, kind, binary, self: total.map(() => 0), total };
  });
  const sum = ({ total }) => total.reduce((a, b) => a + b, 0);
  rows.sort((a, b) => sum(b) - sum(a));
  return { from_ms: selection.from, until_ms: selection.until, step_ms: step, period_ns: world.PERIOD, samples: [], found: rows.length, functions: rows.slice(0, 20), skipped: [] };
}

/** Folded stacks as a tree; all other files are refused. */
export async function convert(request, format) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (format === "speedscope") return { $schema: "https://www.speedscope.app/file-format-schema.json", shared: { frames: texts(Buffer.concat(chunks)).map((name) => ({ name })) } };
  const strings = ["", "all"];
  const frames = { kind: [0], function: [1], system_name: [0], file: [0], line: [0], binary: [0], build_id: [0], unwound: [0] };
  const nodes = { parent: [0], frame: [0], self: [0], total: [0] };
  const places = new Map([["", 0]]);
  for (const line of Buffer.concat(chunks).toString().split("\n").filter(Boolean)) {
    const [, stack, number] = /^(.*) (\d+)$/.exec(line) ?? [];
    if (!stack) throw new Error(`not folded: ${line}`);
    let path = "";
    let at = 0;
    nodes.total[0] += Number(number);
    stack.split(";").forEach((name, depth) => {
      path += `;${name}`;
      if (!places.has(path)) {
        if (!strings.includes(name)) strings.push(name);
        frames.kind.push(depth === 0 ? 1 : 3);
        frames.function.push(strings.indexOf(name));
        for (const column of ["system_name", "file", "line", "binary", "build_id", "unwound"]) frames[column].push(0);
        places.set(path, nodes.parent.push(nodes.parent.length - at) - 1);
        nodes.frame.push(frames.kind.length - 1);
        nodes.self.push(0);
        nodes.total.push(0);
      }
      at = places.get(path);
      nodes.total[at] += Number(number);
    });
    nodes.self[at] += Number(number);
  }
  return {
    from_ms: 0, until_ms: 1, period_ns: 10_101_010, samples: nodes.total[0], complete: 0, incomplete: {}, taken: 0, lost: {}, pruned: 0, skipped: [],
    kinds: ["root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated"], strings, frames, nodes,
  };
}

// The texts of a profile.proto: its fields with the number 6.
function texts(bytes) {
  const found = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 0x80) {
      const byte = bytes[at++];
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const value = varint();
    if (tag % 8 !== 2) continue;
    if (tag >> 3 === 6) found.push(bytes.subarray(at, at + value).toString());
    at += value;
  }
  return found;
}
