/** Draws a differential flame graph: fill and underline say what changed, grey what is no more than chance. */

import type { Tokens } from "../color/tokens";
import type { Rects, View, Viewport } from "../flame/layout";
import { frameLabel, shortName } from "../flame/names";
import { type Font, FONTS, fitted, textWidth } from "../flame/text";
import { frameOf } from "../flame/tree";
import type { Diverging } from "./palette";
import type { Compared } from "./union";

const LABEL_FROM = 26;
const CHANGE_FROM = 96;
const FADED = 0.28;

export interface DiffScene {
  compared: Compared;
  rects: Rects;
  view: View;
  port: Viewport;
  colors: Diverging;
  tokens: Tokens;
  rootLabel: string;
  matches: Uint8Array | undefined;
  zoomed: number;
  /** How a change is written. */
  change: (a: number, b: number) => string;
}

/** What a node's label says of its change; nothing for noise. */
export function changeLabel({ a, b, real }: Compared, node: number, write: (a: number, b: number) => string): string {
  if (!real[node]) return "";
  const [before, after] = [a[node] as number, b[node] as number];
  return `${write(before, after)}${before === 0 ? " new" : after === 0 ? " gone" : ""}`;
}

export function drawDiff(context: CanvasRenderingContext2D, scene: DiffScene): void {
  const { port, rects } = scene;
  context.clearRect(0, 0, port.width, port.height);
  context.textBaseline = "middle";
  for (let i = 0; i < rects.count; i++) {
    const w = rects.w[i] as number;
    const gap = w > 3 ? 1 : w > 1.2 ? 0.5 : 0;
    paintNode(context, scene, rects.node[i] as number, rects.x[i] as number, rects.y[i] as number, Math.max(w - gap, 0.6), rects.sliver[i] === 1);
  }
}

function paintNode(context: CanvasRenderingContext2D, scene: DiffScene, node: number, x: number, y: number, w: number, sliver: boolean): void {
  const { compared, port, colors, matches, tokens, zoomed } = scene;
  const { tree, a, b, real, most } = compared;
  const h = port.rowHeight - 1;
  const [before, after] = [a[node] as number, b[node] as number];
  const changed = real[node] === 1;
  const frame = frameOf(tree, node);
  const found = matches?.[tree.frame[node] as number] === 1;
  const faded = matches !== undefined && !found;
  context.globalAlpha = faded ? FADED : 1;
  context.fillStyle = changed ? colors.of((after - before) / (most || 1)) : colors.noise;
  if (w > 12) {
    context.beginPath();
    context.roundRect(x, y, w, h, 1.5);
    context.fill();
  } else {
    context.fillRect(x, y, w, h);
  }
  if (frame.kind === "inlined" && w > 4) {
    context.strokeStyle = colors.outline;
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, w - 1, h - 1, 1.5);
    context.stroke();
  }
  if (changed && !sliver && w > 2) underline(context, colors, before, after, x, y + h - 2, w);
  if (found && w > 1) {
    context.fillStyle = tokens.ink;
    context.fillRect(x, y, w, 2);
  }
  context.globalAlpha = 1;
  if (node < zoomed && (tree.end[node] as number) > zoomed) {
    context.fillStyle = tokens.bg;
    context.globalAlpha = 0.45;
    context.fillRect(x, y, w, h);
    context.globalAlpha = 1;
  }
  if (w > LABEL_FROM && !sliver) label(context, scene, node, x, y, w, h, faded);
}

/** At the right end: solid for the part that is new, dotted for the part that went away. */
function underline(context: CanvasRenderingContext2D, colors: Diverging, before: number, after: number, x: number, y: number, w: number): void {
  const part = Math.min(1, Math.abs(after - before) / Math.max(before, after));
  const length = w * part;
  if (after > before) {
    context.fillStyle = colors.more;
    context.fillRect(x + w - length, y, length, 2);
    return;
  }
  context.fillStyle = colors.less;
  for (let at = x + w - 2; at >= x + w - length; at -= 4) context.fillRect(at, y, 2, 2);
}

function label(context: CanvasRenderingContext2D, scene: DiffScene, node: number, x: number, y: number, w: number, h: number, faded: boolean): void {
  const { compared, colors } = scene;
  const frame = frameOf(compared.tree, node);
  const font: Font = frame.kind === "group" || frame.kind === "root" ? "group" : frame.kind === "inlined" ? "inlined" : "frame";
  const change = w > CHANGE_FROM ? changeLabel(compared, node, scene.change) : "";
  const room = w - 9 - (change ? textWidth(context, change, "share") + 12 : 0);
  const full = frameLabel(frame, scene.rootLabel);
  const name = textWidth(context, full, font) <= room ? full : fitted(context, shortName(full), font, room);
  context.fillStyle = colors.ink;
  context.globalAlpha = faded ? 0.5 : 1;
  context.textAlign = "left";
  context.font = FONTS[font];
  if (name) context.fillText(name, x + 5, y + h / 2 + 1);
  if (change) {
    context.globalAlpha = faded ? 0.4 : 0.85;
    context.font = FONTS.share;
    context.textAlign = "right";
    context.fillText(change, x + w - 5, y + h / 2 + 1);
  }
  context.globalAlpha = 1;
}
