/** Asks ahead for what one goes to next: the graphs of the ranges before and after the one that is looked at. */

import { Latest, fetchFlameBytes } from "../api/client";
import type { Answered } from "../flame/columns";
import { shifted } from "../timeline/scale";
import type { Explore } from "./explore";
import type { Span } from "./url";

/** Where the range's own answer took longer, in milliseconds, two more would keep the server from its work. */
const QUICK = 1000;
/** Days are not stepped through like hours, and the server meets the stacks of another one for the first time. */
const LONGEST = 6 * 3_600_000;

/** The ranges of the same length around one, as far as there is data in them and they have ended; none around a long one. */
export function neighbours(range: Span, data: Span, now: number): Span[] {
  const length = range.until - range.from;
  if (length > LONGEST) return [];
  const around = [shifted(range, -length), shifted(range, length)];
  return around.filter(({ from, until }) => from < data.until && until > data.from && until <= now);
}

/** What is done once a range is seen. */
export interface Ahead {
  /** Asks for the neighbours' graphs of at most so many nodes, if the range does not move and its own graph took few milliseconds. */
  ask: (nodes: number, took: number, data: Answered["facts"]["data"]) => Promise<void>;
  /** Gives up: something is asked for that is wanted now. */
  stop: () => void;
}

/** The browser keeps the answers, and asks whether they are still right when they are wanted. */
export function createAhead(explore: Explore): Ahead {
  const asking = new Latest();
  return {
    ask: async (nodes, took, { from_ms: from, until_ms: until }) => {
      if (explore.live() || took > QUICK || from === null || until === null) return;
      const { query, by } = explore.view();
      const spans = neighbours(explore.range(), { from, until }, explore.now());
      const all = (signal: AbortSignal) =>
        spans.reduce(async (before, span) => {
          await before;
          await fetchFlameBytes({ query, ...span }, by, nodes, signal);
        }, Promise.resolve());
      // Whoever goes there is told what is wrong then.
      await asking.run(all).catch(() => {});
    },
    stop: () => asking.cancel(),
  };
}
