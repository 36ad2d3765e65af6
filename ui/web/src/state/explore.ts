/** The state of the page: what is looked at, what the server said, and what a user can do about it. */

import { batch, createMemo, createSignal } from "solid-js";
import { ApiError } from "../api/client";
import type { Behind, FlameFacts, Status, Truth } from "../api/types";
import { BANDS } from "../color/bands";
import type { Step } from "../flame/apply";
import { reasonCode } from "../flame/names";
import { findMatches, parseQuery } from "../flame/search";
import { type FlameTree, findPath, largestGroups, pathTo } from "../flame/tree";
import { type Series, layerMeans, mostUsed, watchedMs } from "../timeline/series";
import { disjoint, hullOf } from "./rectangles";
import { equalityOf, withEquality, withoutEquality } from "./selector";
import { shortAddress, stateHere, writeAddress } from "./link";
import { toggled } from "./truth";
import { createTransforms } from "./transforms";
import { type Rectangle, type Span, type ViewState, formatState, parseState, pathOf } from "./url";

/** A stack tree with the answer it came from. */
export interface Graph {
  answer: FlameFacts;
  /** After the transforms. */
  tree: FlameTree;
  /** What the transforms did, one by one. */
  steps: readonly Step[];
  /** The span of all data when it was asked for: later data is not in the answer. */
  data: Span | undefined;
}

/** Something the server refused or failed at; the last good view stays. */
export interface Failure {
  error: ApiError;
  /** Whether the selector is at fault: the message then stands under its field. */
  selector: boolean;
}

