/** A tree from a tree, node by node: the core of all transforms. Columns in, columns out; no object for a node. */

import type { FrameTable } from "./frames";
import { type FlameTree, arrange } from "./tree";

/** The samples of a node go nowhere. */
export const GONE = -1;

/** The nodes of a new tree, found by parent and frame. Node 0 is the root. */
export class Growth {
  count = 1;
  parent: Int32Array;
  frame: Uint32Array;
  self: Float64Array;
  /** Open addressing: one more than a node, 0 where a slot is free. */
  #slots: Int32Array;

  constructor(capacity: number, rootFrame: number) {
    const size = Math.max(16, capacity);
    this.parent = new Int32Array(size);
    this.frame = new Uint32Array(size);
    this.self = new Float64Array(size);
    this.parent[0] = -1;
    this.frame[0] = rootFrame;
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(size * 2)));
  }

  #slot(parent: number, frame: number): number {
    const mask = this.#slots.length - 1;
    const mixed = Math.imul(Math.imul(parent, 0x9e3779b1) ^ frame, 0x85ebca6b);
    let at = (mixed ^ (mixed >>> 15)) & mask;
    for (;;) {
      const node = (this.#slots[at] as number) - 1;
      if (node < 0 || (this.parent[node] === parent && this.frame[node] === frame)) return at;
      at = (at + 1) & mask;
    }
  }

  /** The child of a node with this frame; a new one if there is none yet. */
  child(parent: number, frame: number): number {
    const slot = this.#slot(parent, frame);
    const known = (this.#slots[slot] as number) - 1;
    if (known >= 0) return known;
    if (this.count === this.parent.length) {
      this.#grow();
      return this.#add(this.#slot(parent, frame), parent, frame);
    }
    return this.#add(slot, parent, frame);
  }

  #add(slot: number, parent: number, frame: number): number {
    const node = this.count++;
    this.parent[node] = parent;
    this.frame[node] = frame;
    this.#slots[slot] = node + 1;
    return node;
  }

  #grow(): void {
    const size = this.parent.length * 2;
    const larger = <T extends Int32Array | Uint32Array | Float64Array>(into: T, from: T): T => {
      into.set(from);
      return into;
    };
    this.parent = larger(new Int32Array(size), this.parent);
    this.frame = larger(new Uint32Array(size), this.frame);
    this.self = larger(new Float64Array(size), this.self);
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (let node = 1; node < this.count; node++) {
      this.#slots[this.#slot(this.parent[node] as number, this.frame[node] as number)] = node + 1;
    }
  }
}

/** Orders what has grown; nodes without samples are left out, but for the root. */
export function grown(growth: Growth, frames: FrameTable): FlameTree {
  const { count, parent, frame, self } = growth;
  const total = self.slice(0, count);
  // A child always comes after its parent.
  for (let node = count - 1; node > 0; node--) total[parent[node] as number]! += total[node] as number;
  const place = new Int32Array(count);
  let kept = 1;
  for (let node = 1; node < count; node++) {
    if ((total[node] as number) <= 0) continue;
    const at = kept++;
    place[node] = at;
    parent[at] = place[parent[node] as number] as number;
    frame[at] = frame[node] as number;
    self[at] = self[node] as number;
    total[at] = total[node] as number;
  }
  return arrange(frames, {
    count: kept, parent: parent.subarray(0, kept), frame: frame.subarray(0, kept), self: self.subarray(0, kept),
    total: total.subarray(0, kept),
  });
}

/**
 * Builds a tree of the samples of another. `place` says for each node, in preorder, to which node of the new tree its
 * own samples go: a child of `above`, the node of its caller, or any other; `GONE` drops them. It is asked for the root, too, with
 * `above` 0.
 */
export function rebuilt(
  tree: FlameTree, frames: FrameTable, place: (node: number, above: number, growth: Growth) => number,
): FlameTree {
  const growth = new Growth(tree.count, tree.frame[0] as number);
  const placed = new Int32Array(tree.count);
  for (let node = 0; node < tree.count; node++) {
    const to = place(node, node === 0 ? 0 : (placed[tree.parent[node] as number] as number), growth);
    placed[node] = to;
    if (to >= 0) growth.self[to]! += tree.self[node] as number;
  }
  return grown(growth, frames);
}
