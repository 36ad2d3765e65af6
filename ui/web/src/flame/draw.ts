/** Draws the visible rectangles of a flame graph on a canvas. */

import type { Palette } from "../color/bands";
import type { Tokens } from "../color/tokens";
import { share } from "../format/number";
import type { Coloring } from "../state/url";
import type { Rects, View, Viewport } from "./layout";
import { frameLabel, shortName } from "./names";
import { NARROW, NarrowPainter, colorNumber } from "./narrow";
import { type Brush, frameFill, paintFrame } from "./paint";
import { type Font, FONTS, fits, fitted, roughWidth } from "./text";
import { type FlameTree, frameOf } from "./tree";

/** Labels start at this width, shares at that one, in CSS pixels. */
const LABEL_FROM = 26;
const SHARE_FROM = 150;
const FADED = 0.28;

/** All that a picture shows. */
export interface Scene {
  tree: FlameTree;
  rects: Rects;
  view: View;
  port: Viewport;
  palette: Palette;
  tokens: Tokens;
  ratio: number;
  /** What colours stand for; packages where nobody chose. */
  coloring?: Coloring;
  contrast?: boolean;
  rootLabel: string;
  /** 1 for each frame that a search found; undefined without a search. */
  matches: Uint8Array | undefined;
  zoomed: number;
}

/** A colour as canvases take it, and as a number where it is one. */
interface Fill {
  css: string;
  color: number | undefined;
}

/** What is kept from picture to picture: fills by frame, as long as the tree, the palette and what colours mean stay. */
export class FillCache {
  #tree: FlameTree | undefined;
  #palette: Palette | undefined;
  #coloring: Coloring | undefined;
  #fills: Fill[] = [];
  /** There are some dozens. */
  #known = new Map<string, Fill>();
  readonly narrow = new NarrowPainter();

  of(tree: FlameTree, palette: Palette, coloring: Coloring, frame: number): Fill {
    if (tree !== this.#tree || palette !== this.#palette || coloring !== this.#coloring) {
      this.#tree = tree;
      this.#palette = palette;
      this.#coloring = coloring;
      this.#fills = [];
      this.#known.clear();
    }
    const known = this.#fills[frame];
    if (known) return known;
    const css = frameFill(tree.frames.origin(frame), palette, coloring, tree.frames.nameHash(frame));
    let fill = this.#known.get(css);
    if (!fill) this.#known.set(css, (fill = { css, color: colorNumber(css) }));
    this.#fills[frame] = fill;
    return fill;
  }
}

/** Draws a scene; the context's scale is the device's pixel ratio. */
export function drawFlame(context: CanvasRenderingContext2D, scene: Scene, fills: FillCache): void {
  const { port, rects, tree, palette, ratio, coloring = "package", matches, zoomed } = scene;
  const brush: Brush = { context, palette, ratio, coloring, contrast: scene.contrast ?? false };
  const h = port.rowHeight - 1;
  context.clearRect(0, 0, port.width, port.height);
  context.textBaseline = "middle";
  const { narrow } = fills;
  const asPixels = narrow.begin(port.width, ratio);
  for (let i = 0; i < rects.count; i++) {
    const node = rects.node[i] as number;
    const w = rects.w[i] as number;
    const gap = w > 3 ? 1 : w > 1.2 ? 0.5 : 0;
    const width = Math.max(w - gap, 0.6);
    const frame = tree.frame[node] as number;
    const { css, color } = fills.of(tree, palette, coloring, frame);
    const x = rects.x[i] as number;
    const y = rects.y[i] as number;
    // Callers of the zoomed frame, and what a search found, have marks of their own.
    if (asPixels && width <= NARROW && color !== undefined && node >= zoomed && matches?.[frame] !== 1) {
      narrow.add(x, y, width, color, matches ? FADED : 1);
    } else if (rects.sliver[i]) {
      paintSliver(brush, scene, css, node, x, y, width, h);
    } else {
      paintNode(brush, scene, css, node, x, y, width, h);
    }
  }
  if (asPixels) narrow.paint(context, h);
}

/** Siblings too narrow to see: the colour of the widest, plain and pale, for it stands for many. */
function paintSliver(
  { context, palette }: Brush, scene: Scene, fill: string, node: number, x: number, y: number, w: number, h: number,
): void {
  const { matches, tree } = scene;
  const faded = matches !== undefined && matches[tree.frame[node] as number] !== 1;
  const alpha = faded ? FADED : w > NARROW ? 0.6 : 1;
  context.fillStyle = fill;
  // Thousands are drawn: what stays is not set again.
  if (alpha < 1) context.globalAlpha = alpha;
  context.fillRect(x, y, w, h);
  if (alpha < 1) context.globalAlpha = 1;
  if (w <= LABEL_FROM) return;
  const name = fitted(context, "many small frames", "share", w - 9);
  context.fillStyle = palette.ink;
  context.globalAlpha = faded ? 0.4 : 0.7;
  context.font = FONTS.share;
  context.textAlign = "left";
  context.fillText(name, x + 5, y + h / 2 + 1);
  context.globalAlpha = 1;
}

function paintNode(
  brush: Brush, scene: Scene, fill: string, node: number, x: number, y: number, w: number, h: number,
): void {
  const { context } = brush;
  const { tree, matches, tokens, zoomed } = scene;
  const frame = frameOf(tree, node);
  const found = matches?.[tree.frame[node] as number] === 1;
  const faded = matches !== undefined && !found;
  if (faded) context.globalAlpha = FADED;
  paintFrame(brush, frame, fill, x, y, w, h);
  if (faded) context.globalAlpha = 1;
  if (found && w > 1) {
    context.fillStyle = tokens.accent;
    context.fillRect(x, y + h - 2, w, 2);
  }
  // Callers of the zoomed frame step back.
  const caller = node < zoomed && (tree.end[node] as number) > zoomed;
  if (caller) {
    context.fillStyle = tokens.bg;
    context.globalAlpha = 0.45;
    context.fillRect(x, y, w, h);
    context.globalAlpha = 1;
  }
  if (w > LABEL_FROM) label(brush, scene, node, x, y, w, h, faded);
}

function label(
  { context, palette }: Brush, scene: Scene, node: number, x: number, y: number, w: number, h: number, faded: boolean,
): void {
  const { tree, rootLabel } = scene;
  const frame = frameOf(tree, node);
  const font: Font = frame.kind === "group" || frame.kind === "root" ? "group"
    : frame.kind === "inlined" ? "inlined" : "frame";
  const part = w > SHARE_FROM ? share((tree.total[node] as number) / (tree.total[0] as number)) : "";
  const room = w - 9 - (part ? roughWidth(context, part, "share") + 12 : 0);
  const full = frameLabel(frame, rootLabel);
  const name = fits(context, full, font, room) ? full : fitted(context, shortName(full), font, room);
  if (!name) return;
  const middle = y + h / 2 + 1;
  context.fillStyle = palette.ink;
  context.globalAlpha = faded ? 0.5 : 1;
  context.font = FONTS[font];
  context.textAlign = "left";
  context.fillText(name, x + 5, middle);
  if (part) {
    context.globalAlpha = faded ? 0.4 : 0.85;
    context.font = FONTS.share;
    context.textAlign = "right";
    context.fillText(part, x + w - 5, middle);
  }
  context.globalAlpha = 1;
}
