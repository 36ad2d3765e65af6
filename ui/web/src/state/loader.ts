/** Keeps the page's data in step with its view, and follows now in live mode. */

import { batch, createEffect, createMemo, on, onCleanup, untrack } from "solid-js";
import { Latest, fetchFlameBytes, fetchStatus, fetchTimeline, fetchTruth } from "../api/client";
import { type Grown, createEngine } from "../flame/engine";
import { formatTransforms, sameTransforms } from "../flame/transform";
import { aligned, bucketStep } from "../timeline/scale";
import { buildSeries } from "../timeline/series";
import { createAhead } from "./ahead";
import type { Explore } from "./explore";
import { wholeQuery } from "./truth";
import type { Span } from "./url";

/** The right edge of the time line moves this often, and the graph this often, in milliseconds. */
const EDGE_EVERY = 1000;
const GRAPH_EVERY = 2000;
/** A live page keeps a slow server busy for at most a fifth of the time, and still asks this often. */
const REST = 4;
const AT_LEAST_EVERY = 10_000;
/** A live graph is read again and again: finer frames wait until it is paused. */
const LIVE_NODES = 10_000;
/** Nodes for each pixel of the width: what is seen of a graph that nobody has zoomed into, and some more. Finer frames come behind it. */
const FIRST_NODES = 5;
const FEWEST_NODES = 4000;
const FINER_AFTER = 400;
/** What a graph has that follows a span as it is drawn: quickly there, and seen for a moment. */
const PREVIEW_NODES = 2000;
const STATUS_EVERY = 2500;
/** After this long a user is told that something loads. */
const SLOW_AFTER = 150;
/** Changes that follow each other this fast are one. */
const BURST = 60;

/** What can be asked of the loader. */
export interface Loader {
  /** Asks for everything again. */
  reload: () => void;
  /** Gives up on what is being asked for; the last picture stays. */
  cancel: () => void;
}

