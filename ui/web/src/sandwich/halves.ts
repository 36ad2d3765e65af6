/** Who calls a function, and what it calls: two trees that have it as their root. */

import { Growth, grown } from "../flame/rebuild";
import type { FlameTree } from "../flame/tree";

/** Both count the same samples: those with the function in their stack, each once. */
export interface Halves {
  /** From the function outwards, up to the groups. */
  callers: FlameTree;
  callees: FlameTree;
}

/** The halves of the function that `match` holds the frames of; of a recursion the outermost call counts. */
export function halvesOf(tree: FlameTree, match: Uint8Array): Halves | undefined {
  const { frame, parent, self, total, end, count } = tree;
  const first = match.indexOf(1);
  if (first < 0) return undefined;
  const callers = new Growth(1024, first);
  const callees = new Growth(1024, first);
  const place = new Int32Array(count);
  let widest = 0;
  for (let node = 1; node < count; ) {
    if (!match[frame[node] as number]) {
      node++;
      continue;
    }
    // The frame of the widest call gives the middle its colour.
    if ((total[node] as number) > widest) {
      widest = total[node] as number;
      callers.frame[0] = callees.frame[0] = frame[node] as number;
    }
    let at = 0;
    for (let above = parent[node] as number; above > 0; above = parent[above] as number) {
      at = callers.child(at, frame[above] as number);
    }
    callers.self[at]! += total[node] as number;
    const last = end[node] as number;
    place[node] = 0;
    callees.self[0]! += self[node] as number;
    for (let below = node + 1; below < last; below++) {
      const to = callees.child(place[parent[below] as number] as number, frame[below] as number);
      place[below] = to;
      callees.self[to]! += self[below] as number;
    }
    node = last;
  }
  return widest > 0 ? { callers: grown(callers, tree.frames), callees: grown(callees, tree.frames) } : undefined;
}

/** Samples below `top` that end in a function, and those with it anywhere in their stack, each once. */
export function totalsOf({ frame, self, total, end }: FlameTree, match: Uint8Array, top = 0): { self: number; total: number } {
  const sums = { self: 0, total: 0 };
  let inside = 0;
  const last = end[top] as number;
  for (let node = top + 1; node < last; node++) {
    if (!match[frame[node] as number]) continue;
    sums.self += self[node] as number;
    if (node < inside) continue;
    inside = end[node] as number;
    sums.total += total[node] as number;
  }
  return sums;
}
