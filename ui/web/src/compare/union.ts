/** Two stack trees as one: each node knows how many samples of both sides passed it. */

import type { Diff, Flame } from "../api/types";
import { type FlameTree, type Frame, buildTree, frameOf } from "../flame/tree";
import type { WidthBy } from "../state/url";
import { type Exposure, change, pValue, significant } from "./stats";

/** Both sides of a comparison, as the server answers for two selections of its own. */
export type Both = Pick<Diff, "strings" | "kinds" | "frames" | "period_ns"> & {
  nodes: { parent: number[]; frame: number[]; a: number[]; b: number[]; aSelf: number[]; bSelf: number[] };
  /** Samples in nodes too small to send, of both sides. */
  pruned: number;
  /** Samples of each side whose stack is complete; undefined where its file does not tell. */
  complete: { a: number | undefined; b: number | undefined };
};

/** The sides of a server's comparison. */
export function fromDiff({ strings, kinds, frames, period_ns, nodes, pruned, complete, before }: Diff): Both {
  const less = (all: number[], part: number[]) => all.map((value, i) => value - (part[i] ?? 0));
  return {
    strings, kinds, frames, period_ns, pruned, complete: { a: before.complete, b: complete - before.complete },
    nodes: {
      parent: nodes.parent, frame: nodes.frame, a: nodes.before_total, b: less(nodes.total, nodes.before_total),
      aSelf: nodes.before_self, bSelf: less(nodes.self, nodes.before_self),
    },
  };
}

/** Text of folded stacks does not tell whether they are whole. */
const completeOf = ({ complete, incomplete, samples }: Flame) => (samples > 0 && incomplete["imported"] === samples ? undefined : complete);

/** Merges two trees by kind, name and binary of their frames. */
export function unite(a: Flame, b: Flame): Both {
  const strings: string[] = [""];
  const known = new Map([["", 0]]);
  const text = (value: string) => {
    const at = known.get(value) ?? strings.push(value) - 1;
    known.set(value, at);
    return at;
  };
  const frames: Flame["frames"] = { kind: [], function: [], system_name: [], file: [], line: [], binary: [], build_id: [], unwound: [] };
  const ids = new Map<string, number>();
  const kinds = [...a.kinds];
  const kindOf = (name: string) => (kinds.includes(name) ? kinds.indexOf(name) : kinds.push(name) - 1);
  const frameIn = (flame: Flame, at: number): number => {
    const word = (column: number[]) => flame.strings[column[at] ?? 0] ?? "";
    const kind = flame.kinds[flame.frames.kind[at] as number] ?? "";
    const key = `${kind}\0${word(flame.frames.function)}\0${word(flame.frames.binary)}`;
    let id = ids.get(key);
    if (id === undefined) {
      id = frames.kind.push(kindOf(kind)) - 1;
      ids.set(key, id);
      for (const column of ["function", "system_name", "file", "binary", "build_id", "unwound"] as const) {
        frames[column].push(text(word(flame.frames[column])));
      }
      frames.line.push(flame.frames.line[at] ?? 0);
    }
    return id;
  };
  const nodes: Both["nodes"] = { parent: [], frame: [], a: [], b: [], aSelf: [], bSelf: [] };
  const places = new Map<string, number>();
  const add = (flame: Flame, side: "a" | "b", own: "aSelf" | "bSelf") => {
    const mapped: number[] = [];
    flame.nodes.parent.forEach((distance, i) => {
      const parent = i === 0 ? -1 : (mapped[i - distance] as number);
      const frame = frameIn(flame, flame.nodes.frame[i] as number);
      const key = i === 0 ? "" : `${parent} ${frame}`;
      let at = places.get(key);
      if (at === undefined) {
        at = nodes.parent.length;
        places.set(key, at);
        nodes.parent.push(parent < 0 ? 0 : at - parent);
        nodes.frame.push(frame);
        for (const column of ["a", "b", "aSelf", "bSelf"] as const) nodes[column].push(0);
      }
      mapped.push(at);
      nodes[side][at]! += flame.nodes.total[i] as number;
      nodes[own][at]! += flame.nodes.self[i] as number;
    });
  };
  add(a, "a", "aSelf");
  add(b, "b", "bSelf");
  return { strings, kinds, frames, period_ns: b.period_ns || a.period_ns, nodes, pruned: a.pruned + b.pruned, complete: { a: completeOf(a), b: completeOf(b) } };
}

/** A comparison ready to draw. Values are rates of the two sides: cores, or shares of all samples. */
export interface Compared {
  /** Nodes from wide to narrow by the side that makes them wide. */
  tree: FlameTree;
  /** By node of the tree. */
  a: Float64Array;
  b: Float64Array;
  /** The part of them that ended in the node itself. */
  ownA: Float64Array;
  ownB: Float64Array;
  /** 1 where the difference is more than chance. */
  real: Uint8Array;
  /** The largest change of a group. */
  most: number;
}

/** How counts of both sides become values: `counts * unit / exposure`. */
export interface Measure {
  exposure: Exposure;
  unit: number;
}

