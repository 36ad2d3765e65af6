/** Draws the time line: stacked areas in cores, gaps, losses, the brush and the axes. */

import type { Palette } from "../color/bands";
import type { Tokens } from "../color/tokens";
import { FONTS, textWidth } from "../flame/text";
import { texture } from "../flame/texture";
import type { Shifted } from "../state/history";
import type { Span } from "../state/url";
import { type Scale, tickText, timeTicks, toX, valueTicks } from "./scale";
import { type Series, losses, runs } from "./series";

/** Heights in CSS pixels. */
export const LANE = 20;
export const AXIS = 20;

/** All that a picture shows. */
export interface TimelineScene {
  series: Series | undefined;
  /** Cores that must fit. */
  peak: number;
  scale: Scale;
  width: number;
  height: number;
  ratio: number;
  palette: Palette;
  tokens: Tokens;
  brush: Span | null;
  /** The same window of the baseline. */
  baseline: Shifted | undefined;
  /** Where events stand, in pixels. */
  marks: readonly { x: number; kind: string }[];
  /** What the baseline is called. */
  baselineName: string;
  /** Instant under the pointer. */
  pointer: number | undefined;
  narrow: boolean;
}

/** Draws a scene. */
export function drawTimeline(context: CanvasRenderingContext2D, scene: TimelineScene): void {
  const { width, height, series, scale } = scene;
  context.clearRect(0, 0, width, height);
  const top = valueTicks(scene.peak);
  const floor = height - AXIS;
  const y = (value: number) => floor - (value / (top[2] as number)) * (floor - LANE - 2);
  values(context, scene, top, y);
  if (series) {
    context.save();
    context.beginPath();
    context.rect(scale.left, 0, scale.width, floor);
    context.clip();
    areas(context, scene, series, y);
    lost(context, scene, series, floor);
    context.restore();
  }
  marks(context, scene, floor);
  brush(context, scene, floor);
  if (scene.baseline) {
    context.save();
    context.beginPath();
    context.rect(scale.left, 0, scale.width, floor);
    context.clip();
    baseline(context, scene, scene.baseline, y);
    context.restore();
  }
  if (scene.baseline && !scene.narrow) baselineName(context, scene, scene.baseline, y);
  times(context, scene, floor);
  if (scene.pointer !== undefined) line(context, scene, toX(scale, scene.pointer), floor);
}

function values(context: CanvasRenderingContext2D, scene: TimelineScene, ticks: number[], y: (value: number) => number): void {
  const { scale, tokens, narrow } = scene;
  context.font = FONTS.axis;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.lineWidth = 1;
  for (const tick of ticks) {
    const at = Math.round(y(tick)) + 0.5;
    context.strokeStyle = tick ? tokens.line : tokens.line2;
    context.beginPath();
    context.moveTo(scale.left, at);
    context.lineTo(scale.left + scale.width, at);
    context.stroke();
    context.fillStyle = tokens.ink3;
    const text = String(Number(tick.toPrecision(2)));
    const unit = tick === ticks[2] && !narrow ? (tick === 1 ? " core" : " cores") : "";
    context.fillText(text + unit, scale.left - 8, at);
  }
}

/** One area per layer and stretch of data; between stretches nothing is drawn. */
function areas(context: CanvasRenderingContext2D, scene: TimelineScene, series: Series, y: (value: number) => number): void {
  const { scale, palette, tokens } = scene;
  const { from, step, layers } = series;
  const floor = new Float64Array(series.buckets);
  const stretches = runs(series);
  const x = (bucket: number) => toX(scale, from + bucket * step);
  for (const layer of layers) {
    context.fillStyle = layer.other ? palette.other : palette.area(layer.value);
    const value = (i: number) => (floor[i] as number) + (layer.cores[i] as number);
    for (const [first, last] of stretches) {
      context.beginPath();
      edge(context, first, last, x, (i) => y(value(i)));
      for (let i = last - 1; i >= first; i--) {
        if (i === last - 1) context.lineTo(x(last), y(floor[i] as number));
        context.lineTo(x(i + 0.5), y(floor[i] as number));
      }
      context.lineTo(x(first), y(floor[first] as number));
      context.closePath();
      context.fill();
      // A thin line of the page keeps pale neighbours apart.
      context.strokeStyle = tokens.bg;
      context.lineWidth = 0.75;
      context.beginPath();
      edge(context, first, last, x, (i) => y(value(i)));
      context.stroke();
      for (let i = first; i < last; i++) floor[i] = value(i);
    }
  }
}

/** The upper edge of an area through the middles of its buckets, level in its outer half buckets. */
function edge(
  context: CanvasRenderingContext2D, first: number, last: number, x: (bucket: number) => number, y: (bucket: number) => number,
): void {
  context.moveTo(x(first), y(first));
  for (let i = first; i < last; i++) context.lineTo(x(i + 0.5), y(i));
  context.lineTo(x(last), y(last - 1));
}

