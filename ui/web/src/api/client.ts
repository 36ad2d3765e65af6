/** Requests to the server. */

import type {
  Annotation, Diff, Flame, FunctionHistory, Headline, HeatMap, LabelValues, LanesAnswer, Pin, ProgramHistory, ProgramsAnswer, SourceAnswer, Status, Timeline, Truth,
} from "./types";

import type { Rectangle } from "../state/url";

/** The server refused, failed, or was not reached. */
export class ApiError extends Error {
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** More about the cause, e.g. a selector with a caret under the mistake. */
  readonly detail: string;

  constructor(message: string, status: number, detail: string) {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

/** What selects samples; instants are Unix milliseconds. */
export interface Selection {
  query: string;
  from: number;
  until: number;
  /** Rectangles of a map of seconds: what lies in any of them; all of the span where there are none. */
  parts?: readonly Rectangle[];
}

type Params = Record<string, string | number | undefined | readonly string[]>;

/** A path of the API with its parameters; empty ones are left out. */
export function apiUrl(path: string, params: Params): string {
  const pairs = Object.entries(params).filter(([, value]) => value !== undefined && value !== "");
  const each = pairs.flatMap(([key, value]) => (Array.isArray(value) ? value : [value]).map((one) => [key, String(one)]));
  return `/api/v1/${path}${each.length ? `?${new URLSearchParams(each)}` : ""}`;
}

/** What lies before 1970 is no time to the server, and has no samples. */
const seconds = (ms: number) => (Math.max(0, ms) / 1000).toFixed(3);

/** Parameters of a selection: the API takes Unix seconds. */
export function selectionParams({ query, from, until, parts = [] }: Selection): Params {
  const span = { query, from: seconds(from), until: seconds(until) };
  const [only] = parts;
  if (!only) return span;
  if (parts.length > 1) return { ...span, part: parts.map((part) => [part.from, part.until, part.low, part.high].join(",")) };
  return only.low === 0 && only.high === 1000 ? span : { ...span, offset_from_ms: only.low, offset_until_ms: only.high };
}

const get = <T>(path: string, params: Params, signal?: AbortSignal) => ask<T>(path, params, {}, signal);

/** A server that answers others is asked again, as often as this; it says after how many seconds. */
const TURNS = 5;
const LONGEST_REST = 5;

function rest(response: Response, signal?: AbortSignal): Promise<void> {
  const seconds = Math.min(LONGEST_REST, Number(response.headers.get("retry-after")) || 1);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** An answer that is no refusal. */
async function request(path: string, params: Params, init: RequestInit, signal?: AbortSignal): Promise<Response> {
  let response: Response;
  try {
    const headers = { accept: "application/json", ...init.headers };
    const ask = () => fetch(apiUrl(path, params), { ...init, signal: signal ?? null, headers });
    response = await ask();
    for (let turn = 1; response.status === 503 && turn < TURNS; turn++) {
      await rest(response, signal);
      response = await ask();
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer", 0, "");
  }
  if (!response.ok) throw refused(response.status, await response.text());
  return response;
}

async function ask<T>(path: string, params: Params, init: RequestInit, signal?: AbortSignal): Promise<T> {
  const response = await request(path, params, init, signal);
  const text = await response.text();
  if (response.status === 204) return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError("The server's answer is not JSON", response.status, text.slice(0, 200));
  }
}

function refused(status: number, text: string): ApiError {
  try {
    const { error, detail } = JSON.parse(text) as { error?: unknown; detail?: unknown };
    if (typeof error === "string") return new ApiError(error, status, typeof detail === "string" ? detail : "");
  } catch {
    // Not our server's error shape, e.g. a proxy's page.
  }
  return new ApiError(`The server answered ${status}`, status, text.slice(0, 200));
}

export const fetchStatus = (signal?: AbortSignal) => get<Status>("status", {}, signal);

export const fetchPrograms = (signal?: AbortSignal) => get<ProgramsAnswer>("programs", {}, signal);

export const fetchProgramHistory = (from: number, until: number, step: number, signal?: AbortSignal) =>
  get<ProgramHistory>("programs/history", { from: seconds(from), until: seconds(until), step_ms: step }, signal);

export const fetchTimeline = (at: Selection, by: string, step: number, top?: number, signal?: AbortSignal) =>
  get<Timeline>("timeline", { ...selectionParams(at), by, step_ms: step, top }, signal);

export const fetchFlame = (at: Selection, by: string, nodes?: number, signal?: AbortSignal) =>
  get<Flame>("flame", { ...selectionParams(at), by, max_nodes: nodes }, signal);

/** The stack tree in columns, as it comes (flame/columns.ts). Its progress is asked for by the name of the question. */
export const fetchFlameBytes = async (
  at: Selection, by: string, nodes?: number, signal?: AbortSignal, question?: string,
): Promise<ArrayBuffer> => {
  const init = question ? { headers: { "x-vesta-question": question } } : {};
  return (await request("flame", { ...selectionParams(at), by, max_nodes: nodes, format: "columns" }, init, signal)).arrayBuffer();
};

/** How many segments a question has read, and how many it will read; null where it is answered, or not known. */
export const fetchProgress = (question: string, signal?: AbortSignal) =>
  get<{ read: number | null; segments: number | null }>("progress", { question }, signal);

export const fetchLanes = (at: Selection, by: string, step: number, top: number, signal?: AbortSignal) =>
  get<LanesAnswer>("lanes", { ...selectionParams(at), by, step_ms: step, top }, signal);

export const fetchSource = (at: Selection, file: string, signal?: AbortSignal) =>
  get<SourceAnswer>("source", { ...selectionParams(at), file }, signal);

export const fetchTruth = (at: Selection, signal?: AbortSignal) => get<Truth>("truth", selectionParams(at), signal);

export const fetchValues = (label: string, at: Selection, signal?: AbortSignal) =>
  get<LabelValues>(`labels/${encodeURIComponent(label)}/values`, selectionParams(at), signal);

export const fetchLabels = (at: Selection, signal?: AbortSignal) =>
  get<{ labels: string[] }>("labels", selectionParams(at), signal);

/** What the range is compared with: a named baseline, or a span. */
export const fetchHeadline = (
  at: Selection, by: string, baseline: string | { from: number; until: number }, signal?: AbortSignal,
) => {
  const before = typeof baseline === "string"
    ? { baseline }
    : { baseline: "range", before_from: seconds(baseline.from), before_until: seconds(baseline.until) };
  return get<Headline>("headline", { ...selectionParams(at), by, ...before }, signal);
};

export const fetchHeatMap = (at: Selection, signal?: AbortSignal) => get<HeatMap>("heatmap", selectionParams(at), signal);

export const fetchFunctions = (at: Selection, name: string, step: number, top: number, signal?: AbortSignal) =>
  get<FunctionHistory>("functions", { ...selectionParams(at), name, step_ms: step, top }, signal);

/** Nodes of a comparison: more than are drawn, so that few functions are left out of its table. */
const DIFF_NODES = 150_000;

/** `b` beside `a`, as one tree. */
export const fetchDiff = (a: Selection, b: Selection, by: string, signal?: AbortSignal) =>
  get<Diff>("diff", {
    ...selectionParams(b), before_query: a.query || "{}", before_from: seconds(a.from), before_until: seconds(a.until), by,
    max_nodes: DIFF_NODES,
  }, signal);

export const fetchSize = (from: number, until: number, signal?: AbortSignal) =>
  get<{ segments: number; bytes: number }>("size", { from: seconds(from), until: seconds(until) }, signal);

/** A file of another profiler as a tree; the server keeps nothing of it. */
export const convertFile = (file: Blob, by: string, signal?: AbortSignal) =>
  ask<Flame>("convert", { by, max_nodes: 1_000_000 },
    { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } }, signal);

/** A profile in another format. */
export const convertTo = async (file: Blob, format: string, by: string): Promise<Blob> =>
  (await request("convert", { by, format }, { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } })).blob();

export const fetchAnnotations = (from: number, until: number, signal?: AbortSignal) =>
  get<{ annotations: Annotation[] }>("annotations", { from: seconds(from), until: seconds(until) }, signal);

export const fetchPins = (signal?: AbortSignal) => get<{ pins: Pin[] }>("pins", {}, signal);

const post = <T>(path: string, body: unknown) =>
  ask<T>(path, {}, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });

