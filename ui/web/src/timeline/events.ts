/** What stands on the axis of time: annotations, losses, and groups that come and go. */

import type { Annotation } from "../api/types";
import { thousands } from "../format/number";
import { type Scale, toX } from "./scale";
import { type Series, losses } from "./series";

/** An event of the lane. */
export interface TimeEvent {
  kind: "deploy" | "note" | "lost" | "rate" | "start" | "end";
  time: number;
  text: string;
  /** Of an annotation. */
  id?: string;
}

/** An event with its place, in pixels; its text stands left of its mark where there is no room right of it. */
export interface Placed extends TimeEvent {
  x: number;
  left: boolean;
  /** Pixels that its text may take. */
  room: number;
}

/** A group that is silent for this part of the window, and for this many buckets, was not there. */
const SILENT_PART = 0.15;
const SILENT_BUCKETS = 12;
/** Fewer samples than this say too little about coming and going. */
const LEAST_SAMPLES = 200;

/** Groups of which there was nothing for a while at one end of the window, and plenty at the other. */
export function arrivals({ layers, from, step, observed, buckets, periodNs }: Series): TimeEvent[] {
  const first = observed.indexOf(1);
  const last = observed.lastIndexOf(1);
  const silent = Math.max(SILENT_BUCKETS, (last - first + 1) * SILENT_PART);
  const found: TimeEvent[] = [];
  for (const { value, other, cores } of layers) {
    if (other || !value) continue;
    let start = -1;
    let end = -1;
    let samples = 0;
    for (let i = 0; i < buckets; i++) {
      if (!((cores[i] as number) > 0)) continue;
      if (start < 0) start = i;
      end = i;
      samples += ((cores[i] as number) * step * 1e6) / (periodNs || 1);
    }
    if (samples < LEAST_SAMPLES) continue;
    if (start - first >= silent) found.push({ kind: "start", time: from + start * step, text: `${value} starts` });
    if (last - end >= silent) found.push({ kind: "end", time: from + (end + 1) * step, text: `${value} ends` });
  }
  return found;
}

/** Where samples began to be taken more or less often. */
export function rateChanges({ rates }: Pick<Series, "rates">): TimeEvent[] {
  const hertz = (period: number) => Math.round(1e9 / period);
  return rates.flatMap(({ time_ms: time, period_ns }, i) => {
    const before = rates[i - 1];
    if (!before || hertz(before.period_ns) === hertz(period_ns)) return [];
    return [{ kind: "rate" as const, time, text: `${hertz(before.period_ns)} → ${hertz(period_ns)} Hz` }];
  });
}

/** All events of a window: those of users first, where there is no room for all. */
export function eventsOf(annotations: readonly Annotation[], series: Series | undefined): TimeEvent[] {
  const own = annotations.map(({ id, time_ms: time, kind, text }): TimeEvent => ({ id, time, kind, text }));
  const lost = series ? losses(series).map(({ from: time, lost: n }): TimeEvent => ({ kind: "lost", time, text: `${thousands(n)} lost` })) : [];
  return [...own.reverse(), ...lost, ...(series ? rateChanges(series) : []), ...(series ? arrivals(series) : [])];
}

/** Width of a mark, the gap to its text, and the least room that a text is worth. */
const MARK = 12;
const LEAST = 26;

/**
 * Places events along the axis, each mark at its time. A text takes the room right of its mark, else left of it; where
 * there is none, the mark stands alone; where marks would touch, the first one stands. `width` measures a text.
 */
export function placed(events: readonly TimeEvent[], scale: Scale, width: (text: string) => number): Placed[] {
  const end = scale.left + scale.width;
  const inside = events.map((event) => ({ event, x: toX(scale, event.time) })).filter(({ x }) => x >= scale.left && x <= end);
  const marks: number[] = [];
  const kept = inside.filter(({ x }) => {
    const free = marks.every((other) => Math.abs(other - x) >= MARK);
    if (free) marks.push(x);
    return free;
  });
  const taken: [number, number][] = marks.map((x) => [x - MARK / 2, x + MARK / 2]);
  const reach = (x: number, side: 1 | -1) => {
    let room = side > 0 ? end - x : x - scale.left;
    for (const [low, high] of taken) {
      if (side > 0 && low > x) room = Math.min(room, low - x - 4);
      if (side < 0 && high < x) room = Math.min(room, x - high - 4);
    }
    return room - MARK / 2 - 2;
  };
  return kept.map(({ event, x }) => {
    const wanted = Math.ceil(width(event.text)) + 4;
    const right = reach(x, 1);
    const left = right >= wanted ? false : reach(x, -1) > right;
    const room = Math.min(wanted, left ? reach(x, -1) : right);
    if (room < Math.min(LEAST, wanted)) return { ...event, x, left, room: 0 };
    taken.push(left ? [x - MARK / 2 - room, x] : [x, x + MARK / 2 + room]);
    return { ...event, x, left, room };
  });
}
