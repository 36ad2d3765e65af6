/** Applying transforms: each is a pure function from tree to tree, and no sample is counted twice or lost unseen. */

import { GONE, Growth, grown, rebuilt } from "./rebuild";
import { foldStartup, startsUp } from "./startup";
import { type Transform, matching, pathOf, targetName } from "./transform";
import type { FlameTree } from "./tree";

/** A transform as it was done. */
export interface Step {
  /** What it was done to, in words; empty for the whole tree. */
  name: string;
  /** Samples in the tree after it. */
  samples: number;
  /** Whether its target was there; else the tree stayed as it was. */
  found: boolean;
}

/** Applies transforms one after the other. A target that is not there changes nothing. */
export function applyTransforms(tree: FlameTree, transforms: readonly Transform[]): { tree: FlameTree; steps: Step[] } {
  const steps: Step[] = [];
  let at = tree;
  for (const transform of transforms) {
    const { tree: next, name, found } = applied(at, transform);
    at = next;
    steps.push({ name, found, samples: at.total[0] as number });
  }
  return { tree: at, steps };
}

/** Whether transforms leave a tree as it is, as far as that can be told without walking it. */
export const changesNothing = (tree: FlameTree, transforms: readonly Transform[]): boolean =>
  transforms.every(({ operation }) => operation === "fold") && !startsUp(tree);

function applied(tree: FlameTree, { operation, target }: Transform): { tree: FlameTree; name: string; found: boolean } {
  if (operation === "fold") return { tree: foldStartup(tree), name: "start-up frames", found: true };
  const path = pathOf(target);
  if (path !== undefined) {
    const node = tree.path.indexOf(path);
    if (node <= 0) return { tree, name: "a frame that is not here", found: false };
    const name = tree.frames.name(tree.frame[node] as number);
    if (operation === "focus") return { tree: focusNode(tree, node), name, found: true };
    if (operation === "invert") return { tree: invert(tree, node), name, found: true };
    return { tree, name, found: false };
  }
  if (!target) return { tree: operation === "invert" ? invert(tree, 0) : mergeNames(tree), name: "", found: true };
  const match = matching(tree.frames, target);
  const first = match.indexOf(1);
  if (first < 0) return { tree, name: targetName(target), found: false };
  return { tree: byFunction(tree, operation, match), name: tree.frames.name(first), found: true };
}

function byFunction(tree: FlameTree, operation: Transform["operation"], match: Uint8Array): FlameTree {
  switch (operation) {
    case "focus":
      return focusFunction(tree, match);
    case "hide":
      return hide(tree, match);
    case "drop":
      return drop(tree, match);
    case "collapse":
      return collapse(tree, match);
    case "merge":
      return mergeNames(tree, match);
    default:
      return tree;
  }
}

/** Only what runs below one node, which becomes the first row. */
export function focusNode(tree: FlameTree, top: number): FlameTree {
  const { frame, end } = tree;
  const last = end[top] as number;
  return rebuilt(tree, tree.frames, (node, above, growth) => {
    if (node === top) return growth.child(0, frame[node] as number);
    return node > top && node < last ? growth.child(above, frame[node] as number) : GONE;
  });
}

/** Only what runs below a function, wherever it was called from; of a recursion the outermost call counts. */
export function focusFunction(tree: FlameTree, match: Uint8Array): FlameTree {
  const { frame } = tree;
  return rebuilt(tree, tree.frames, (node, above, growth) => {
    const id = frame[node] as number;
    if (node > 0 && above >= 0) return growth.child(above, id);
    return match[id] ? growth.child(0, id) : GONE;
  });
}

/** Without the frames of a function: what it called, and its own samples, are its callers'. */
export function hide(tree: FlameTree, match: Uint8Array): FlameTree {
  const { frame } = tree;
  return rebuilt(tree, tree.frames, (node, above, growth) => {
    const id = frame[node] as number;
    return node === 0 || match[id] ? above : growth.child(above, id);
  });
}

/** Without the stacks that a function is in. */
export function drop(tree: FlameTree, match: Uint8Array): FlameTree {
  const { frame } = tree;
  return rebuilt(tree, tree.frames, (node, above, growth) => {
    if (node === 0) return 0;
    const id = frame[node] as number;
    return above < 0 || match[id] ? GONE : growth.child(above, id);
  });
}

/** A function that calls itself, at once or through others, stands once: the innermost call takes the outermost's place. */
export function collapse(tree: FlameTree, match: Uint8Array): FlameTree {
  const { frame, parent } = tree;
  // The place of the outermost call that a node is below, or is; 0 for none.
  const outermost = new Int32Array(tree.count);
  return rebuilt(tree, tree.frames, (node, above, growth) => {
    if (node === 0) return 0;
    const id = frame[node] as number;
    const outer = outermost[parent[node] as number] as number;
    outermost[node] = outer;
    if (match[id] && outer > 0) return outer;
    const to = growth.child(above, id);
    if (match[id]) outermost[node] = to;
    return to;
  });
}

/** Frames of one name become one, whatever their binary and kind: those that match, or all. Rows of groups stay. */
export function mergeNames(tree: FlameTree, match?: Uint8Array): FlameTree {
  const { frame, frames, total } = tree;
  // The widest frame of a name gives it its binary and kind.
  const widest = new Float64Array(frames.length);
  for (let node = 0; node < tree.count; node++) {
    const id = frame[node] as number;
    if ((total[node] as number) > (widest[id] as number)) widest[id] = total[node] as number;
  }
  const byName = new Map<string, number>();
  const merged = new Uint32Array(frames.length);
  const merges = (id: number) => {
    const kind = frames.kind(id);
    return kind !== "root" && kind !== "group" && kind !== "truncated" && (!match || match[id]);
  };
  for (let id = 0; id < merged.length; id++) {
    merged[id] = id;
    if (!merges(id)) continue;
    const known = byName.get(frames.name(id));
    if (known === undefined || (widest[id] as number) > (widest[known] as number)) byName.set(frames.name(id), id);
  }
  for (let id = 0; id < merged.length; id++) if (merges(id)) merged[id] = byName.get(frames.name(id)) ?? id;
  return rebuilt(tree, frames, (node, above, growth) =>
    node === 0 ? 0 : growth.child(above, merged[frame[node] as number] as number));
}

/** Each stack below `top` turned around: the sampled functions come first, and below them who called them. */
export function invert(tree: FlameTree, top: number): FlameTree {
  const { frame, parent, self } = tree;
  const growth = new Growth(tree.count, frame[0] as number);
  const end = tree.end[top] as number;
  for (let node = top; node < end; node++) {
    const samples = self[node] as number;
    if (samples <= 0) continue;
    let at = 0;
    for (let caller = node; caller > 0; caller = parent[caller] as number) {
      at = growth.child(at, frame[caller] as number);
      if (caller === top) break;
    }
    growth.self[at]! += samples;
  }
  return grown(growth, tree.frames);
}