export const addAnnotation = (time: number, kind: Annotation["kind"], text: string) =>
  post<Annotation>("annotations", { time: Math.round(time), kind, text });

export const addPin = (from: number, until: number, note: string) =>
  post<Pin>("pins", { from: Math.round(from), until: Math.round(until), note });

/** Keeps the query part of an address under an id. */
export const keepLink = (state: string) => post<{ id: string; state: string }>("links", { state });

export const fetchLink = (id: string) => get<{ id: string; state: string }>(`links/${id}`, {});

export const removeMark = (what: "annotations" | "pins", id: string) =>
  ask<void>(`${what}/${encodeURIComponent(id)}`, {}, { method: "DELETE" });

/** Runs one request at a time: a new one cancels the one before, whose result is then undefined. */
export class Latest {
  #controller: AbortController | undefined;

  get busy(): boolean {
    return this.#controller !== undefined;
  }

  /** Gives up on the request that runs. */
  cancel(): void {
    this.#controller?.abort();
  }

  async run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.#controller?.abort();
    const controller = new AbortController();
    this.#controller = controller;
    try {
      const result = await work(controller.signal);
      return controller.signal.aborted ? undefined : result;
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      throw error;
    } finally {
      if (this.#controller === controller) this.#controller = undefined;
    }
  }
}
