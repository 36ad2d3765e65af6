/** What a comparison is of, and how it is asked for. */

import { createEffect, createMemo, createSignal, on } from "solid-js";
import { ApiError, Latest, convertFile, fetchAnnotations, fetchDiff, fetchFlame, fetchStatus, fetchTimeline } from "../api/client";
import type { Annotation, Flame } from "../api/types";
import { findMatches } from "../flame/search";
import { findPath } from "../flame/tree";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { Span } from "../state/url";
import { bucketStep } from "../timeline/scale";
import { type Series, buildSeries, watchedMs } from "../timeline/series";
import { type Side, formatSide, parseSide, settled } from "./sides";
import { type Both, type Measure, compare, fromDiff, growth, unite } from "./union";

export type Letter = "a" | "b";

/** A side with what was asked about it. */
export interface Lane {
  /** The load around the side's range; undefined for a file. */
  series: Series | undefined;
  window: Span | undefined;
  /** Milliseconds that were watched; for a file those it covers. */
  watched: number;
  samples: number;
  /** Annotations and deploy markers around it. */
  events: Annotation[];
}

const DAY = 86_400_000;
/** Shown around a range on each side, in its own lengths. */
const AROUND = 2;
/** Buckets of a lane: they also tell how much of a range was watched. */
const BUCKETS = 600;

/** Files of the page's memory, by name; they are gone when the page is closed. */
const files = new Map<string, Flame>();

export function createCompare(explore: Explore, history: History) {
  const [both, setBoth] = createSignal<Both>();
  const [lanes, setLanes] = createSignal<Record<Letter, Lane>>();
  const [refused, setRefused] = createSignal("");
  /** Why the file that was chosen last is none: it stays said when what is in view has come. */
  const [refusedFile, setRefusedFile] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const [stored, setStored] = createSignal(0);

  const side = (letter: Letter): Side => {
    const given = parseSide(explore.view()[letter]);
    if (given) return given;
    const range = settled(explore.range());
    const { query } = explore.view();
    if (letter === "b") return { kind: "range", ...range, query };
    const found = history.headline()?.baseline;
    const pin = history.pinned();
    if (pin) return { kind: "range", ...pin, query };
    const kind = explore.view().baseline;
    if (kind === "median" && found) return { kind: "range", from: found.from_ms, until: found.until_ms, query };
    const shift = kind === "week" ? 7 * DAY : kind === "none" ? range.until - range.from : DAY;
    return { kind: "range", from: range.from - shift, until: range.until - shift, query };
  };
  // A comparison stands still: what it opened with stays in its URL.
  const settle = () => {
    if (explore.view().page !== "compare") return;
    if (explore.view().a && explore.view().b && !explore.live()) return;
    const [a, b] = [side("a"), side("b")];
    explore.pause();
    explore.update({ a: formatSide(a), b: formatSide(b) }, true);
  };
  const set = (letter: Letter, to: Side) => explore.update({ [letter]: formatSide(to), zoom: 0, selected: 0 });

  const requests = new Latest();
  const load = async () => {
    const [a, b] = [side("a"), side("b")];
    const { by } = explore.view();
    setBusy(true);
    try {
      const done = await requests.run(async (signal) => {
        // First: what lies outside the data was not watched.
        const { data } = await fetchStatus(signal);
        const known = { from: data.from_ms ?? 0, until: data.until_ms ?? 0 };
        const behind = roomBehind([a, b], explore.now());
        const lane = (at: Side) => laneOf(at, behind, known, signal);
        const tree = async (at: Side): Promise<Flame> => {
          if (at.kind === "range") return fetchFlame(at, by, 1_000_000, signal);
          const file = files.get(at.name);
          if (!file) throw new ApiError(`Choose the file ${at.name} again: it was in the page's memory only`, 0, "");
          return file;
        };
        const whole = async () => (a.kind === "range" && b.kind === "range"
          ? fromDiff(await fetchDiff(a, b, by, signal))
          : unite(await tree(a), await tree(b)));
        return Promise.all([whole(), lane(a), lane(b)]);
      });
      if (!done) return;
      const [union, laneA, laneB] = done;
      const samples = (counts: number[]) => counts[0] ?? 0;
      setBoth(union);
      explore.setSides({ a: samples(union.nodes.a), b: samples(union.nodes.b), complete: union.complete });
      setLanes({ a: { ...laneA, samples: samples(union.nodes.a) }, b: { ...laneB, samples: samples(union.nodes.b) } });
      setRefused("");
    } catch (error) {
      setRefused(error instanceof ApiError ? [error.message, error.detail].filter(Boolean).join(": ") : String(error));
    } finally {
      setBusy(false);
    }
  };
  const key = createMemo(() => {
    const { a, b, by, page } = explore.view();
    return page === "compare" && a && b ? JSON.stringify([a, b, by, stored()]) : "";
  });
  createEffect(settle);
  createEffect(on(key, (wanted) => {
    setRefusedFile("");
    if (wanted) void load();
  }));

  /** Takes a file of another profiler as a side; the server converts it and keeps nothing. */
  const upload = async (letter: Letter, file: File) => {
    setBusy(true);
    setRefusedFile("");
    try {
      files.set(file.name, await convertFile(file, explore.view().by));
      setStored((n) => n + 1);
      set(letter, { kind: "file", name: file.name });
    } catch (error) {
      setRefusedFile(error instanceof ApiError ? [error.message, error.detail].filter(Boolean).join(": ") : String(error));
    } finally {
      setBusy(false);
    }
  };

  /** Cores, or shares of all samples: files have no cores where they tell no time. */
  const asShares = () => explore.view().shares || side("a").kind === "file" || side("b").kind === "file";
  const measure = createMemo((): Measure | undefined => {
    const found = lanes();
    const union = both();
    if (!found || !union) return undefined;
    if (asShares()) return { exposure: { a: found.a.samples || 1, b: found.b.samples || 1 }, unit: 1 };
    return { exposure: { a: found.a.watched / 1000, b: found.b.watched / 1000 }, unit: union.period_ns / 1e9 };
  });
  const compared = createMemo(() => {
    const union = both();
    const by = measure();
    return union && by && compare(union, by, explore.view().width);
  });
  const rows = createMemo(() => {
    const union = both();
    const by = measure();
    return union && by ? growth(union, by) : [];
  });
  /** What makes counts of samples of values. */
  const exposure = () => {
    const by = measure();
    return by && { a: by.exposure.a / by.unit, b: by.exposure.b / by.unit };
  };
  const node = (key: "zoom" | "selected") => createMemo(() => {
    const tree = compared()?.tree;
    const wanted = explore.view()[key];
    return tree && wanted ? findPath(tree, [wanted]) : 0;
  });
  const matches = createMemo(() => {
    const query = explore.search();
    const tree = compared()?.tree;
    return tree && query && "test" in query ? findMatches(tree, query.test) : undefined;
  });
  return { side, set, upload, lanes, both, compared, exposure, rows, asShares, refused: () => refusedFile() || refused(), busy, zoomNode: node("zoom"), selectedNode: node("selected"), matches };
}

