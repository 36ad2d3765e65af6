/** Draws the heat map: one pixel of an image for each cell, stretched without smoothing. */

import type { HeatMap } from "../api/types";
import type { Tokens } from "../color/tokens";
import { FONTS, textWidth } from "../flame/text";
import type { CanvasSize } from "../shell/canvas";
import type { Span } from "../state/url";
import { tickText, timeTicks } from "../timeline/scale";
import { type Cell, columnsOf, fullCount, ramp, rowsOf, shadeOf } from "./cells";

export type Corners = [Cell, Cell];

/** Where the map lies, in CSS pixels, and what its width spans. */
export interface Grid {
  left: number;
  width: number;
  top: number;
  height: number;
  span: Span;
  narrow: boolean;
}

export interface HeatScene {
  map: HeatMap | undefined;
  image: HTMLCanvasElement | undefined;
  grid: Grid;
  size: CanvasSize;
  tokens: Tokens;
  /** What is selected or being drawn, and the same in pieces that do not overlap. */
  corners: readonly Corners[];
  pieces: readonly Corners[];
  cursor: Cell | undefined;
  why: string;
}

const x = ({ left, width, span }: Grid, ms: number) => left + ((ms - span.from) / (span.until - span.from)) * width;

/** The cell under a point. */
export function cellAt(map: HeatMap, grid: Grid, px: number, py: number): Cell | undefined {
  const ms = grid.span.from + ((px - grid.left) / grid.width) * (grid.span.until - grid.span.from);
  const column = Math.floor((ms - map.from_ms) / map.column_ms);
  const rows = rowsOf(map);
  const row = Math.floor(((grid.top + grid.height - py) / grid.height) * rows);
  if (column < 0 || column >= columnsOf(map)) return undefined;
  return { column, row: Math.max(0, Math.min(rows - 1, row)) };
}

/** The cells as an image, the start of a second at the bottom. */
export function imageOf(map: HeatMap, dark: boolean): HTMLCanvasElement {
  const image = document.createElement("canvas");
  image.width = Math.max(1, columnsOf(map));
  image.height = rowsOf(map);
  const context = image.getContext("2d");
  if (!context) return image;
  const colors = ramp(dark);
  const full = fullCount(map);
  const data = context.createImageData(image.width, image.height);
  const words = new Uint32Array(data.data.buffer);
  map.columns.forEach((cells, column) => {
    const empty = cells.every((samples) => samples === 0);
    for (let row = 0; row < image.height; row++) {
      // A second without any sample is a gap, not a calm one.
      if (!empty) words[(image.height - 1 - row) * image.width + column] = colors[shadeOf(cells[row] ?? 0, full)] as number;
    }
  });
  context.putImageData(data, 0, 0);
  return image;
}

/** The ramp as a strip. */
export function rampImage(strip: HTMLCanvasElement, dark: boolean): void {
  const context = strip.getContext("2d");
  if (!context) return;
  const data = context.createImageData(256, 1);
  new Uint32Array(data.data.buffer).set(ramp(dark));
  context.putImageData(data, 0, 0);
}

export function drawHeatMap(context: CanvasRenderingContext2D, scene: HeatScene): void {
  const { grid, size, tokens, map, image } = scene;
  context.clearRect(0, 0, size.width, size.height);
  context.font = FONTS.axis;
  context.textBaseline = "middle";
  context.fillStyle = tokens.ink3;
  const bottom = grid.top + grid.height;
  if (!map || !image) {
    context.textAlign = "left";
    context.fillText(scene.why, grid.left, grid.top + grid.height / 2);
    return;
  }
  context.textAlign = "right";
  const whole = map.column_ms;
  for (const part of [0, 0.5, 1]) {
    const text = grid.narrow ? ["0", "½", `${whole / 1000} s`][part * 2] ?? "" : `${part * whole}${part === 1 ? " ms" : ""}`;
    context.fillText(text, grid.left - 8, Math.min(bottom - 4, Math.max(grid.top + 5, bottom - part * grid.height)));
  }
  context.save();
  context.beginPath();
  context.rect(grid.left, grid.top, grid.width, grid.height);
  context.clip();
  context.imageSmoothingEnabled = false;
  const start = x(grid, map.from_ms);
  const end = x(grid, map.from_ms + columnsOf(map) * map.column_ms);
  context.drawImage(image, start, grid.top, end - start, grid.height);
  context.restore();
  ticks(context, grid, tokens, bottom);
  if (scene.corners.length > 0) {
    veil(context, grid, map, scene.pieces, tokens);
    for (const corners of scene.corners) frame(context, grid, map, corners, tokens, 1.75);
  } else if (scene.cursor) frame(context, grid, map, [scene.cursor, scene.cursor], tokens, 1);
}

/** A box in pixels: left, top, width, height. */
function boxOf(grid: Grid, map: HeatMap, [a, b]: Corners): [number, number, number, number] {
  const left = Math.max(grid.left, x(grid, map.from_ms + Math.min(a.column, b.column) * map.column_ms));
  const right = Math.min(grid.left + grid.width, x(grid, map.from_ms + (Math.max(a.column, b.column) + 1) * map.column_ms));
  const row = grid.height / rowsOf(map);
  const bottom = grid.top + grid.height - Math.min(a.row, b.row) * row;
  const top = grid.top + grid.height - (Math.max(a.row, b.row) + 1) * row;
  return [left, top, right - left, bottom - top];
}

/** Pales what is not in any of the pieces. */
function veil(context: CanvasRenderingContext2D, grid: Grid, map: HeatMap, pieces: readonly Corners[], tokens: Tokens): void {
  context.fillStyle = tokens.bg;
  context.globalAlpha = 0.45;
  context.beginPath();
  context.rect(grid.left, grid.top, grid.width, grid.height);
  for (const piece of pieces) context.rect(...boxOf(grid, map, piece));
  context.fill("evenodd");
  context.globalAlpha = 1;
}

function frame(context: CanvasRenderingContext2D, grid: Grid, map: HeatMap, corners: Corners, tokens: Tokens, lineWidth: number): void {
  const [left, top, width, height] = boxOf(grid, map, corners);
  context.strokeStyle = tokens.ink;
  context.lineWidth = lineWidth;
  context.strokeRect(left, top, Math.max(2, width), Math.max(2, height));
}

function ticks(context: CanvasRenderingContext2D, grid: Grid, tokens: Tokens, bottom: number): void {
  const { step, ticks: at } = timeTicks(grid.span, Math.max(2, grid.width / 110));
  context.fillStyle = tokens.ink3;
  context.strokeStyle = tokens.line2;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of at) {
    const place = x(grid, tick);
    const text = tickText(tick, step);
    const half = textWidth(context, text, "axis") / 2;
    if (place - half < grid.left - 8 || place + half > grid.left + grid.width + 8) continue;
    context.beginPath();
    context.moveTo(Math.round(place) + 0.5, bottom);
    context.lineTo(Math.round(place) + 0.5, bottom + 4);
    context.stroke();
    context.font = FONTS.axis;
    context.fillText(text, place, bottom + 6);
  }
}
