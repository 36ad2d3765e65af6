/** Rectangles of the heat map as a selection. Pure. */

import type { Rectangle, Span } from "./url";

/** As many as the server takes. */
export const MOST_RECTANGLES = 32;

/** The span that holds all of them. */
export const hullOf = (all: readonly Rectangle[]): Span => ({
  from: Math.min(...all.map(({ from }) => from)), until: Math.max(...all.map(({ until }) => until)),
});

/** The same part of time as rectangles that do not overlap: what lies in several counts once. */
export function disjoint(all: readonly Rectangle[]): Rectangle[] {
  const edges = [...new Set(all.flatMap(({ low, high }) => [low, high]))].sort((a, b) => a - b);
  const found: Rectangle[] = [];
  edges.slice(1).forEach((high, i) => {
    const low = edges[i] as number;
    const spans = all.filter((one) => one.low <= low && one.high >= high).sort((a, b) => a.from - b.from);
    let last: Rectangle | undefined;
    for (const { from, until } of spans) {
      if (last && from <= last.until) last.until = Math.max(last.until, until);
      else found.push((last = { from, until, low, high }));
    }
  });
  return found;
}
