/** From the server's buckets to stacked areas in cores. */

import type { Timeline } from "../api/types";
import type { Span } from "../state/url";

/** One area of the stack. */
export interface Layer {
  value: string;
  /** The groups beyond the top ones, together. */
  other: boolean;
  /** Cores in each bucket. */
  cores: Float64Array;
  /** Samples of the whole window. */
  total: number;
}

/** A time line ready to draw; bucket `i` covers `from + i * step` and `step` milliseconds. */
export interface Series {
  by: string;
  from: number;
  step: number;
  buckets: number;
  /** From the floor up: the calmest at the bottom, so that spikes stand on a flat floor. */
  layers: Layer[];
  /** Cores of all layers in each bucket. */
  total: Float64Array;
  /** Samples in each bucket. */
  samples: Float64Array;
  /** 1 where anything at all was sampled, whatever the selector leaves of it. */
  observed: Uint8Array;
  /** Longer stretches in which nothing at all was sampled: nobody was watching. */
  gaps: Span[];
  complete: number[];
  lost: number[];
  /** How often samples were taken, and from when on. */
  rates: Timeline["rates"];
  /** How many groups the `other` layer holds. */
  others: number;
  periodNs: number;
  /** Cores of the fullest bucket. */
  peak: number;
}

/** A newest bucket that is still filling is left out up to this width; wider ones are measured by what they hold. */
const LEAVE_OUT = 20_000;

/** From here on a stretch without any sample is no idle machine: an agent's own work makes some. */
const UNWATCHED = 20_000;

/** From so many neighbours the nearest two tell how coarse times are. */
const FEW_PAIRS = 3;

/** The samples of all groups in each bucket. */
function bucketSums({ groups, other, complete }: Timeline): Float64Array {
  const sums = new Float64Array(complete.length);
  for (const { samples } of [...groups, other]) for (let i = 0; i < sums.length; i++) sums[i]! += samples[i] ?? 0;
  return sums;
}

/**
 * Turns an answer into layers. `data` is the span for which there is any data: the buckets at its ends are shorter
 * than the others. `everything` is the same time line without a selector: it tells silence from absence.
 */
export function buildSeries(timeline: Timeline, data: Span, everything: Timeline = timeline): Series {
  const { from_ms: from, step_ms: step } = timeline;
  const samples = bucketSums(timeline);
  const buckets = samples.length;
  const observed = Uint8Array.from(bucketSums(everything), (count) => (count > 0 ? 1 : 0));
  const newest = observed.lastIndexOf(1);
  // What is known of the end of the data may be older than the answer: samples prove more.
  const until = Math.max(data.until, from + newest * step);
  const covered = (i: number) =>
    Math.min(from + (i + 1) * step, timeline.until_ms, until) - Math.max(from + i * step, data.from);
  const filling = newest >= 0 && covered(newest) < step && step <= LEAVE_OUT;
  if (filling) samples[newest] = observed[newest] = 0;
  // A curve of cores does not jump where samples are taken more often.
  const { rates } = timeline;
  const periodAt = (time: number) =>
    (rates.length > 1 && (rates.findLast(({ time_ms }) => time_ms <= time) ?? rates[0])?.period_ns) || timeline.period_ns;
  const perSample = Array.from({ length: buckets }, (_, i) => {
    if (filling && i === newest) return 0;
    // A sliver of a bucket would turn one sample into a spike of cores.
    return periodAt(from + i * step) / (Math.min(step, Math.max(covered(i), step / 4)) * 1e6);
  });
  const layer = (value: string, counts: number[], total: number, other: boolean): Layer => ({
    value, other, total,
    cores: Float64Array.from({ length: buckets }, (_, i) => (counts[i] ?? 0) * (perSample[i] as number)),
  });
  const groups = timeline.groups.map((group) => layer(group.value, group.samples, group.total, false));
  groups.sort((a, b) => restlessness(a.cores) - restlessness(b.cores));
  const { other } = timeline;
  const layers = other.total > 0 ? [layer("other", other.samples, other.total, true), ...groups] : groups;
  const total = new Float64Array(buckets);
  for (const { cores } of layers) for (let i = 0; i < buckets; i++) total[i]! += cores[i] as number;
  return {
    by: timeline.by, from, step, buckets, layers, total, samples, observed, gaps: unwatched(observed, from, step),
    complete: timeline.complete, lost: timeline.lost, rates, others: other.groups, periodNs: timeline.period_ns,
    peak: total.reduce((a, b) => Math.max(a, b), 0),
  };
}

