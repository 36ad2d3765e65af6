/** From the server's bytes to trees, and between threads: what runs in the worker, and in tests without one. */

import type { Flame, FlameFacts } from "../api/types";
import { type Step, applyTransforms } from "./apply";
import { type Frame, type FrameColumns, FrameTable } from "./frames";
import type { Transform } from "./transform";
import { type FlameTree, TreeError, buildTree } from "./tree";

/** A tree as it crosses between threads. */
export interface SentTree {
  /** Undefined where they are those that were sent last. */
  columns: FrameColumns | undefined;
  extra: readonly Frame[];
  nodes: Pick<FlameTree, "count" | "parent" | "frame" | "depth" | "end" | "self" | "total" | "start" | "path">;
  /** All rows, one after the other, and where each ends. */
  rows: Int32Array;
  rowEnds: Int32Array;
}

/** What a load or a transform results in. */
export interface Sent {
  facts: FlameFacts;
  tree: SentTree;
  steps: readonly Step[];
}

/** Holds the tree of the last answer, and makes others of it. */
export class Grower {
  #facts: FlameFacts | undefined;
  #base: FlameTree | undefined;

  /** Reads an answer of `/api/v1/flame`. */
  load(bytes: ArrayBuffer, transforms: readonly Transform[]): Sent {
    const { nodes, frames, strings, kinds, ...facts } = JSON.parse(new TextDecoder().decode(bytes)) as Flame;
    this.#base = buildTree({ nodes, frames, strings, kinds, ...facts });
    this.#facts = facts;
    return this.#sent(transforms, true);
  }

  /** Transforms the tree that was loaded last. */
  apply(transforms: readonly Transform[]): Sent {
    return this.#sent(transforms, false);
  }

  #sent(transforms: readonly Transform[], withFrames: boolean): Sent {
    if (!this.#base || !this.#facts) throw new TreeError("there is no tree yet");
    const { tree, steps } = applyTransforms(this.#base, transforms);
    const own = tree === this.#base ? copied(tree) : tree;
    return { facts: this.#facts, tree: sentTree(own, withFrames), steps };
  }
}

/** The buffers of what is sent that only the receiver needs; the others are copied. */
export function givenAway({ tree }: Sent): ArrayBuffer[] {
  const { rows, rowEnds, nodes } = tree;
  const { parent, frame, depth, end, self, total, start, path } = nodes;
  return [rows, rowEnds, parent, frame, depth, end, self, total, start, path].map(({ buffer }) => buffer as ArrayBuffer);
}

/** Columns that may be given away while the tree stays. */
function copied(tree: FlameTree): FlameTree {
  const { count, frames, rows, parent, frame, depth, end, self, total, start, path } = tree;
  return {
    count, frames, rows, parent: parent.slice(), frame: frame.slice(), depth: depth.slice(), end: end.slice(), self: self.slice(),
    total: total.slice(), start: start.slice(), path: path.slice(),
  };
}

function sentTree(tree: FlameTree, withFrames: boolean): SentTree {
  const { frames, rows: byDepth, ...nodes } = tree;
  const rows = new Int32Array(tree.count);
  const rowEnds = new Int32Array(byDepth.length);
  let at = 0;
  byDepth.forEach((row, depth) => {
    rows.set(row, at);
    at += row.length;
    rowEnds[depth] = at;
  });
  return { columns: withFrames ? frames.columns : undefined, extra: frames.extra, nodes, rows, rowEnds };
}

/** The tree that was sent; `columns` are the frames of the last answer. */
export function received({ extra, nodes, rows, rowEnds }: SentTree, columns: FrameColumns): FlameTree {
  const byDepth = Array.from(rowEnds, (end, depth) => rows.subarray(depth ? rowEnds[depth - 1] : 0, end));
  return { ...nodes, frames: new FrameTable(columns, extra), rows: byDepth };
}