function lost(context: CanvasRenderingContext2D, scene: TimelineScene, series: Series, floor: number): void {
  const { scale, palette, tokens, ratio } = scene;
  for (const gap of losses(series)) {
    const left = toX(scale, gap.from);
    const width = Math.max(4, toX(scale, gap.until) - left);
    context.fillStyle = tokens.bg;
    context.fillRect(left, LANE, width, floor - LANE);
    context.fillStyle = texture(context, "cross", palette.dark, ratio) ?? tokens.line2;
    context.fillRect(left, LANE, width, floor - LANE);
  }
}

/** A thin line: the load of the baseline, through the middles of its buckets. */
function baseline(context: CanvasRenderingContext2D, scene: TimelineScene, shifted: Shifted, y: (value: number) => number): void {
  const { series, offset } = shifted;
  context.strokeStyle = scene.tokens.ink;
  context.globalAlpha = 0.85;
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  for (const [first, last] of runs(series)) {
    context.beginPath();
    edge(context, first, last, (bucket) => toX(scene.scale, series.from + offset + bucket * series.step), (i) => y(series.total[i] as number));
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** Says what the line is, at its right end. */
function baselineName(context: CanvasRenderingContext2D, scene: TimelineScene, { series, offset }: Shifted, y: (value: number) => number): void {
  const { scale, tokens } = scene;
  const end = scale.left + scale.width;
  const at = Math.floor((scale.span.until - offset - series.from) / series.step) - 2;
  const bucket = Math.min(at, series.observed.lastIndexOf(1));
  if (bucket < 0 || toX(scale, series.from + offset + bucket * series.step) < end - 60) return;
  // The frame of the brush and its handles have that place.
  if (scene.brush && toX(scale, scene.brush.until) > end - 60) return;
  context.font = FONTS.axis;
  context.textAlign = "right";
  context.textBaseline = "alphabetic";
  // Above whatever stands there.
  const now = scene.series && scene.series.total[Math.min(scene.series.buckets - 1, scene.series.observed.lastIndexOf(1))];
  const top = Math.max(LANE + 12, Math.min(y(series.total[bucket] as number), y(now ?? 0)) - 5);
  context.strokeStyle = tokens.bg;
  context.lineWidth = 3;
  context.strokeText(scene.baselineName, end - 2, top);
  context.fillStyle = tokens.ink2;
  context.fillText(scene.baselineName, end - 2, top);
}

/** Dotted lines under the events of the lane. */
function marks(context: CanvasRenderingContext2D, scene: TimelineScene, floor: number): void {
  context.strokeStyle = scene.tokens.ink2;
  context.lineWidth = 1;
  context.setLineDash([2, 3]);
  for (const { x, kind } of scene.marks) {
    if (kind === "lost") continue;
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, LANE);
    context.lineTo(Math.round(x) + 0.5, floor);
    context.stroke();
  }
  context.setLineDash([]);
}

/** The frame around the brushed span; the rest stands behind a veil. */
function brush(context: CanvasRenderingContext2D, scene: TimelineScene, floor: number): void {
  const { scale, tokens } = scene;
  if (!scene.brush) return;
  const end = scale.left + scale.width;
  const inside = (x: number) => Math.min(end, Math.max(scale.left, x));
  const left = inside(toX(scale, scene.brush.from));
  const right = inside(toX(scale, scene.brush.until));
  context.fillStyle = tokens.bg;
  context.globalAlpha = 0.62;
  context.fillRect(scale.left, LANE - 2, left - scale.left, floor - LANE + 2);
  context.fillRect(right, LANE - 2, end - right, floor - LANE + 2);
  context.globalAlpha = 1;
  context.strokeStyle = tokens.ink;
  context.lineWidth = 1.5;
  context.strokeRect(left, LANE - 2, right - left, floor - LANE + 2);
  context.fillStyle = tokens.ink;
  for (const x of [left, right]) {
    context.beginPath();
    context.roundRect(x - 2.5, (floor + LANE) / 2 - 8, 5, 16, 2);
    context.fill();
  }
}

function times(context: CanvasRenderingContext2D, scene: TimelineScene, floor: number): void {
  const { scale, tokens } = scene;
  const { step, ticks } = timeTicks(scale.span, Math.max(2, scale.width / 110));
  context.font = FONTS.axis;
  context.fillStyle = tokens.ink3;
  context.strokeStyle = tokens.line2;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const tick of ticks) {
    const x = toX(scale, tick);
    const text = tickText(tick, step);
    const half = textWidth(context, text, "axis") / 2;
    if (x - half < scale.left - 8 || x + half > scale.left + scale.width + 8) continue;
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, floor);
    context.lineTo(Math.round(x) + 0.5, floor + 4);
    context.stroke();
    context.font = FONTS.axis;
    context.fillText(text, x, floor + 6);
  }
}

function line(context: CanvasRenderingContext2D, scene: TimelineScene, x: number, floor: number): void {
  context.strokeStyle = scene.tokens.ink3;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, LANE);
  context.lineTo(Math.round(x) + 0.5, floor);
  context.stroke();
}
