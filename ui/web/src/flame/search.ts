/** Searching frames: which match, and what share of the samples they hold. */

import type { FrameIdentity } from "./frames";
import type { FlameTree } from "./tree";

/** A search as typed: plain text, or `/expression/`. */
export type Query = { test: (frame: FrameIdentity) => boolean } | { error: string };

/** Reads a search; undefined when nothing is searched for. */
export function parseQuery(text: string): Query | undefined {
  const wanted = text.trim();
  if (!wanted) return undefined;
  if (!wanted.startsWith("/") || wanted.length < 2) {
    const lower = wanted.toLowerCase();
    const has = (value: string) => value.toLowerCase().includes(lower);
    return { test: (frame) => has(frame.name) || has(frame.binary) };
  }
  const body = wanted.endsWith("/") && wanted.length > 2 ? wanted.slice(1, -1) : wanted.slice(1);
  try {
    const expression = new RegExp(body, "i");
    return { test: (frame) => expression.test(frame.name) || expression.test(frame.binary) };
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^.*: /, "") : String(error);
    return { error: reason.charAt(0).toLowerCase() + reason.slice(1) };
  }
}

/** What a search found in a tree. */
export interface Matches {
  /** 1 for each frame that matches. */
  frames: Uint8Array;
  /** Matching nodes that no matching node stands above, from left to right. */
  tops: number[];
  /** Samples with a match anywhere in their stack, each counted once. */
  samples: number;
}

/** Finds what matches below `top`. */
export function findMatches(tree: FlameTree, test: (frame: FrameIdentity) => boolean, top = 0): Matches {
  const frames = new Uint8Array(tree.frames.length);
  const table = tree.frames;
  for (let i = 0; i < frames.length; i++) {
    const frame = { kind: table.kind(i), name: table.name(i), binary: table.binary(i) };
    if (frame.kind !== "root" && test(frame)) frames[i] = 1;
  }
  const tops: number[] = [];
  let samples = 0;
  const end = tree.end[top] as number;
  for (let node = top; node < end; ) {
    if (frames[tree.frame[node] as number]) {
      tops.push(node);
      samples += tree.total[node] as number;
      node = tree.end[node] as number;
    } else {
      node++;
    }
  }
  return { frames, tops, samples };
}
