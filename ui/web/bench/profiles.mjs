// One profile of a given number of nodes, in the form that each viewer reads.
import { columnsOf } from "../e2e/columns.mjs";
import { random } from "../e2e/fixture-data.mjs";

const KINDS = ["root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated"];
const WORDS = "parse read write hash lookup insert flush encode decode copy scan merge split alloc free lock wake queue".split(" ");

/** A tree of `count` nodes: some forty levels, few wide and many narrow ones, a tenth as many functions as nodes. */
export function grow(count, seed = 7) {
  const next = random(seed);
  const functions = Math.max(50, Math.floor(count / 10));
  const names = Array.from({ length: functions }, (_, i) =>
    `${WORDS[i % WORDS.length]}_${WORDS[Math.floor(i / WORDS.length) % WORDS.length]}_${i}`);
  const nodes = { parent: [0], frame: [0], self: [0], total: [0] };
  const depth = [0];
  const budget = (left, at) => {
    // Preorder by recursion over an explicit stack, so that deep trees are no trouble.
    const open = [{ at, left }];
    while (open.length > 0) {
      const { at: above, left: rest } = open.pop();
      if (rest <= 0) continue;
      const children = depth[above] === 0 ? 24 : depth[above] > 60 ? 0 : rest < 3 ? 1 : 1 + Math.floor(next() * 4);
      const shares = Array.from({ length: children }, () => next() ** 2 + 0.02);
      const sum = shares.reduce((a, b) => a + b, 0) || 1;
      const made = shares.map((share) => Math.floor(((rest - children) * share) / sum)).map((size) => Math.max(0, size));
      for (const size of made) {
        const id = depth[above] === 0 ? 1 + Math.floor(next() * 24) : 25 + Math.floor(next() * functions);
        pending.push({ above, id, size });
      }
      while (pending.length > 0) {
        const { above: parent, id, size } = pending.pop();
        const node = nodes.parent.length;
        if (node >= count) return;
        nodes.parent.push(node - parent);
        nodes.frame.push(id);
        nodes.self.push(1 + Math.floor(next() * 5));
        nodes.total.push(0);
        depth.push(depth[parent] + 1);
        if (size > 0) open.push({ at: node, left: size });
      }
    }
  };
  const pending = [];
  while (nodes.parent.length < count) budget(count - nodes.parent.length, 0);
  return sorted({ nodes, names, functions });
}

/** The nodes in preorder: what grew is in the order of growing. */
function sorted({ nodes, names, functions }) {
  const count = nodes.parent.length;
  const children = Array.from({ length: count }, () => []);
  for (let i = 1; i < count; i++) children[i - nodes.parent[i]].push(i);
  const out = { parent: [], frame: [], self: [], total: [], depth: [] };
  const open = [{ node: 0, above: 0, depth: 0 }];
  while (open.length > 0) {
    const { node, above, depth } = open.pop();
    const place = out.parent.length;
    out.parent.push(place - above);
    out.frame.push(nodes.frame[node]);
    out.self.push(nodes.self[node]);
    out.total.push(nodes.self[node]);
    out.depth.push(depth);
    for (const child of children[node].reverse()) open.push({ node: child, above: place, depth: depth + 1 });
  }
  for (let i = count - 1; i > 0; i--) out.total[i - out.parent[i]] += out.total[i];
  const strings = ["", "all", ...Array.from({ length: 24 }, (_, i) => `process-${i}`), ...names, "/usr/bin/app", "/lib/libc.so.6", "[kernel]"];
  const frame = (kind, name, binary) => ({ kind: KINDS.indexOf(kind), name, binary });
  const base = 2 + 24 + functions;
  const frames = [frame("root", 1, 0), ...Array.from({ length: 24 }, (_, i) => frame("group", 2 + i, 0)),
    ...Array.from({ length: functions }, (_, i) => frame(i % 9 === 0 ? "kernel" : i % 7 === 0 ? "inlined" : "native", 26 + i, i % 9 === 0 ? base + 2 : base + (i % 2)))];
  return { nodes: out, frames, strings };
}

/** `GET /api/v1/flame`, in columns. */
export function flameColumns({ nodes, frames, strings }) {
  const zero = frames.map(() => 0);
  const { depth, ...columns } = nodes;
  return columnsOf({
    from_ms: 0, until_ms: 900_000, period_ns: 10_101_010, unit: "samples", samples: nodes.total[0], complete: nodes.total[0], incomplete: {},
    taken: nodes.total[0], lost: {}, pruned: 0, skipped: [], kinds: KINDS, strings,
    frames: { kind: frames.map((f) => f.kind), function: frames.map((f) => f.name), system_name: zero, file: zero, line: zero,
      binary: frames.map((f) => f.binary), build_id: zero, unwound: zero },
    nodes: columns,
  }, { from_ms: 0, until_ms: 900_000 });
}

const nameOf = ({ frames, strings }, id) => strings[frames[id].name];

/** What d3-flame-graph reads. */
export function nestedJson(tree) {
  const { nodes } = tree;
  const made = nodes.parent.map((_, i) => ({ name: nameOf(tree, nodes.frame[i]), value: nodes.total[i], children: [] }));
  for (let i = 1; i < made.length; i++) made[i - nodes.parent[i]].children.push(made[i]);
  return JSON.stringify(made[0]);
}

/** The columns that @grafana/flamegraph reads. */
export function levelsJson(tree) {
  const { depth, total, self, frame } = tree.nodes;
  return JSON.stringify({ level: depth, value: total, self, label: frame.map((id) => nameOf(tree, id)) });
}

/** A file of speedscope's own format, one sample for each node with samples of its own. */
export function speedscopeJson(tree) {
  const { nodes, frames } = tree;
  const samples = [];
  const stack = [];
  for (let i = 0; i < nodes.parent.length; i++) {
    stack.length = nodes.depth[i];
    stack.push(nodes.frame[i]);
    samples.push(stack.slice());
  }
  return JSON.stringify({
    $schema: "https://www.speedscope.app/file-format-schema.json", shared: { frames: frames.map((_, id) => ({ name: nameOf(tree, id) })) },
    profiles: [{ type: "sampled", name: "profile", unit: "none", startValue: 0, endValue: nodes.total[0], samples, weights: nodes.self }],
  });
}
