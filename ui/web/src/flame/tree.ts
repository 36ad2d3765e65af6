/** The stack tree of a selection, as flat columns that drawing, search and tables walk without allocating. */

import type { Flame } from "../api/types";
import { type Frame, FrameTable, readColumns } from "./frames";

export type { Frame, FrameKind } from "./frames";

/** Numbers of samples: whole ones of four bytes where all of them fit. */
export type Values = Float64Array | Uint32Array;

/** Nodes are in preorder, children from wide to narrow; node 0 is the root. Values are samples. */
export interface FlameTree {
  readonly count: number;
  readonly frames: FrameTable;
  /** Index of the parent; -1 for the root. */
  readonly parent: Int32Array;
  readonly frame: Uint32Array;
  readonly depth: Uint16Array;
  /** One past the last node of the subtree. */
  readonly end: Int32Array;
  readonly self: Values;
  readonly total: Values;
  /** Samples to the left of the node: it spans `start … start + total`. */
  readonly start: Values;
  /** Hash of the names from the root to the node: finds the node again in another tree. Made when it is first asked for. */
  readonly path: Uint32Array;
  /** The nodes of each depth, from left to right. */
  readonly rows: readonly Int32Array[];
}

/** The columns of a tree that the others follow from. */
export type Ordered = Pick<FlameTree, "count" | "parent" | "frame" | "self" | "total">;

/** The server's answer is not a tree. */
export class TreeError extends Error {}

/** Nodes in any order in which a parent comes before its children; node 0 is the root. */
export interface Source {
  count: number;
  parent: Int32Array;
  frame: Uint32Array;
  self: Float64Array;
  total: Float64Array;
}

/** Checks the columns of an answer and orders them for drawing. */
export function buildTree(flame: Flame): FlameTree {
  const frames = new FrameTable(readColumns(flame));
  return arrange(frames, readNodes(flame, frames.length));
}

function readNodes({ nodes }: Flame, frames: number): Source {
  const count = nodes.parent.length;
  if (count === 0) throw new TreeError("the stack tree has no root");
  if (nodes.frame.length !== count || nodes.self.length !== count || nodes.total.length !== count) {
    throw new TreeError("the columns of the stack tree differ in length");
  }
  // Columns of one type each: what walks them is compiled once, for trees from the server and from transforms alike.
  const parent = new Int32Array(nodes.parent);
  const frame = new Uint32Array(nodes.frame);
  parent[0] = -1;
  for (let i = 0; i < count; i++) {
    if (!((frame[i] as number) < frames)) throw new TreeError(`node ${i} has no frame`);
    if (i === 0) continue;
    const distance = parent[i] as number;
    if (!(distance >= 1 && distance <= i)) throw new TreeError(`node ${i} has no parent`);
    parent[i] = i - distance;
  }
  return { count, parent, frame, self: new Float64Array(nodes.self), total: new Float64Array(nodes.total) };
}

/** Up to here sorting by insertion is faster than asking the engine to sort. */
const FEW = 24;

/** Sorts `nodes[from … until]` from wide to narrow; equal ones stay in their order. */
function sortByWidth(nodes: Int32Array, from: number, until: number, total: Float64Array): void {
  if (until - from > FEW) {
    nodes.subarray(from, until).sort((a, b) => (total[b] as number) - (total[a] as number) || a - b);
    return;
  }
  for (let i = from + 1; i < until; i++) {
    const node = nodes[i] as number;
    const width = total[node] as number;
    let at = i;
    for (; at > from && (total[nodes[at - 1] as number] as number) < width; at--) nodes[at] = nodes[at - 1] as number;
    nodes[at] = node;
  }
}

/** The children of each node: those of node `i` are `nodes[first[i] … first[i + 1]]`. */
function childrenByNode({ count, parent }: Source): { first: Int32Array; nodes: Int32Array } {
  const first = new Int32Array(count + 1);
  for (let i = 1; i < count; i++) first[(parent[i] as number) + 1]!++;
  for (let i = 0; i < count; i++) first[i + 1]! += first[i] as number;
  const fill = first.slice(0, count);
  const nodes = new Int32Array(count);
  for (let i = 1; i < count; i++) nodes[fill[parent[i] as number]!++] = i;
  return { first, nodes };
}

