/** Painting one frame: fill, texture and shape. */

import { KERNEL_BAND, type Palette, bandOf, binaryKey, stepOf } from "../color/bands";
import type { Coloring } from "../state/url";
import type { FrameOrigin } from "./frames";
import { NARROW } from "./narrow";
import { packageOf } from "./package";
import { texture } from "./texture";
import type { Frame } from "./tree";

/** What is painted with. */
export interface Brush {
  context: CanvasRenderingContext2D;
  palette: Palette;
  /** Device pixels per CSS pixel. */
  ratio: number;
  coloring: Coloring;
  /** Whether the user asked for more contrast: then every frame has an outline, and textures are darker. */
  contrast?: boolean;
}

/** Bands by kind: blue for machine code, straw and violet for what a runtime runs. */
const KIND_BANDS: Partial<Record<Frame["kind"], number>> = { kernel: KERNEL_BAND, native: 6, inlined: 5, jit: 7, interpreted: 2, folded: 6 };

/** Whose code a frame is, as its band tells it; undefined where the band tells something else. */
function ownerOf(frame: FrameOrigin, coloring: Coloring): string | undefined {
  switch (frame.kind) {
    case "root":
    case "kernel":
    case "truncated":
      return undefined;
    case "group":
      return frame.name;
    case "folded":
      return frame.binary;
    default:
      if (coloring === "type") return undefined;
      return (coloring === "package" && packageOf(frame)) || frame.binary || frame.file || frame.name;
  }
}

/** The band a frame's colour comes from. */
export function frameBand(frame: FrameOrigin, coloring: Coloring): number {
  const owner = ownerOf(frame, coloring);
  return owner === undefined ? (KIND_BANDS[frame.kind] ?? KERNEL_BAND) : bandOf(owner);
}

/**
 * What a band can be chosen for to give a frame another one; undefined where that is not told by whose code it is. `by`: the label of
 * groups.
 */
export function bandKey(frame: FrameOrigin, coloring: Coloring, by: string): string | undefined {
  if (frame.kind === "group" && by !== "process") return frame.name;
  const owner = ownerOf(frame, coloring);
  return owner === undefined || bandOf(owner) === KERNEL_BAND ? undefined : binaryKey(owner);
}

/** The fill of a frame; `hash` is that of its name, where it is known. */
export function frameFill(frame: FrameOrigin, palette: Palette, coloring: Coloring, hash?: number): string {
  switch (frame.kind) {
    case "root":
      return palette.root;
    case "group":
      return palette.group(frame.name);
    case "truncated":
      return palette.truncated;
    case "inlined":
    case "folded":
      return palette.inlined(frameBand(frame, coloring));
    default:
      return palette.frame(frameBand(frame, coloring), stepOf(hash ?? frame.name));
  }
}

function box(context: CanvasRenderingContext2D, x: number, y: number, w: number, h: number): void {
  if (w > 12) {
    context.beginPath();
    context.roundRect(x, y, w, h, 1.5);
    context.fill();
  } else {
    context.fillRect(x, y, w, h);
  }
}

/** Paints a frame of `w` by `h` CSS pixels in `fill`. */
export function paintFrame(brush: Brush, frame: Frame, fill: string, x: number, y: number, w: number, h: number): void {
  const { context, palette, ratio } = brush;
  context.fillStyle = fill;
  if (frame.kind === "truncated") {
    if (w > NARROW) torn(context, x, y, w, h);
    else context.fillRect(x, y, w, h);
  } else {
    box(context, x, y, w, h);
  }
  if (frame.kind === "folded" && w > NARROW) {
    context.fillStyle = palette.outline(frameBand(frame, brush.coloring));
    // A double rule above and below: something is put away between them.
    for (const at of [0, 2, h - 3, h - 1]) context.fillRect(x, y + at, w, 1);
    return;
  }
  if (frame.kind === "inlined" || brush.contrast) {
    if (w <= 4) return;
    context.strokeStyle = brush.contrast ? palette.ink : palette.outline(frameBand(frame, brush.coloring));
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(x + 0.5, y + 0.5, w - 1, h - 1, 1.5);
    context.stroke();
    if (frame.kind === "inlined") return;
  }
  const name = frame.kind === "kernel" ? "hatch"
    : frame.kind === "jit" || frame.kind === "interpreted" ? "dots"
      : frame.kind === "truncated" ? "cross" : undefined;
  const pattern = name && w > NARROW && texture(context, name, palette.dark, ratio, brush.contrast);
  if (!pattern) return;
  context.fillStyle = pattern;
  if (name === "cross") {
    torn(context, x, y, w, h);
  } else {
    context.fillRect(x, y, w, h);
  }
}

/** A box with a torn upper edge: what should stand there is missing. */
function torn(context: CanvasRenderingContext2D, x: number, y: number, w: number, h: number): void {
  const tooth = 4;
  const bite = 3;
  context.beginPath();
  context.moveTo(x, y + h);
  context.lineTo(x, y + bite);
  for (let at = 0, i = 0; at < w; at += tooth, i++) {
    context.lineTo(Math.min(x + at + tooth, x + w), i % 2 ? y + bite : y);
  }
  context.lineTo(x + w, y + h);
  context.closePath();
  context.fill();
}
