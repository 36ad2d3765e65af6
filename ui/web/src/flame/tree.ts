/** The stack tree of a selection, as flat columns that drawing, search and tables walk without allocating. */

import type { Flame } from "../api/types";
import { fnv1a } from "../color/bands";

/** What kind of code a frame is; `root` and `group` are rows of the tree, not code. */
export type FrameKind =
  | "root" | "group" | "kernel" | "native" | "inlined" | "jit" | "interpreted" | "truncated";

const KINDS: ReadonlySet<string> = new Set([
  "root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated",
]);

/** A function at the place where it was found; frames are merged by (kind, function, binary). */
export interface Frame {
  kind: FrameKind;
  name: string;
  systemName: string;
  file: string;
  /** 0 when unknown. */
  line: number;
  binary: string;
  buildId: string;
  unwound: string;
}

/** Nodes are in preorder, children from wide to narrow; node 0 is the root. Values are samples. */
export interface FlameTree {
  readonly count: number;
  readonly frames: readonly Frame[];
  /** Index of the parent; -1 for the root. */
  readonly parent: Int32Array;
  readonly frame: Uint32Array;
  readonly depth: Uint16Array;
  /** One past the last node of the subtree. */
  readonly end: Int32Array;
  readonly self: Float64Array;
  readonly total: Float64Array;
  /** Samples to the left of the node: it spans `start … start + total`. */
  readonly start: Float64Array;
  /** Hash of the names from the root to the node: finds the node again in another tree. */
  readonly path: Uint32Array;
  /** The nodes of each depth, from left to right. */
  readonly rows: readonly Int32Array[];
}

/** The server's answer is not a tree. */
export class TreeError extends Error {}

/** Checks the columns of an answer and orders them for drawing. */
export function buildTree(flame: Flame): FlameTree {
  const frames = readFrames(flame);
  const source = readNodes(flame, frames.length);
  const order = drawingOrder(source);
  return layOut(frames, source, order);
}

interface Source {
  count: number;
  parent: Int32Array;
  frame: number[];
  self: number[];
  total: number[];
}

function readFrames({ frames, strings, kinds }: Flame): Frame[] {
  const text = (index: number | undefined) => strings[index ?? 0] ?? "";
  return frames.kind.map((kind, i) => {
    const name = kinds[kind] ?? "";
    return {
      // A kind this page does not know yet is drawn as plain code.
      kind: (KINDS.has(name) ? name : "native") as FrameKind,
      name: text(frames.function[i]),
      systemName: text(frames.system_name[i]),
      file: text(frames.file[i]),
      line: frames.line[i] ?? 0,
      binary: text(frames.binary[i]),
      buildId: text(frames.build_id[i]),
      unwound: text(frames.unwound[i]),
    };
  });
}

function readNodes({ nodes }: Flame, frames: number): Source {
  const count = nodes.parent.length;
  if (count === 0) throw new TreeError("the stack tree has no root");
  if (nodes.frame.length !== count || nodes.self.length !== count || nodes.total.length !== count) {
    throw new TreeError("the columns of the stack tree differ in length");
  }
  const parent = new Int32Array(count);
  parent[0] = -1;
  for (let i = 0; i < count; i++) {
    const distance = nodes.parent[i] as number;
    if (i > 0 && !(distance >= 1 && distance <= i)) throw new TreeError(`node ${i} has no parent`);
    if (!((nodes.frame[i] as number) < frames)) throw new TreeError(`node ${i} has no frame`);
    if (i > 0) parent[i] = i - distance;
  }
  return { count, parent, frame: nodes.frame, self: nodes.self, total: nodes.total };
}