/** Starts loading; call it inside a root, once. */
export function startLoader(explore: Explore): Loader {
  const timeline = new Latest();
  const flame = new Latest();
  const truths = new Latest();
  const statuses = new Latest();
  const engine = createEngine();
  const ahead = createAhead(explore);
  let pending = 0;
  let slowTimer: ReturnType<typeof setTimeout> | undefined;

  const begin = (quiet: boolean) => {
    if (quiet) return () => {};
    pending++;
    slowTimer ??= setTimeout(() => explore.setSlow(true), SLOW_AFTER);
    return () => {
      if (--pending > 0) return;
      clearTimeout(slowTimer);
      slowTimer = undefined;
      explore.setSlow(false);
    };
  };

  const failed = explore.fail;

  const loadTimeline = async (quiet: boolean) => {
    const done = begin(quiet);
    try {
      const { query, by } = explore.view();
      const step = bucketStep(explore.window(), explore.width());
      const span = aligned(explore.window(), step);
      const answers = await timeline.run(async (signal) => {
        if (!quiet) await explore.graphFirst();
        return Promise.all([
          fetchTimeline({ query, ...span }, by, step, undefined, signal),
          // What a selector leaves out is no gap: only the whole knows when nobody was watching.
          query ? fetchTimeline({ query: "", ...span }, "host", step, 1, signal) : undefined,
        ]);
      });
      if (!answers) return;
      const data = explore.status()?.data;
      const known = { from: data?.from_ms ?? 0, until: data?.until_ms ?? explore.now() };
      explore.setSeries(buildSeries(answers[0], known, answers[1]));
      if (explore.failure()?.error.status === 0) explore.setFailure(undefined);
    } catch (reason) {
      failed(reason);
    } finally {
      done();
    }
  };

  const firstNodes = () => Math.max(FEWEST_NODES, Math.round(explore.width() * FIRST_NODES));
  const show = (grown: Grown) => {
    const { from_ms: from, until_ms: until } = grown.answer.data;
    explore.transforms.arrived({ ...grown, data: from !== null && until !== null ? { from, until } : undefined });
  };
  let finer: ReturnType<typeof setTimeout> | undefined;
  /** How long the server took for the range's graph, not for its finer frames. */
  let took = 0;
  const loadFlame = async (quiet: boolean, all = false) => {
    const done = begin(quiet);
    ahead.stop();
    clearTimeout(finer);
    try {
      const { query, by } = explore.view();
      const first = firstNodes();
      const nodes = explore.live() ? LIVE_NODES : all ? undefined : first;
      const { transforms } = explore.view();
      const question = Math.random().toString(36).slice(2);
      explore.setQuestion(question);
      const found = flame.run(async (signal) => {
        const asked = performance.now();
        const bytes = await fetchFlameBytes({ query, ...explore.picked() }, by, nodes, signal, question);
        if (!all) took = performance.now() - asked;
        return engine.load(bytes, transforms);
      });
      explore.setAsking(found.catch(() => {}));
      const grown = await found;
      if (!grown) return;
      if (nodes === first && grown.answer.pruned > 0) finer = setTimeout(() => explore.view().page === "explore" && void loadFlame(true, true), FINER_AFTER);
      else void ahead.ask(firstNodes(), took, grown.answer.data);
      batch(() => {
        show(grown);
        explore.setFailure(undefined);
      });
      // Behind the painter's callback of this frame, and then behind the frame itself, which other threads are still at work on.
      if (!explore.drawn()) requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => explore.setDrawn(true))));
      // Somebody was faster.
      if (!sameTransforms(transforms, explore.view().transforms)) await transform();
    } catch (reason) {
      failed(reason);
    } finally {
      done();
    }
  };

  // While a span is drawn, its graph follows: one question after the other, so that a slow server is asked less often.
  let previewing = false;
  const preview = async () => {
    if (previewing) return;
    previewing = true;
    try {
      let last: Span | undefined;
      for (let span = explore.draft(); span && span !== last; span = explore.draft()) {
        const { query, by, transforms } = explore.view();
        const at = { query, ...span };
        const bytes = await flame.run((signal) => fetchFlameBytes(at, by, PREVIEW_NODES, signal));
        // What was chosen by now is being asked for.
        if (!bytes || !explore.draft()) return;
        show(await engine.load(bytes, transforms));
        last = span;
      }
    } catch {
      // What is wrong is told by the answer to what is chosen in the end.
    } finally {
      previewing = false;
    }
  };
  createEffect(on(explore.draft, (draft) => draft && explore.view().page === "explore" && void preview()));

  let asked = 0;
  const transform = async () => {
    const graph = explore.graph();
    if (!graph) return;
    const turn = ++asked;
    try {
      const grown = await engine.apply(explore.view().transforms);
      if (turn !== asked) return;
      explore.transforms.arrived({ ...grown, data: (explore.graph() ?? graph).data });
    } catch (reason) {
      failed(reason);
    }
  };

  const loadTruth = async () => {
    if (!explore.view().truth) return;
    try {
      const query = wholeQuery(explore.view().query);
      const truth = await truths.run((signal) => fetchTruth({ query, ...explore.picked() }, signal));
      if (truth) explore.setTruth(truth);
    } catch (reason) {
      failed(reason);
    }
  };

  const loadStatus = async () => {
    try {
      const asked = Date.now();
      const status = await statuses.run((signal) => fetchStatus(signal));
      if (!status) return;
      batch(() => {
        explore.setSkew(status.now_ms - (asked + Date.now()) / 2);
        explore.setStatus(status);
      });
    } catch (reason) {
      failed(reason);
    }
  };

  const reload = () => {
    void loadStatus();
    void loadFlame(false);
    void loadTimeline(false);
    void loadTruth();
  };

  /**
   * Waits for the end of a burst, as turning a wheel makes. What comes alone is asked at once: the server has its answer by the time
   * that the page has drawn what else changes.
   */
  const soon = (work: () => Promise<void>) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = -BURST;
    return () => {
      const alone = performance.now() - last > BURST;
      last = performance.now();
      clearTimeout(timer);
      if (alone) untrack(() => void work());
      else timer = setTimeout(() => void work(), BURST);
    };
  };

  // What asks for new data: the selection, and in live mode the clock below.
  const spanKey = (span: { from: number; until: number }) => (explore.live() ? "live" : `${span.from}-${span.until}`);
  // Memos, since `now` changes every second and the key of a live view does not.
  const length = (span: { from: number; until: number }) => explore.live() && span.until - span.from;
  const timelineKey = createMemo(() => {
    const { query, by } = explore.view();
    return JSON.stringify([query, by, spanKey(explore.window()), length(explore.window()), explore.width()]);
  });
  const flameKey = createMemo(() => {
    // The graph is that of the span being drawn; afterwards that of the range is asked for, even if the range is what it was.
    if (explore.draft()) return "drawn";
    const { query, by } = explore.view();
    return JSON.stringify([query, by, spanKey(explore.picked()), length(explore.picked()), explore.picked().parts, explore.view().page]);
  });
  // The graph first: the time line waits for it.
  createEffect(on(flameKey, soon(() => (explore.view().page === "explore" && !explore.draft() ? loadFlame(false) : Promise.resolve()))));
  createEffect(on(timelineKey, soon(() => loadTimeline(false))));
  createEffect(on(createMemo(() => formatTransforms(explore.view().transforms)), () => void transform(), { defer: true }));
  const truthKey = createMemo(() => {
    const { query, truth } = explore.view();
    return truth && JSON.stringify([wholeQuery(query), spanKey(explore.picked()), length(explore.picked()), explore.picked().parts]);
  });
  createEffect(on(truthKey, soon(loadTruth)));

  const every = (ms: number, work: () => Promise<void>) => {
    let timer: ReturnType<typeof setTimeout>;
    let stopped = false;
    const turn = async () => {
      const start = performance.now();
      if (!document.hidden) await work();
      if (stopped) return;
      timer = setTimeout(turn, Math.max(ms, Math.min(AT_LEAST_EVERY, (performance.now() - start) * REST)));
    };
    timer = setTimeout(turn, ms);
    onCleanup(() => {
      stopped = true;
      clearTimeout(timer);
    });
  };
  const tick = setInterval(() => {
    if (!document.hidden) explore.setNow(Date.now() + explore.skew());
  }, EDGE_EVERY);
  onCleanup(() => clearInterval(tick));
  // A selector that was refused once will be refused again.
  const following = () => explore.live() && !explore.draft() && !explore.failure()?.selector;
  every(EDGE_EVERY, async () => {
    if (following() && !timeline.busy) await loadTimeline(true);
  });
  every(GRAPH_EVERY, async () => {
    if (following() && !flame.busy) await loadFlame(true);
    if (following() && !truths.busy) await loadTruth();
  });
  every(STATUS_EVERY, loadStatus);
  void loadStatus();
  const cancel = () => {
    explore.pause();
    clearTimeout(finer);
    for (const running of [timeline, flame, truths]) running.cancel();
  };
  return { reload, cancel };
}
