/**
 * Narrow frames as pixels. A large tree has thousands of frames of a pixel or two for each that has a name. Each of them as a rectangle
 * of its own takes the browser most of a picture's time; here they are added up to one line of pixels for each row of the
 * graph, which is then drawn as high as the row.
 */

/** Frames up to this width, in CSS pixels, have neither text nor texture nor outline. */
export const NARROW = 3;

/** A colour as 0xrrggbb; undefined where it is written in another way, as the system's own colours are. */
export function colorNumber(css: string): number | undefined {
  return /^#[0-9a-f]{6}$/.test(css) ? Number.parseInt(css.slice(1), 16) : undefined;
}

/** A row that has narrow frames: where its pixels begin and end, and where it stands on the canvas. */
export interface Line {
  from: number;
  until: number;
  /** In CSS pixels. */
  y: number;
}

/** Adds up how much of each pixel is covered by which colour, row by row. */
export class NarrowLines {
  readonly lines: Line[] = [];
  /** RGBA of `lines`, each `width` pixels long. */
  pixels = new Uint8ClampedArray(0);
  width = 0;
  /** Covered parts of the pixels of the row at hand: red, green and blue times that, and that itself. */
  #sums = new Float32Array(0);
  #line: Line | undefined;

  /** Begins a picture of so many device pixels in width. */
  begin(width: number): void {
    this.width = width;
    this.lines.length = 0;
    this.#line = undefined;
    if (this.#sums.length < width * 4) this.#sums = new Float32Array(width * 4);
  }

  /** Adds a frame: `x` and `w` in device pixels, its row's upper edge in CSS pixels. Frames of a row come one after the other. */
  add(x: number, w: number, y: number, color: number, alpha: number): void {
    const from = Math.max(0, x);
    const until = Math.min(this.width, x + w);
    if (until <= from) return;
    const first = Math.floor(from);
    let line = this.#line;
    if (line?.y !== y) {
      this.end();
      this.#line = line = { from: first, until: first, y };
    }
    const sums = this.#sums;
    const red = color >> 16;
    const green = (color >> 8) & 0xff;
    const blue = color & 0xff;
    for (let pixel = first; pixel < until; pixel++) {
      const covered = (Math.min(until, pixel + 1) - Math.max(from, pixel)) * alpha;
      const at = pixel * 4;
      sums[at]! += red * covered;
      sums[at + 1]! += green * covered;
      sums[at + 2]! += blue * covered;
      sums[at + 3]! += covered;
    }
    if (first < line.from) line.from = first;
    line.until = Math.max(line.until, Math.ceil(until));
  }

  /** Ends the row at hand: behind the last one all lines are in `pixels`. */
  end(): void {
    const line = this.#line;
    if (!line) return;
    this.#line = undefined;
    const at = this.lines.push(line) - 1;
    if (this.pixels.length < (at + 1) * this.width * 4) {
      const more = new Uint8ClampedArray(Math.max(64, at * 2) * this.width * 4);
      more.set(this.pixels.subarray(0, at * this.width * 4));
      this.pixels = more;
    }
    const { pixels } = this;
    const sums = this.#sums;
    const shift = at * this.width * 4;
    for (let i = line.from * 4; i < line.until * 4; i += 4) {
      const covered = sums[i + 3] as number;
      // Slivers are drawn a little wider than they are, and may cover a pixel more than once.
      const by = covered > 0 ? 1 / covered : 0;
      pixels[shift + i] = (sums[i] as number) * by;
      pixels[shift + i + 1] = (sums[i + 1] as number) * by;
      pixels[shift + i + 2] = (sums[i + 2] as number) * by;
      pixels[shift + i + 3] = covered * 255;
    }
    sums.fill(0, line.from * 4, line.until * 4);
  }
}

/** Draws lines of pixels; keeps what it needs from picture to picture. */
export class NarrowPainter {
  readonly #lines = new NarrowLines();
  #strip: CanvasRenderingContext2D | undefined;
  #ratio = 1;

  /** Begins a picture of this width in CSS pixels. False where there is no canvas to make it on. */
  begin(width: number, ratio: number): boolean {
    if (typeof document === "undefined") return false;
    this.#strip ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true }) ?? undefined;
    this.#ratio = ratio;
    this.#lines.begin(Math.ceil(width * ratio));
    return this.#strip !== undefined;
  }

  /** Adds a frame of a row, in CSS pixels. */
  add(x: number, y: number, w: number, color: number, alpha: number): void {
    this.#lines.add(x * this.#ratio, w * this.#ratio, y, color, alpha);
  }

  /** Draws all that was added, `h` CSS pixels high, on a context that is scaled by the pixel ratio. */
  paint(context: CanvasRenderingContext2D, h: number): void {
    const strip = this.#strip;
    const all = this.#lines;
    all.end();
    const { lines, width } = all;
    if (!strip || lines.length === 0) return;
    const { canvas } = strip;
    if (canvas.width !== width || canvas.height < lines.length) {
      canvas.width = width;
      canvas.height = Math.max(64, lines.length);
    }
    strip.putImageData(new ImageData(all.pixels.subarray(0, lines.length * width * 4), width), 0, 0);
    context.imageSmoothingEnabled = false;
    const ratio = this.#ratio;
    lines.forEach(({ from, until, y }, i) => {
      context.drawImage(canvas, from, i, until - from, 1, from / ratio, y, (until - from) / ratio, h);
    });
    // Textures are scaled where the browser is zoomed.
    context.imageSmoothingEnabled = true;
  }
}