/** Orders nodes for drawing: in preorder, with every node's children from wide to narrow. */
export function arrange(frames: FrameTable, source: Source): FlameTree {
  const { count } = source;
  const { first, nodes } = childrenByNode(source);
  const parent = new Int32Array(count);
  const frame = new Uint32Array(count);
  const self = new Float64Array(count);
  const total = new Float64Array(count);
  // Nodes still to be visited, and the places of their parents; never more than there are nodes.
  const open = new Int32Array(count);
  const above = new Int32Array(count);
  above[0] = -1;
  let height = 1;
  for (let at = 0; height > 0; at++) {
    height--;
    const node = open[height] as number;
    parent[at] = above[height] as number;
    frame[at] = source.frame[node] as number;
    self[at] = source.self[node] as number;
    total[at] = source.total[node] as number;
    const from = first[node] as number;
    const until = first[node + 1] as number;
    if (until - from > 1) sortByWidth(nodes, from, until, source.total);
    for (let i = until - 1; i >= from; i--) {
      open[height] = nodes[i] as number;
      above[height] = at;
      height++;
    }
  }
  return finished(frames, { count, parent, frame, self, total });
}

/**
 * Adds what follows from the order. One walk over columns without an object for a node, for it runs once and is hardly
 * compiled before it is over.
 */
export function finished(frames: FrameTable, ordered: Ordered): FlameTree {
  const { count, parent, frame, self, total } = ordered;
  const whole = total instanceof Uint32Array;
  const depth = new Uint16Array(count);
  const end = new Int32Array(count);
  const start = whole ? new Uint32Array(count) : new Float64Array(count);
  // Where the next child of a node starts.
  const next = whole ? new Uint32Array(count) : new Float64Array(count);
  // The nodes on the way down to the one at hand, whose ends are not known yet, and how many nodes each depth has.
  const open = [0];
  const counts = [1];
  let height = 1;
  for (let i = 1; i < count; i++) {
    const up = parent[i] as number;
    const row = (depth[up] as number) + 1;
    depth[i] = row;
    const from = next[up] as number;
    start[i] = from;
    next[i] = from;
    next[up] = from + (total[i] as number);
    while (height > row) end[open[--height] as number] = i;
    open[row] = i;
    height = row + 1;
    counts[row] = (counts[row] ?? 0) + 1;
  }
  while (height > 0) end[open[--height] as number] = count;
  return withPaths({ count, frames, parent, frame, depth, end, self, total, start, rows: rowsOf(depth, counts) });
}

/** A tree whose path hashes are made when somebody asks for them: drawing does not. */
export function withPaths(tree: Omit<FlameTree, "path">): FlameTree {
  let known: Uint32Array | undefined;
  return {
    ...tree,
    get path() {
      return (known ??= pathsOf(tree));
    },
  };
}

function pathsOf({ count, frames, parent, frame }: Omit<FlameTree, "path">): Uint32Array {
  const { hashes } = frames;
  const path = new Uint32Array(count);
  for (let i = 1; i < count; i++) {
    path[i] = (Math.imul((path[parent[i] as number] as number) ^ (hashes[frame[i] as number] as number), 0x01000193) + 1) >>> 0;
  }
  return path;
}

/** The nodes of each depth, of which there are so many; all rows lie in one buffer. */
function rowsOf(depth: Uint16Array, counts: readonly number[]): Int32Array[] {
  const nodes = new Int32Array(depth.length);
  let at = 0;
  const fill = counts.map((count) => (at += count) - count);
  for (let i = 0; i < depth.length; i++) nodes[fill[depth[i] as number]!++] = i;
  return fill.map((until, row) => nodes.subarray(until - (counts[row] as number), until));
}

/** The frame of a node. */
export function frameOf(tree: FlameTree, node: number): Frame {
  return tree.frames.at(tree.frame[node] as number);
}

/** The children of a node, from wide to narrow. */
export function childrenOf(tree: FlameTree, node: number): number[] {
  const children: number[] = [];
  const end = tree.end[node] as number;
  for (let child = node + 1; child < end; child = tree.end[child] as number) children.push(child);
  return children;
}

/** The groups with the most samples. */
export function largestGroups(tree: FlameTree | undefined, most: number): ReadonlySet<string> {
  const groups = (tree ? childrenOf(tree, 0) : []).filter((node) => frameOf(tree!, node).kind === "group");
  return new Set(groups.slice(0, most).map((node) => frameOf(tree!, node).name));
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

/** The widest node of a frame with this identity, by its hash; -1 where there is none. */
export function widestOf(tree: FlameTree, hash: number): number {
  let widest = -1;
  for (let node = 0; node < tree.count; node++) {
    if (tree.frames.hash(tree.frame[node] as number) !== hash) continue;
    if (widest < 0 || (tree.total[node] as number) > (tree.total[widest] as number)) widest = node;
  }
  return widest;
}
