/** Time to pixels and back, ticks, and the moves of a window. Instants are Unix milliseconds. */

import { clock, dayMonth, hourMinute } from "../format/time";
import { fromWall, wall } from "../format/zone";
import type { Span } from "../state/url";

/** A linear scale from a span of time to a stretch of pixels. */
export interface Scale {
  span: Span;
  left: number;
  width: number;
}

/** Where an instant stands. */
export function toX({ span, left, width }: Scale, ms: number): number {
  return left + ((ms - span.from) / (span.until - span.from)) * width;
}

/** The instant at a pixel. */
export function toTime({ span, left, width }: Scale, x: number): number {
  return span.from + ((x - left) / width) * (span.until - span.from);
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, SECOND, 2 * SECOND, 3 * SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND,
  30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
  6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY,
];

/** The smallest round step that is at least `ms`. */
export function roundStep(ms: number): number {
  return STEPS.find((step) => step >= ms) ?? Math.ceil(ms / (28 * DAY)) * 28 * DAY;
}

/** Round local instants within a span, at most `most` of them. */
export function timeTicks({ from, until }: Span, most: number): { step: number; ticks: number[] } {
  const step = roundStep((until - from) / Math.max(1, most));
  const ticks: number[] = [];
  if (step < DAY) {
    // Local midnight is the origin, so that ticks are round on the clock of a zone that is off by 30 minutes, too.
    const origin = fromWall(wall(from).setUTCHours(0, 0, 0, 0));
    for (let at = origin + Math.ceil((from - origin) / step) * step; at < until; at += step) ticks.push(at);
  } else {
    const days = step / DAY;
    for (let number = Math.floor(wall(from).getTime() / step) * days; ; number += days) {
      const at = fromWall(number * DAY);
      if (at >= until) break;
      if (at >= from) ticks.push(at);
    }
  }
  return { step, ticks };
}

/** What stands at a tick: no more than tells it from its neighbours, and the day where one begins. */
export function tickText(tick: number, step: number): string {
  const date = wall(tick);
  if (step >= 28 * DAY) return `${dayMonth(tick)} ${date.getUTCFullYear()}`;
  const midnight = date.getUTCHours() === 0 && date.getUTCMinutes() === 0 && date.getUTCSeconds() === 0;
  if (step >= DAY || midnight) return dayMonth(tick);
  return step < MINUTE ? clock(tick) : hourMinute(tick);
}

/** Round values from 0 up to at least `most`: the top of an axis and its middle. */
export function valueTicks(most: number): number[] {
  const size = 10 ** Math.floor(Math.log10(Math.max(most, 0.01)));
  const top = [1, 2, 4, 6, 8, 10].map((factor) => factor * size).find((value) => value >= most * 0.999) ?? size * 10;
  return [0, top / 2, top];
}

/** The bucket width for a span shown in `pixels`: about one bucket in three pixels, at least 100 ms. */
export function bucketStep(span: Span, pixels: number): number {
  const buckets = Math.min(1000, Math.max(60, pixels / 3));
  return roundStep(Math.max(100, (span.until - span.from) / buckets));
}

/** The span widened to whole buckets, so that buckets stay where they are while the window moves. */
export function aligned({ from, until }: Span, step: number): Span {
  return { from: Math.floor(from / step) * step, until: Math.ceil(until / step) * step };
}

/** Shortest and longest window. */
export const SHORTEST = 1000;
export const LONGEST = 366 * DAY;

/** The window `factor` times as long, with `anchor` staying where it is. */
export function zoomed({ from, until }: Span, anchor: number, factor: number): Span {
  const length = Math.min(LONGEST, Math.max(SHORTEST, (until - from) * factor));
  const share = (anchor - from) / (until - from);
  const start = Math.round(anchor - share * length);
  return { from: start, until: start + Math.round(length) };
}

/** The window moved by `ms`. */
export function shifted({ from, until }: Span, ms: number): Span {
  const by = Math.round(ms);
  return { from: from + by, until: until + by };
}
