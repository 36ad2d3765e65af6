/** What is asked beside the range in view: all of history, the baseline, the headline, annotations. */

import { batch, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { Latest, fetchAnnotations, fetchHeadline, fetchPins, fetchProgress, fetchSize, fetchTimeline } from "../api/client";
import type { Annotation, Headline, Pin } from "../api/types";
import { aligned, bucketStep } from "../timeline/scale";
import { type Series, buildSeries, layerMeans } from "../timeline/series";
import type { Explore } from "./explore";
import type { Span } from "./url";

const DAY = 86_400_000;
/** History is asked for anew when this much of a pixel of it has passed, and not more often than this. */
const HISTORY_EVERY = 15_000;
/** The headline of a live range is asked for this often: it reads the baseline, too. */
const HEADLINE_EVERY = 10_000;
/** What takes this long has its size told. */
const TOLD_AFTER = 2000;
const TOLD_EVERY = 500;
/** Groups of the baseline: enough that none of the range's is missed. */
const BASELINE_TOP = 100;

/** A time line of another time, moved onto the one in view. */
export interface Shifted {
  series: Series;
  /** How much earlier it is. */
  offset: number;
}

/** Starts asking; call it inside a root, once. */
export function createHistory(explore: Explore) {
  const [overview, setOverview] = createSignal<Series>();
  const [headline, setHeadline] = createSignal<Headline>();
  const [baseline, setBaseline] = createSignal<Shifted>();
  const [annotations, setAnnotations] = createSignal<Annotation[]>([]);
  const [pins, setPins] = createSignal<Pin[]>([]);
  const [reading, setReading] = createSignal<{ segments: number; bytes: number; part: number | undefined }>();

  /** What nobody waits for may fail: the page shows what it has. */
  const quietly = async (work: Promise<void>) => {
    try {
      await work;
    } catch {
      // The main requests tell of a server that does not answer.
    }
  };
  const follow = (key: () => unknown, work: () => Promise<void>) =>
    createEffect(on(key, (wanted) => void (wanted !== false && quietly(work()))));

  const data = createMemo((): Span | undefined => {
    const found = explore.status()?.data;
    return found?.from_ms == null || found.until_ms == null ? undefined : { from: found.from_ms, until: found.until_ms };
  });

  /** The first graph comes first: a server has few CPUs. */
  const started = createMemo(() => explore.graph() !== undefined || explore.view().page !== "explore");

  // All of history, in buckets of a pixel.
  const histories = new Latest();
  const historyKey = createMemo(() => {
    const all = data();
    if (!all || !started() || explore.failure()?.selector) return false;
    const coarse = Math.max(HISTORY_EVERY, (all.until - all.from) / 500);
    return JSON.stringify([explore.view().query, Math.floor(all.until / coarse), all.from, explore.width()]);
  });
  follow(historyKey, async () => {
    const all = data();
    if (!all) return;
    const step = Math.max(1000, Math.ceil((all.until - all.from) / Math.min(800, explore.width())));
    const answer = await histories.run((signal) =>
      fetchTimeline({ query: explore.view().query, ...aligned(all, step) }, "host", step, 1, signal));
    if (answer) setOverview(buildSeries(answer, all));
  });

  // The pin that the range is compared with, as a span.
  const loadPins = () => quietly(fetchPins().then((answer) => void setPins(answer.pins)));
  const wantsPin = () => explore.view().baseline.startsWith("pin:");
  createEffect(on(wantsPin, (wants) => wants && void loadPins()));
  const pinned = createMemo((): Span | undefined => {
    const pin = pins().find(({ id }) => explore.view().baseline === `pin:${id}`);
    return pin && { from: pin.from_ms, until: pin.until_ms };
  });

  const headlines = new Latest();
  const [turn, setTurn] = createSignal(0);
  const timer = setInterval(() => explore.live() && !document.hidden && setTurn((n) => n + 1), HEADLINE_EVERY);
  onCleanup(() => clearInterval(timer));
  const headlineKey = createMemo(() => {
    const { query, by, baseline: kind, page } = explore.view();
    if (page !== "explore" || !started() || kind === "none" || explore.failure()?.selector) return false;
    const { from, until } = explore.range();
    const when = explore.live() ? ["live", until - from, turn()] : [from, until];
    return JSON.stringify([query, by, kind, wantsPin() && pinned(), ...when]);
  });
  // A comparison goes on with the baseline that was found.
  createEffect(on(headlineKey, () => void (!explore.live() && explore.view().page === "explore" && setHeadline(undefined))));
  createEffect(on(createMemo(() => explore.view().baseline), () => void setHeadline(undefined), { defer: true }));
  follow(headlineKey, async () => {
    const { query, by, baseline: kind } = explore.view();
    const with_ = wantsPin() ? pinned() : kind;
    if (!with_ || !explore.range()) return;
    const range = explore.range();
    const answer = await headlines.run(async (signal) => {
      await explore.graphFirst();
      return fetchHeadline({ query, ...range }, by, with_, signal);
    });
    if (answer) setHeadline(answer);
  });

  /** How much earlier the baseline is; none without one. */
  const offset = createMemo(() => {
    const kind = explore.view().baseline;
    if (kind === "none") return undefined;
    if (kind === "yesterday") return DAY;
    if (kind === "week") return 7 * DAY;
    const found = headline();
    return found?.baseline ? found.from_ms - found.baseline.from_ms : undefined;
  });
  const baselines = new Latest();
  const baselineKey = createMemo(() => {
    const window = explore.window();
    const step = bucketStep(window, explore.width());
    const shift = offset();
    const all = data();
    if (shift === undefined || !all || !started() || window.until - shift <= all.from || window.from - shift >= all.until) return "";
    const { query, by } = explore.view();
    // A live window moves on; its baseline is asked for a quarter of the window ahead.
    const length = window.until - window.from;
    const from = explore.live() ? Math.floor(window.from / (length / 4)) * (length / 4) : window.from;
    return JSON.stringify([query, by, shift, step, from, length]);
  });
  createEffect(on(baselineKey, (key) => !key && setBaseline(undefined)));
  follow(() => baselineKey() || false, async () => {
    const shift = offset();
    const all = data();
    if (shift === undefined || !all) return;
    const { query, by } = explore.view();
    const { from, until } = explore.window();
    const ahead = explore.live() ? (until - from) / 4 : 0;
    const step = bucketStep({ from, until }, explore.width());
    const span = aligned({ from: from - shift, until: until - shift + ahead }, step);
    const answers = await baselines.run(async (signal) => {
      await explore.graphFirst();
      return Promise.all([
        fetchTimeline({ query, ...span }, by, step, BASELINE_TOP, signal),
        query ? fetchTimeline({ query: "", ...span }, "host", step, 1, signal) : undefined,
      ]);
    });
    if (!answers) return;
    const series = buildSeries(answers[0], all, answers[1]);
    setBaseline(series.observed.includes(1) ? { series, offset: shift } : undefined);
  });
  /** Mean cores of each group over the range, in the baseline; undefined without one. */
  const baselineMeans = createMemo(() => {
    const found = baseline();
    if (!found) return undefined;
    const { from, until } = explore.draft() ?? explore.range();
    return layerMeans(found.series, { from: from - found.offset, until: until - found.offset });
  });

  const marks = new Latest();
  const loadAnnotations = async () => {
    const { from, until } = explore.window();
    const ahead = (until - from) / 2;
    const answer = await marks.run((signal) => fetchAnnotations(from - ahead, until + ahead, signal));
    if (answer) setAnnotations(answer.annotations);
  };
  const marksKey = createMemo(() => {
    const { from, until } = explore.window();
    return explore.live() ? `${until - from} ${turn()}` : `${from} ${until}`;
  });
  follow(marksKey, loadAnnotations);

  // What takes long is told by its size, and by how much of that is read.
  let told: ReturnType<typeof setTimeout> | undefined;
  const tell = async (size?: { segments: number; bytes: number }) => {
    const { from, until } = explore.picked();
    const [all, { read, segments }] = await Promise.all([size ?? fetchSize(from, until), fetchProgress(explore.question())]);
    if (!explore.slow()) return;
    setReading({ ...all, part: read !== null && segments ? Math.min(1, read / segments) : undefined });
    told = setTimeout(() => void quietly(tell(all)), TOLD_EVERY);
  };
  createEffect(on(explore.slow, (slow) => {
    clearTimeout(told);
    batch(() => setReading(undefined));
    if (slow) told = setTimeout(() => void quietly(tell()), TOLD_AFTER);
  }));
  onCleanup(() => clearTimeout(told));

  return {
    data, overview, headline, baseline, baselineMeans, annotations, pins, loadPins, pinned, reading,
    reloadAnnotations: () => quietly(loadAnnotations()),
  };
}

export type History = ReturnType<typeof createHistory>;