function unwatched(observed: Uint8Array, from: number, step: number): Span[] {
  const gaps: Span[] = [];
  let last = observed.indexOf(1);
  // Old samples stand at the starts of coarser buckets: what lies between two of these is no gap.
  let closest = Infinity;
  let pairs = 0;
  for (let i = last, before = -1; i >= 0; before = i, i = observed.indexOf(1, i + 1)) {
    if (before < 0) continue;
    closest = Math.min(closest, i - before);
    pairs++;
  }
  const least = Math.max(UNWATCHED, pairs >= FEW_PAIRS ? 2 * closest * step : 0);
  for (let i = last; i >= 0; i = observed.indexOf(1, i + 1)) {
    if ((i - last - 1) * step >= least) gaps.push({ from: from + (last + 1) * step, until: from + i * step });
    last = i;
  }
  return gaps;
}

/** How far a layer strays from its mean, in cores. */
function restlessness(values: Float64Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / (values.length || 1);
  return Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (values.length || 1));
}

/** The stretches of buckets with data, `[first, last + 1)`. What lies between is a gap, not a zero. */
export function runs({ observed, buckets }: Series): [number, number][] {
  const found: [number, number][] = [];
  let start = -1;
  for (let i = 0; i <= buckets; i++) {
    const filled = i < buckets && observed[i] === 1;
    if (filled && start < 0) start = i;
    if (!filled && start >= 0) {
      found.push([start, i]);
      start = -1;
    }
  }
  return found;
}

const overlap = (a: Span, b: Span) => Math.max(0, Math.min(a.until, b.until) - Math.max(a.from, b.from));

/** How long `span` was watched: the part for which there is data, without the stretches nobody was watching. */
export function watchedMs(span: Span, data: Span, gaps: readonly Span[]): number {
  const inside = { from: Math.max(span.from, data.from), until: Math.min(span.until, data.until) };
  return Math.max(1, gaps.reduce((ms, gap) => ms - overlap(inside, gap), overlap(span, data)));
}

/** The stretches of buckets in which samples were lost. */
export function losses({ lost, from, step }: Series): (Span & { lost: number })[] {
  const found: (Span & { lost: number })[] = [];
  lost.forEach((count, i) => {
    if (!count) return;
    const start = from + i * step;
    const last = found[found.length - 1];
    if (last && last.until === start) {
      last.until += step;
      last.lost += count;
    } else {
      found.push({ from: start, until: start + step, lost: count });
    }
  });
  return found;
}

/** The bucket at an instant; undefined outside the series. */
export function bucketAt({ from, step, buckets }: Series, ms: number): number | undefined {
  const bucket = Math.floor((ms - from) / step);
  return bucket >= 0 && bucket < buckets ? bucket : undefined;
}

/** Mean cores of each layer over the watched part of `span`. */
export function layerMeans(series: Series, span: Span): Map<string, number> {
  const { from, step, buckets, observed, layers, gaps } = series;
  const first = observed.indexOf(1);
  const last = observed.lastIndexOf(1);
  const sums = new Map<string, number>();
  if (first < 0) return sums;
  const watched = watchedMs(span, { from: from + first * step, until: from + (last + 1) * step }, gaps);
  for (let i = 0; i < buckets; i++) {
    const part = overlap(span, { from: from + i * step, until: from + (i + 1) * step }) / watched;
    if (part === 0 || observed[i] === 0) continue;
    for (const { value, cores } of layers) sums.set(value, (sums.get(value) ?? 0) + (cores[i] as number) * part);
  }
  return sums;
}

/** The groups with the most samples of the whole window. */
export function mostUsed({ layers }: Series, most: number): ReadonlySet<string> {
  const groups = layers.filter((layer) => !layer.other).sort((a, b) => b.total - a.total);
  return new Set(groups.slice(0, most).map((layer) => layer.value));
}

/** The span as long as `wanted` at the data that is nearest to it; undefined where there is none. */
export function nearestData({ from, step, observed }: Series, wanted: Span): Span | undefined {
  const length = wanted.until - wanted.from;
  let best: Span | undefined;
  let least = Infinity;
  observed.forEach((seen, i) => {
    if (!seen) return;
    const bucket = { from: from + i * step, until: from + (i + 1) * step };
    const distance = Math.max(bucket.from - wanted.until, wanted.from - bucket.until, 0);
    if (distance >= least) return;
    least = distance;
    const start = bucket.from >= wanted.until ? Math.floor(bucket.from / 1000) * 1000 : Math.ceil(bucket.until / 1000) * 1000 - length;
    best = { from: start, until: start + length };
  });
  return best;
}
