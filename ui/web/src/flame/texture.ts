/** Textures that say what kind of frame it is: tiles drawn once per theme and pixel ratio. */

import { textureInk } from "../color/tokens";

export type Texture = "hatch" | "dots" | "cross";

function tile(size: number, ratio: number, draw: (context: CanvasRenderingContext2D) => void): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.max(1, Math.round(size * ratio));
  const context = canvas.getContext("2d");
  if (context) {
    context.scale(canvas.width / size, canvas.height / size);
    draw(context);
  }
  return canvas;
}

const DRAWINGS: Record<Texture, { size: number; draw: (context: CanvasRenderingContext2D, ink: (alpha: number) => string, dark: boolean) => void }> = {
  hatch: {
    size: 6,
    draw(context, ink, dark) {
      context.strokeStyle = ink(dark ? 0.085 : 0.1);
      context.beginPath();
      for (const [x0, y0, x1, y1] of [[-1, 7, 7, -1], [-1, 1, 1, -1], [5, 7, 7, 5]] as const) {
        context.moveTo(x0, y0);
        context.lineTo(x1, y1);
      }
      context.stroke();
    },
  },
  dots: {
    size: 5,
    draw(context, ink, dark) {
      context.fillStyle = ink(dark ? 0.18 : 0.17);
      for (const at of [1.25, 3.75]) {
        context.beginPath();
        context.arc(at, at, 0.72, 0, 7);
        context.fill();
      }
    },
  },
  cross: {
    size: 6,
    draw(context, ink) {
      context.strokeStyle = ink(0.2);
      context.beginPath();
      context.moveTo(-1, -1);
      context.lineTo(7, 7);
      context.moveTo(7, -1);
      context.lineTo(-1, 7);
      context.stroke();
    },
  },
};

/** How dark textures are where more contrast is asked for. */
const CONTRAST = 0.3;

const patterns = new Map<string, CanvasPattern | null>();

/** The pattern of a texture; null where the browser cannot make one. */
export function texture(
  context: CanvasRenderingContext2D, name: Texture, dark: boolean, ratio: number, contrast = false,
): CanvasPattern | null {
  const key = `${name}${dark}${ratio}${contrast}`;
  let pattern = patterns.get(key);
  if (pattern === undefined) {
    const { size, draw } = DRAWINGS[name];
    const drawn = tile(size, ratio, (on) => draw(on, (alpha) => textureInk(dark, contrast ? CONTRAST : alpha), dark));
    pattern = context.createPattern(drawn, "repeat");
    pattern?.setTransform(new DOMMatrix().scale(size / drawn.width));
    // Zooming the browser makes new ratios; a handful is all that is ever in use.
    if (patterns.size > 24) patterns.clear();
    patterns.set(key, pattern);
  }
  return pattern;
}
