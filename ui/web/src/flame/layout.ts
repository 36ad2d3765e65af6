/** From a tree and a view to rectangles: pure arithmetic, no drawing. */

import type { FlameTree } from "./tree";

/** The samples from left to right that fill the width. */
export interface View {
  x0: number;
  x1: number;
}

/** Height of a row of frames, gap included, in CSS pixels. */
export const rowHeight = (compact: boolean): number => (compact ? 16 : 20);

/** The surface drawn on, in CSS pixels. */
export interface Viewport {
  width: number;
  height: number;
  /** Free space left and right of the frames. */
  padLeft: number;
  padRight: number;
  /** Free space between the root and the edge it stands at. */
  padTop: number;
  rowHeight: number;
  /** Pixels scrolled away from the root. */
  scroll: number;
  /** `icicle` has the root at the top, `flame` at the bottom. */
  orientation: "icicle" | "flame";
}

/** Rectangles in columns; `node[i]` is drawn at `x[i]`, `y[i]`, `w[i]` wide. Reused from frame to frame. */
export interface Rects {
  count: number;
  node: Int32Array;
  x: Float32Array;
  y: Float32Array;
  w: Float32Array;
  /** 1 where several siblings too narrow to see stand as one sliver. */
  sliver: Uint8Array;
}

/** Narrower siblings merge, in CSS pixels. */
export const SLIVER = 0.45;

/** Room for `capacity` rectangles; it grows as needed. */
export function emptyRects(capacity = 4096): Rects {
  return {
    count: 0,
    node: new Int32Array(capacity),
    x: new Float32Array(capacity),
    y: new Float32Array(capacity),
    w: new Float32Array(capacity),
    sliver: new Uint8Array(capacity),
  };
}

function grow(rects: Rects): void {
  const larger = emptyRects(rects.node.length * 2);
  for (const key of ["node", "x", "y", "w", "sliver"] as const) {
    larger[key].set(rects[key]);
    // Each column keeps its own type; only the length changes.
    (rects as unknown as Record<string, unknown>)[key] = larger[key];
  }
}

/** Pixels per sample. */
export function scaleOf(view: View, port: Viewport): number {
  return (port.width - port.padLeft - port.padRight) / (view.x1 - view.x0 || 1);
}

/** The upper edge of a row. */
export function rowTop(row: number, port: Viewport): number {
  const offset = port.padTop + row * port.rowHeight - port.scroll;
  return port.orientation === "icicle" ? offset : port.height - offset - port.rowHeight;
}

/** The height of all rows and the space around them. */
export function contentHeight(rows: number, port: Viewport): number {
  return rows * port.rowHeight + port.padTop * 2;
}

