/** Dragging on the time line: what a press takes hold of, and the span a drag leads to. */

import { clock } from "../format/time";
import type { Span } from "../state/url";
import { type Scale, SHORTEST, toTime, toX } from "./scale";

/** What the pointer took hold of. */
export type Grip = "new" | "left" | "right" | "inside";

/** How near an edge counts as the edge, in CSS pixels. */
const REACH = 6;

/** What a press at `x` takes hold of. */
export function gripAt(scale: Scale, brush: Span | null, x: number): Grip {
  if (!brush) return "new";
  const left = toX(scale, brush.from);
  const right = toX(scale, brush.until);
  if (Math.abs(x - left) <= REACH && Math.abs(x - left) <= Math.abs(x - right)) return "left";
  if (Math.abs(x - right) <= REACH) return "right";
  return x > left && x < right ? "inside" : "new";
}

/** Whole seconds where a pixel is coarser than a tenth of one; else whole milliseconds. */
function snap(scale: Scale, ms: number): number {
  const perPixel = (scale.span.until - scale.span.from) / scale.width;
  return perPixel >= 100 ? Math.round(ms / 1000) * 1000 : Math.round(ms);
}

/** The span after a drag from `x0` to `x1`, kept inside the window. */
export function dragged(scale: Scale, brush: Span | null, grip: Grip, x0: number, x1: number): Span {
  const { from, until } = scale.span;
  const inside = (ms: number) => Math.min(until, Math.max(from, ms));
  const at = (x: number) => snap(scale, inside(toTime(scale, x)));
  if (grip === "inside" && brush) {
    const length = brush.until - brush.from;
    const wanted = snap(scale, brush.from + toTime(scale, x1) - toTime(scale, x0));
    const start = Math.max(from, Math.min(until - length, wanted));
    return { from: start, until: start + length };
  }
  const fixed = grip === "left" && brush ? brush.until : grip === "right" && brush ? brush.from : at(x0);
  const moved = at(x1);
  const [low, high] = fixed < moved ? [fixed, moved] : [moved, fixed];
  return high - low >= SHORTEST ? { from: low, until: high } : { from: low, until: low + SHORTEST };
}

/** The span in words, for the read-out beside the pointer. */
export function spanText({ from, until }: Span): string {
  return `${clock(from)} – ${clock(until)}`;
}