/** The nodes in preorder with every node's children from wide to narrow. */
function drawingOrder({ count, parent, total }: Source): Int32Array {
  // Children lie together, one slice per parent.
  const first = new Int32Array(count + 1);
  for (let i = 1; i < count; i++) first[(parent[i] as number) + 1]!++;
  for (let i = 0; i < count; i++) first[i + 1]! += first[i] as number;
  const fill = first.slice(0, count);
  const children = new Int32Array(count);
  for (let i = 1; i < count; i++) children[fill[parent[i] as number]!++] = i;

  const byWidth = (a: number, b: number) => (total[b] as number) - (total[a] as number) || a - b;
  const order = new Int32Array(count);
  const open = [0];
  for (let at = 0; open.length > 0; at++) {
    const node = open.pop() as number;
    order[at] = node;
    const slice = children.subarray(first[node], first[node + 1]);
    if (slice.length > 1) slice.sort(byWidth);
    for (let i = slice.length - 1; i >= 0; i--) open.push(slice[i] as number);
  }
  return order;
}

function layOut(frames: Frame[], source: Source, order: Int32Array): FlameTree {
  const { count } = source;
  const place = new Int32Array(count);
  for (let i = 0; i < count; i++) place[order[i] as number] = i;
  const parent = new Int32Array(count);
  const frame = new Uint32Array(count);
  const depth = new Uint16Array(count);
  const end = new Int32Array(count);
  const self = new Float64Array(count);
  const total = new Float64Array(count);
  const start = new Float64Array(count);
  const path = new Uint32Array(count);
  const names = frames.map(({ kind, name, binary }) => fnv1a(`${kind}\0${name}\0${binary}`));
  // Where the next child of a node starts.
  const next = new Float64Array(count);
  const perRow: number[] = [];
  for (let i = 0; i < count; i++) {
    const from = order[i] as number;
    const above = from === 0 ? -1 : (place[source.parent[from] as number] as number);
    parent[i] = above;
    frame[i] = source.frame[from] as number;
    self[i] = source.self[from] as number;
    total[i] = source.total[from] as number;
    const own = names[frame[i] as number] as number;
    if (above >= 0) {
      depth[i] = (depth[above] as number) + 1;
      start[i] = next[above] as number;
      next[above]! += total[i] as number;
      path[i] = (Math.imul((path[above] as number) ^ own, 0x01000193) + 1) >>> 0;
    }
    next[i] = start[i] as number;
    const row = depth[i] as number;
    perRow[row] = (perRow[row] ?? 0) + 1;
  }
  for (let i = count - 1; i >= 0; i--) {
    if (end[i] === 0) end[i] = i + 1;
    const above = parent[i] as number;
    if (above >= 0 && (end[i] as number) > (end[above] as number)) end[above] = end[i] as number;
  }
  const rows = perRow.map((size) => new Int32Array(size));
  const used = new Int32Array(rows.length);
  for (let i = 0; i < count; i++) {
    const row = depth[i] as number;
    (rows[row] as Int32Array)[used[row]!++] = i;
  }
  return { count, frames, parent, frame, depth, end, self, total, start, path, rows };
}

/** The frame of a node. */
export function frameOf(tree: FlameTree, node: number): Frame {
  return tree.frames[tree.frame[node] as number] as Frame;
}

/** The children of a node, from wide to narrow. */
export function childrenOf(tree: FlameTree, node: number): number[] {
  const children: number[] = [];
  const end = tree.end[node] as number;
  for (let child = node + 1; child < end; child = tree.end[child] as number) children.push(child);
  return children;
}

/** The nodes from the root to `node`, both included. */
export function pathTo(tree: FlameTree, node: number): number[] {
  const path: number[] = [];
  for (let at = node; at >= 0; at = tree.parent[at] as number) path.push(at);
  return path.reverse();
}

/** Whether `node` lies in the subtree of `top`, or is `top`. */
export function within(tree: FlameTree, node: number, top: number): boolean {
  return node >= top && node < (tree.end[top] as number);
}

/** The node of the deepest of these path hashes that this tree has; the root when it has none. */
export function findPath(tree: FlameTree, hashes: readonly number[]): number {
  for (let i = hashes.length - 1; i >= 0; i--) {
    const node = tree.path.indexOf(hashes[i] as number);
    if (node >= 0) return node;
  }
  return 0;
}