/** The first of `row`, from `low` on, whose right edge lies right of `x`. */
function firstRightOf(tree: FlameTree, row: Int32Array, x: number, low = 0, high = row.length): number {
  while (low < high) {
    const middle = (low + high) >> 1;
    const node = row[middle] as number;
    if ((tree.start[node] as number) + (tree.total[node] as number) > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The rectangles that can be seen, row by row from the root. */
export function visibleRects(tree: FlameTree, view: View, port: Viewport, rects = emptyRects()): Rects {
  rects.count = 0;
  const first = Math.max(0, Math.floor((port.scroll - port.padTop) / port.rowHeight));
  const last = Math.ceil((port.scroll + port.height - port.padTop) / port.rowHeight);
  for (let depth = first; depth < Math.min(last, tree.rows.length); depth++) {
    addRow(tree, tree.rows[depth] as Int32Array, rowTop(depth, port), view, port, rects);
  }
  return rects;
}

/** The same, looked for nearby first: what is passed over is mostly little. */
function nextRightOf(tree: FlameTree, row: Int32Array, x: number, from: number): number {
  let low = from;
  let step = 1;
  for (;;) {
    const at = low + step;
    if (at >= row.length) return firstRightOf(tree, row, x, low, row.length);
    const node = row[at] as number;
    if ((tree.start[node] as number) + (tree.total[node] as number) > x) return firstRightOf(tree, row, x, low, at);
    low = at + 1;
    step *= 2;
  }
}

function addRow(tree: FlameTree, row: Int32Array, y: number, view: View, port: Viewport, rects: Rects): void {
  const scale = scaleOf(view, port);
  const left = port.padLeft;
  const right = port.width - port.padRight;
  const narrow = SLIVER / scale;
  let widest = 0;
  let i = firstRightOf(tree, row, view.x0);
  while (i < row.length) {
    const node = row[i] as number;
    const start = tree.start[node] as number;
    if (start >= view.x1) break;
    const total = tree.total[node] as number;
    const x = Math.max(left, left + (start - view.x0) * scale);
    let until = start + total;
    i++;
    if (total < narrow) {
      // A crowd of narrow ones is stepped over as far as one sliver reaches: a row may hold a million of them.
      i = nextRightOf(tree, row, start + narrow, i);
      const passed = row[i - 1] as number;
      until = (tree.start[passed] as number) + (tree.total[passed] as number);
    }
    const w = Math.min(right, left + (until - view.x0) * scale) - x;
    const last = rects.count - 1;
    if (w < SLIVER && last >= 0 && rects.sliver[last] && rects.y[last] === y) {
      const reach = x - (rects.x[last] as number);
      if (reach - (rects.w[last] as number) < SLIVER) {
        rects.w[last] = reach + w;
        if (total > widest) {
          widest = total;
          rects.node[last] = node;
        }
        continue;
      }
    }
    if (rects.count === rects.node.length) grow(rects);
    const at = rects.count++;
    rects.node[at] = node;
    rects.x[at] = x;
    rects.y[at] = y;
    rects.w[at] = w;
    rects.sliver[at] = w < SLIVER ? 1 : 0;
    widest = total;
  }
}

/** The node under a point; -1 where there is none. */
export function hit(tree: FlameTree, view: View, port: Viewport, px: number, py: number): number {
  if (px < port.padLeft || px >= port.width - port.padRight) return -1;
  const down = port.orientation === "icicle" ? py : port.height - py;
  const row = tree.rows[Math.floor((down + port.scroll - port.padTop) / port.rowHeight)];
  if (!row) return -1;
  const sample = view.x0 + (px - port.padLeft) / scaleOf(view, port);
  const node = row[firstRightOf(tree, row, sample)];
  return node !== undefined && (tree.start[node] as number) <= sample ? node : -1;
}

/** The view that a node fills. */
export function viewOf(tree: FlameTree, node: number): View {
  const x0 = tree.start[node] as number;
  return { x0, x1: x0 + (tree.total[node] as number) };
}

/** Part of the way from one view to another, quick at first (cubic out); `t` in 0…1. */
export function between(from: View, to: View, t: number): View {
  const eased = 1 - (1 - t) ** 3;
  return { x0: from.x0 + (to.x0 - from.x0) * eased, x1: from.x1 + (to.x1 - from.x1) * eased };
}

/** How far a view can be zoomed in, as a part of the whole. */
const CLOSEST = 1e-7;

/** A view of the same whole, moved and resized so that it lies within it. */
function bounded({ x0, x1 }: View, whole: View): View {
  const all = whole.x1 - whole.x0;
  const width = Math.min(all, Math.max(x1 - x0, all * CLOSEST));
  const from = Math.min(Math.max(x0, whole.x0), whole.x1 - width);
  return { x0: from, x1: from + width };
}

/** The view after zooming by `factor` (below 1: closer) around the sample `at`. */
export function zoomedAt(view: View, whole: View, at: number, factor: number): View {
  const width = Math.min(whole.x1 - whole.x0, (view.x1 - view.x0) * factor);
  const part = (at - view.x0) / (view.x1 - view.x0 || 1);
  return bounded({ x0: at - width * part, x1: at + width * (1 - part) }, whole);
}

/** The view after moving it by a number of samples. */
export const panned = (view: View, whole: View, by: number): View =>
  bounded({ x0: view.x0 + by, x1: view.x1 + by }, whole);

/** A view as parts of the whole, 0…1, and back: what a link carries. */
export const toParts = ({ x0, x1 }: View, whole: View): View => {
  const all = whole.x1 - whole.x0 || 1;
  return { x0: (x0 - whole.x0) / all, x1: (x1 - whole.x0) / all };
};
export const fromParts = ({ x0, x1 }: View, whole: View): View => {
  const all = whole.x1 - whole.x0;
  return bounded({ x0: whole.x0 + x0 * all, x1: whole.x0 + x1 * all }, whole);
};
