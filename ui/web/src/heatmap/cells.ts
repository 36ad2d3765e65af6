/** The sub-second heat map as numbers: cells, what a drag selects, and the ramp of colours. Pure. */

import type { HeatMap } from "../api/types";
import type { Rectangle, Span } from "../state/url";

/** A place in the map, in whole cells. */
export interface Cell {
  column: number;
  row: number;
}

/** Longest range that has a map: more columns than pixels would hide what it is for. */
export const LONGEST = 30 * 60_000;

export const columnsOf = ({ columns }: HeatMap): number => columns.length;
export const rowsOf = ({ column_ms, row_ms }: HeatMap): number => Math.ceil(column_ms / row_ms);

/** The span and offsets that two corners enclose, both cells included, kept inside the range. */
export function rectangleOf(map: HeatMap, a: Cell, b: Cell): Rectangle {
  const [first, last] = [Math.min(a.column, b.column), Math.max(a.column, b.column)];
  const [low, high] = [Math.min(a.row, b.row), Math.max(a.row, b.row)];
  // Only a map of seconds has offsets that mean the same in each of its columns.
  const parts = map.column_ms === 1000;
  return {
    from: map.from_ms + first * map.column_ms,
    until: map.from_ms + (last + 1) * map.column_ms,
    low: parts ? low * map.row_ms : 0,
    high: parts ? Math.min(1000, (high + 1) * map.row_ms) : 1000,
  };
}

/** The corners of a rectangle, or undefined where it lies outside the map. */
export function cornersOf(map: HeatMap, { from, until, low, high }: Rectangle): [Cell, Cell] | undefined {
  const first = Math.max(0, Math.floor((from - map.from_ms) / map.column_ms));
  const last = Math.min(columnsOf(map), Math.ceil((until - map.from_ms) / map.column_ms)) - 1;
  if (last < first) return undefined;
  const rows = rowsOf(map);
  const scale = rows / 1000;
  return [
    { column: first, row: Math.min(rows - 1, Math.floor(low * scale)) },
    { column: last, row: Math.max(0, Math.ceil(high * scale) - 1) },
  ];
}

/** Samples within two corners. */
export function samplesIn(map: HeatMap, a: Cell, b: Cell): number {
  let samples = 0;
  for (let column = Math.min(a.column, b.column); column <= Math.max(a.column, b.column); column++) {
    const cells = map.columns[column] ?? [];
    for (let row = Math.min(a.row, b.row); row <= Math.max(a.row, b.row); row++) samples += cells[row] ?? 0;
  }
  return samples;
}

/** The instant at which a cell begins. */
export const timeOf = (map: HeatMap, { column, row }: Cell): number => map.from_ms + column * map.column_ms + row * map.row_ms;

/** The count that has the strongest colour: nearly all cells have less, so that one outlier does not pale the rest. */
export function fullCount(map: HeatMap): number {
  const counts = map.columns.flat().filter((count) => count > 0).sort((a, b) => a - b);
  return Math.max(1, counts[Math.floor(counts.length * 0.995)] ?? counts[counts.length - 1] ?? 1);
}

const LIGHT = ["#f9f6f2", "#f7e1c4", "#f5b57c", "#e07238", "#9c381c", "#471711"];
const DARK = ["#1a1614", "#422518", "#883b1a", "#ce631f", "#f3ae58", "#fbefc2"];

const channels = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

/** 256 colours from none to full, as RGBA words for image data. */
export function ramp(dark: boolean): Uint32Array {
  const stops = (dark ? DARK : LIGHT).map(channels);
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const at = Math.min(stops.length - 2, Math.floor(place));
    const [a, b] = [stops[at] as number[], stops[at + 1] as number[]];
    const [red, green, blue] = a.map((value, c) => Math.round(value + ((b[c] as number) - value) * (place - at)));
    return ((255 << 24) | ((blue as number) << 16) | ((green as number) << 8) | (red as number)) >>> 0;
  });
}

/** The colour of a count: by its root, so that few samples differ from none. */
export const shadeOf = (count: number, full: number): number => (count <= 0 ? 0 : Math.min(255, 20 + Math.round(Math.sqrt(count / full) * 235)));

/** Whether a span can have a map, and else why not. */
export function whyNot(span: Span): string {
  return span.until - span.from > LONGEST * 1.001 ? "A heat map is of at most 30 minutes: select a shorter range." : "";
}