/** Lays a comparison out. */
export function compare(both: Both, { exposure, unit }: Measure, width: WidthBy): Compared {
  const { nodes } = both;
  const rate = (counts: number[], of: number) => Float64Array.from(counts, (count) => (count * unit) / of);
  const a = rate(nodes.a, exposure.a);
  const b = rate(nodes.b, exposure.b);
  const total = Array.from(a, (value, i) => (width === "a" ? value : width === "b" ? (b[i] as number) : value + (b[i] as number)));
  // The tree orders nodes anew; the column that it only carries along tells which is which.
  const tree = buildTree({
    ...both, nodes: { parent: nodes.parent, frame: nodes.frame, total, self: nodes.parent.map((_, i) => i) },
  } as unknown as Flame);
  const from = Uint32Array.from(tree.self);
  const p = Float64Array.from(from, (i) => pValue(nodes.a[i] as number, nodes.b[i] as number, exposure));
  const order = (column: Float64Array) => Float64Array.from(from, (i) => column[i] as number);
  const compared = { a: order(a), b: order(b) };
  let most = 0;
  for (let node = 1; node < tree.count; node++) {
    if (tree.parent[node] === 0) most = Math.max(most, Math.abs((compared.b[node] as number) - (compared.a[node] as number)));
  }
  const own = { a: rate(nodes.aSelf, exposure.a), b: rate(nodes.bSelf, exposure.b) };
  from.forEach((at, i) => {
    (tree.self as Float64Array)[i] = width === "a" ? (own.a[at] as number) : width === "b" ? (own.b[at] as number)
      : (own.a[at] as number) + (own.b[at] as number);
  });
  return { tree, ...compared, ownA: order(own.a), ownB: order(own.b), real: significant(p), most };
}

/** A function of both sides. */
export interface FunctionRow {
  frame: Frame;
  /** Its widest node. */
  node: number;
  selfA: number;
  selfB: number;
  /** A stack that goes through it twice counts once. */
  totalA: number;
  totalB: number;
  /** Whether the differences are more than chance. */
  selfReal: boolean;
  totalReal: boolean;
}

/** All functions of a comparison; counts are values times `exposure`. */
export function functionRows({ tree, a, b, ownA, ownB }: Compared, exposure: Exposure): FunctionRow[] {
  const rows = new Map<number, FunctionRow>();
  // By frame: where the outermost call that is being walked through ends.
  const inside = new Map<number, number>();
  for (let node = 1; node < tree.count; node++) {
    const at = tree.frame[node] as number;
    let row = rows.get(at);
    if (!row) {
      const frame = frameOf(tree, node);
      if (frame.kind === "group" || frame.kind === "truncated") continue;
      row = { frame, node, selfA: 0, selfB: 0, totalA: 0, totalB: 0, selfReal: false, totalReal: false };
      rows.set(at, row);
    }
    if ((tree.total[node] as number) > (tree.total[row.node] as number)) row.node = node;
    row.selfA += ownA[node] as number;
    row.selfB += ownB[node] as number;
    if (node < (inside.get(at) ?? 0)) continue;
    inside.set(at, tree.end[node] as number);
    row.totalA += a[node] as number;
    row.totalB += b[node] as number;
  }
  const found = [...rows.values()];
  const test = (a: number, b: number) => pValue(Math.round(a * exposure.a), Math.round(b * exposure.b), exposure);
  const self = significant(found.map((row) => test(row.selfA, row.selfB)));
  const total = significant(found.map((row) => test(row.totalA, row.totalB)));
  found.forEach((row, i) => {
    row.selfReal = self[i] === 1;
    row.totalReal = total[i] === 1;
  });
  return found;
}

/** A function in the table of growth. */
export interface Growth {
  name: string;
  binary: string;
  kind: string;
  /** Values of the two sides. */
  a: number;
  b: number;
  change: number;
  /** The 95 % interval of the change. */
  low: number;
  high: number;
  /** Whether it is more than chance, among all functions. */
  real: boolean;
}

/** Functions by how much their self time has surely changed: by the nearer end of the interval. */
export function growth(both: Both, { exposure, unit }: Measure): Growth[] {
  const { frames, strings, kinds, nodes } = both;
  const sums = new Map<number, { a: number; b: number }>();
  nodes.frame.forEach((frame, i) => {
    const kind = kinds[frames.kind[frame] as number];
    if (kind === "root" || kind === "group" || kind === "truncated") return;
    const sum = sums.get(frame) ?? { a: 0, b: 0 };
    sum.a += nodes.aSelf[i] as number;
    sum.b += nodes.bSelf[i] as number;
    sums.set(frame, sum);
  });
  const found = [...sums].filter(([, { a, b }]) => a + b > 0);
  const real = significant(found.map(([, { a, b }]) => pValue(a, b, exposure)));
  const rows = found.map(([frame, { a, b }], i): Growth => {
    const { change: by, low, high } = change(a, b, exposure);
    return {
      name: strings[frames.function[frame] as number] ?? "", binary: strings[frames.binary[frame] as number] ?? "",
      kind: kinds[frames.kind[frame] as number] ?? "",
      a: (a * unit) / exposure.a, b: (b * unit) / exposure.b, change: by * unit, low: low * unit, high: high * unit, real: real[i] === 1,
    };
  });
  const nearer = ({ low, high }: Growth) => (low > 0 ? low : high < 0 ? -high : 0);
  return rows.sort((x, y) =>
    Number(y.real) - Number(x.real) || nearer(y) - nearer(x) || Math.abs(y.change) - Math.abs(x.change) || y.a + y.b - x.a - x.b || (x.name < y.name ? -1 : 1));
}