/** What else is asked of a range lets its graph go first, as the server has few CPUs; but for no longer than this. */
const GRAPH_FIRST = 600;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes the state of one page, from the query of its address; `lost`: why a link leads nowhere, if it does. */
export function createExplore(query: string, lost?: ApiError) {
  const [view, setView] = createSignal<ViewState>(parseState(query, location.pathname));
  const [lostLink, setLostLink] = createSignal(lost);
  const [status, setStatus] = createSignal<Status>();
  const [series, setSeries] = createSignal<Series>();
  const [graph, setGraph] = createSignal<Graph>();
  /** How true the view is, read while the drawer is open. */
  const [truth, setTruth] = createSignal<Truth>();
  const [failure, setFailure] = createSignal<Failure>();
  /** Tells of something that went wrong. */
  const fail = (reason: unknown) => {
    const error = reason instanceof ApiError ? reason : new ApiError(String(reason), 0, "");
    setFailure({ error, selector: error.status === 400 && view().query !== "" });
  };
  /** Whether the first graph is on screen: what is told beside it comes after it. */
  const [drawn, setDrawn] = createSignal(false);
  let asking: Promise<unknown> = Promise.resolve();
  /** Ends when the graph that was asked for last is there, or is late. */
  const graphFirst = async () => {
    // Whoever asks for the graph does so in this turn, too.
    await wait(0);
    await Promise.race([asking, wait(GRAPH_FIRST)]);
  };
  const setAsking = (answer: Promise<unknown>) => {
    asking = answer;
  };
  /** The name of what is being asked for the graph. */
  const [question, setQuestion] = createSignal("");
  const [slow, setSlow] = createSignal(false);
  const [pausedAt, setPausedAt] = createSignal<number>();
  /** Milliseconds the server's clock is ahead of ours. */
  const [skew, setSkew] = createSignal(0);
  const [now, setNow] = createSignal(Date.now());
  /** The span under the pointer while it is dragged. */
  const [draft, setDraft] = createSignal<Span>();
  /** Width of the time line in CSS pixels. */
  const [width, setWidth] = createSignal(1000);

  const range = createMemo((): Span => {
    const wanted = view().range;
    return wanted.live ? { from: now() - wanted.length, until: now() } : { from: wanted.from, until: wanted.until };
  });
  const window = createMemo<Span>(() => view().window ?? range());
  /** The rectangles of the heat map that are selected; none where all of the range is. */
  const rectangles = (): readonly Rectangle[] => {
    const { heatMap } = view();
    return typeof heatMap === "object" ? heatMap : [];
  };
  /** What the graph and its tables are of: the range, or rectangles of the heat map within it. */
  const picked = createMemo((): Span & { parts: readonly Rectangle[] } => {
    const parts = rectangles();
    return { ...(parts.length > 0 ? hullOf(parts) : range()), parts };
  });
  const live = () => view().range.live;
  /** The brush: the range where it is not the whole window. */
  const brush = createMemo<Span | null>(() => (view().window ? range() : null));

  /** Changes the view; `replace` for what is no step of its own in the history. */
  const update = (patch: Partial<ViewState>, replace = false) => {
    const next = { ...view(), ...patch };
    batch(() => {
      setView(next);
      setLostLink(undefined);
      if (next.range.live) setPausedAt(undefined);
    });
    write(replace);
  };
  const write = (replace: boolean) => writeAddress(pathOf(view().page), formatState(view()), replace, status()?.takes_marks ?? false);
  addEventListener("popstate", () => {
    const here = stateHere();
    if (here === undefined) location.reload();
    else setView(parseState(here, location.pathname));
  });

  /** Stops following now; the span in view stays. */
  const pause = (): void => {
    if (!live()) return;
    const { from, until } = range();
    const rounded = { from: Math.floor(from / 1000) * 1000, until: Math.floor(until / 1000) * 1000 };
    batch(() => {
      setPausedAt(now());
      setView({ ...view(), range: { live: false, ...rounded }, window: null });
    });
    write(true);
  };

  const lengthOfLive = () => {
    const wanted = view().range;
    return wanted.live ? wanted.length : 15 * 60_000;
  };
  const goLive = (length = lengthOfLive()) => update({ range: { live: true, length }, window: null, heatMap: false });

  /** The nodes the zoom and the selection of the view point at; their nearest callers where they are gone. */
  const followed = (key: "zoom" | "selected") => {
    let hashes: number[] = [];
    return createMemo(() => {
      const tree = graph()?.tree;
      const wanted = view()[key];
      if (!tree || !wanted) return 0;
      if (hashes[hashes.length - 1] !== wanted) hashes = [wanted];
      const node = findPath(tree, hashes);
      if (tree.path[node] === wanted) hashes = pathTo(tree, node).map((at) => tree.path[at] as number);
      return node;
    });
  };
  const zoomNode = followed("zoom");
  const selectedNode = followed("selected");
  const hashOf = (node: number) => (node > 0 ? (graph()?.tree.path[node] ?? 0) : 0);

  const select = (node: number) => {
    pause();
    update({ selected: hashOf(node) }, true);
  };
  const zoom = (node: number) => {
    pause();
    update({ zoom: hashOf(node), selected: hashOf(node) || view().selected, pan: null });
  };

  const transforms = createTransforms({ view, update, graph, setGraph });

  /** The menu of a frame, while it is open, where it stands in the window. */
  const [menu, setMenu] = createSignal<{ node: number; x: number; y: number }>();

  const search = createMemo(() => parseQuery(view().search));
  const matches = createMemo(() => {
    const query = search();
    const tree = graph()?.tree;
    return tree && query && "test" in query ? findMatches(tree, query.test, zoomNode()) : undefined;
  });

  /** The reason whose truncated stacks stand out, while somebody points at it. */
  const [pointedReason, setPointedReason] = createSignal("");
  const marked = createMemo(() => {
    const tree = graph()?.tree;
    const reason = pointedReason();
    if (!tree || !reason) return matches();
    return findMatches(tree, (frame) => frame.kind === "truncated" && reasonCode(frame.name) === reason);
  });

  /** Shows a span; with a window around it where it is only a part. */
  const setRange = (span: Span, around: Span | null, replace = false) => {
    const whole = !around || (around.from === span.from && around.until === span.until);
    batch(() => {
      if (live()) setPausedAt(now());
      // A rectangle belongs to its range.
      const heatMap = view().heatMap !== false;
      update({ range: { live: false, ...span }, window: whole ? null : around, heatMap }, replace);
    });
  };

  /** Files that were dropped and are not yet compared. */
  const [dropped, setDropped] = createSignal<File[]>([]);
  /** Samples of both sides of a comparison. */
  const [sides, setSides] = createSignal<{ a: number; b: number; complete: { a: number | undefined; b: number | undefined } }>();
  /** The instant that is being annotated. */
  const [annotating, setAnnotating] = createSignal<number>();

  const [copied, setCopied] = createSignal<"" | "copied" | "refused">("");
  /** Copies a link to what is in view now: its times are absolute, so that it shows the same tomorrow. */
  const copyLink = async () => {
    const { from, until } = range();
    const fixed = { live: false as const, from: Math.floor(from / 1000) * 1000, until: Math.floor(until / 1000) * 1000 };
    const state = live() ? { ...view(), range: fixed } : view();
    try {
      await navigator.clipboard.writeText(await shortAddress(pathOf(state.page), formatState(state)));
      setCopied("copied");
    } catch {
      // Browsers allow it only on https and localhost.
      setCopied("refused");
    }
    setTimeout(() => setCopied(""), 2000);
  };

  /** Narrows the selector to a label's value, or opens it again. */
  const toggleFilter = (label: string, value: string) => {
    const { query } = view();
    const on = equalityOf(query, label) === value;
    update({ query: on ? withoutEquality(query, label) : withEquality(query, label, value), zoom: 0 });
  };

  /** Shows only the stacks of a reason, with the code behind them marked; all stacks again the second time. */
  const toggleGap = (reason: string, behind?: Behind) => {
    pause();
    update({ ...toggled(view(), reason, behind), tab: "flame", zoom: 0, selected: 0 });
  };

  /** How much of the graph's range was watched, in milliseconds. */
  const coveredMs = createMemo(() => {
    const answer = graph()?.answer;
    const span = answer ? { from: answer.from_ms, until: answer.until_ms } : range();
    const known = graph()?.data ?? span;
    const gaps = series()?.gaps ?? [];
    const { parts } = picked();
    // A graph that follows the span being drawn is of all of that.
    if (parts.length === 0 || draft()) return watchedMs(span, known, gaps);
    return disjoint(parts).reduce((sum, part) => sum + (watchedMs(part, known, gaps) * (part.high - part.low)) / 1000, 0);
  });
  /** Cores that a number of samples of the graph stand for. */
  const coresOf = (samples: number) => (samples * (graph()?.answer.period_ns ?? 0)) / (coveredMs() * 1e6);

  /**
   * The groups that have a colour, where not all do: processes all have that of their binary, of other labels' values only those that used
   * most CPU, for eight bands do not tell more apart.
   */
  const ranked = createMemo(
    (): ReadonlySet<string> | undefined => {
      const { by } = view();
      if (by === "process") return undefined;
      const lines = series();
      // The graph is there first.
      return lines?.by === by ? mostUsed(lines, BANDS.length) : largestGroups(graph()?.tree, BANDS.length);
    },
    undefined,
    // A palette that is made anew draws all anew.
    { equals: (a, b) => a === b || (a?.size === b?.size && [...(a ?? [])].every((value) => b?.has(value))) },
  );

  const means = createMemo(() => {
    const lines = series();
    return lines ? layerMeans(lines, draft() ?? range()) : new Map<string, number>();
  });

  return {
    view, update, lostLink, setLostLink, status, setStatus, series, setSeries, graph, setGraph, truth, setTruth, failure, setFailure, fail, question, setQuestion, graphFirst, setAsking, drawn, setDrawn, slow, setSlow,
    pausedAt, skew, setSkew, now, setNow, draft, setDraft, width, setWidth, range, window, rectangles, picked, live, brush, pause, goLive,
    zoomNode, selectedNode, select, zoom, transforms, menu, setMenu, search, matches, marked, setPointedReason, dropped, setDropped, sides, setSides, annotating, setAnnotating, copied, copyLink, setRange, toggleFilter, toggleGap, coresOf, means, ranked,
  };
}

export type Explore = ReturnType<typeof createExplore>;
