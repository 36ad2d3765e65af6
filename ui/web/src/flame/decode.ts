/** Trees between threads: what runs in the worker, and in tests without one. */

import { type Step, applyTransforms } from "./apply";
import { type Frame, type FrameColumns, FrameTable } from "./frames";
import type { Transform } from "./transform";
import { type FlameTree, type Ordered, TreeError, finished, withPaths } from "./tree";

/** A tree as it crosses between threads; both have the frames of the answer. */
export interface SentTree {
  /** Frames that transforms made. */
  extra: readonly Frame[];
  nodes: Pick<FlameTree, "count" | "parent" | "frame" | "depth" | "end" | "self" | "total" | "start">;
  /** All rows, one after the other, and where each ends. */
  rows: Int32Array;
  rowEnds: Int32Array;
}

/** What transforms result in. */
export interface Sent {
  tree: SentTree;
  steps: readonly Step[];
}

/** The tree of an answer, as the worker gets it: what does not follow from the rest. */
export interface Base extends Ordered {
  columns: FrameColumns;
}

export const baseOf = ({ frames, count, parent, frame, self, total }: FlameTree): Base =>
  ({ columns: frames.columns, count, parent, frame, self, total });

/** Holds the tree of the last answer, and makes others of it. */
export class Grower {
  #base: FlameTree | undefined;

  load({ columns, ...ordered }: Base): void {
    this.#base = finished(new FrameTable(columns), ordered);
  }

  /** Transforms the tree that was loaded last. */
  apply(transforms: readonly Transform[]): Sent {
    if (!this.#base) throw new TreeError("there is no tree yet");
    const { tree, steps } = applyTransforms(this.#base, transforms);
    return { tree: sentTree(tree === this.#base ? copied(tree) : tree), steps };
  }
}

/** The buffers of what is sent that only the receiver needs. */
export function givenAway({ tree }: Sent): ArrayBuffer[] {
  const { rows, rowEnds, nodes } = tree;
  const { parent, frame, depth, end, self, total, start } = nodes;
  return [rows, rowEnds, parent, frame, depth, end, self, total, start].map(({ buffer }) => buffer as ArrayBuffer);
}

/** Columns that may be given away while the tree stays. */
function copied(tree: FlameTree): FlameTree {
  const { count, frames, rows, parent, frame, depth, end, self, total, start } = tree;
  return withPaths({
    count, frames, rows, parent: parent.slice(), frame: frame.slice(), depth: depth.slice(), end: end.slice(), self: self.slice(),
    total: total.slice(), start: start.slice(),
  });
}

function sentTree({ count, frames, rows: byDepth, parent, frame, depth, end, self, total, start }: FlameTree): SentTree {
  const rows = new Int32Array(count);
  const rowEnds = new Int32Array(byDepth.length);
  let at = 0;
  byDepth.forEach((row, i) => {
    rows.set(row, at);
    at += row.length;
    rowEnds[i] = at;
  });
  return { extra: frames.extra, nodes: { count, parent, frame, depth, end, self, total, start }, rows, rowEnds };
}

/** The tree that was sent; `frames` are those of the answer. */
export function received({ extra, nodes, rows, rowEnds }: SentTree, frames: FrameTable): FlameTree {
  const byDepth = Array.from(rowEnds, (end, depth) => rows.subarray(depth ? rowEnds[depth - 1] : 0, end));
  return withPaths({ ...nodes, frames: frames.with(extra), rows: byDepth });
}