export type Comparison = ReturnType<typeof createCompare>;

/** What both sides can be shown behind their ranges, in lengths of these: their frames then stand one below the other. */
function roomBehind(sides: Side[], now: number): number {
  const rooms = sides.map((side) => (side.kind === "file" ? AROUND : (now - side.until) / (side.until - side.from)));
  return Math.max(0, Math.min(AROUND, ...rooms));
}

/** The load around a side, and how much of it was watched. */
async function laneOf(side: Side, behind: number, data: Span, signal: AbortSignal): Promise<Lane> {
  if (side.kind === "file") return { series: undefined, window: undefined, watched: 1, samples: 0, events: [] };
  const length = side.until - side.from;
  const window = { from: side.from - length * AROUND, until: side.until + length * behind };
  const step = bucketStep(window, BUCKETS);
  const everything = fetchTimeline({ query: "", ...window }, "host", step, 1, signal);
  const own = side.query ? fetchTimeline({ query: side.query, ...window }, "host", step, 1, signal) : everything;
  // Both together: one that nobody waits for would be an error of the page's own when the other is given up.
  // Marks are told where there are some: a comparison does not fail for them.
  const marks = fetchAnnotations(window.from, window.until, signal).then(({ annotations }) => annotations, () => []);
  const [ownAnswer, wholeAnswer, events] = await Promise.all([own, everything, marks]);
  const series = buildSeries(ownAnswer, data, wholeAnswer);
  return { series, window, watched: watchedMs(side, data, series.gaps), samples: 0, events };
}
