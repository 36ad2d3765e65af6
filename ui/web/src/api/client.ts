/** Requests to the server. */

import type { Flame, LabelValues, Status, Timeline, Truth } from "./types";

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
  /** Of each second only the milliseconds from `low` on, below `high`. */
  low?: number | undefined;
  high?: number | undefined;
}

type Params = Record<string, string | number | undefined>;

/** A path of the API with its parameters; empty ones are left out. */
export function apiUrl(path: string, params: Params): string {
  const pairs = Object.entries(params).filter(([, value]) => value !== undefined && value !== "");
  const query = new URLSearchParams(pairs.map(([key, value]) => [key, String(value)]));
  return `/api/v1/${path}${pairs.length ? `?${query}` : ""}`;
}

/** Parameters of a selection: the API takes Unix seconds. */
export function selectionParams({ query, from, until, low, high }: Selection): Params {
  const span = { query, from: (from / 1000).toFixed(3), until: (until / 1000).toFixed(3) };
  return low === undefined || (low === 0 && high === 1000) ? span : { ...span, offset_from_ms: low, offset_until_ms: high };
}

async function get<T>(path: string, params: Params, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(apiUrl(path, params), { signal: signal ?? null, headers: { accept: "application/json" } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The server does not answer", 0, "");
  }
  const text = await response.text();
  if (!response.ok) throw refused(response.status, text);
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

export const fetchTimeline = (at: Selection, by: string, step: number, top?: number, signal?: AbortSignal) =>
  get<Timeline>("timeline", { ...selectionParams(at), by, step_ms: step, top }, signal);

export const fetchFlame = (at: Selection, by: string, nodes?: number, signal?: AbortSignal) =>
  get<Flame>("flame", { ...selectionParams(at), by, max_nodes: nodes }, signal);

export const fetchTruth = (at: Selection, signal?: AbortSignal) => get<Truth>("truth", selectionParams(at), signal);

export const fetchValues = (label: string, at: Selection, signal?: AbortSignal) =>
  get<LabelValues>(`labels/${encodeURIComponent(label)}/values`, selectionParams(at), signal);

/** Runs one request at a time: a new one cancels the one before, whose result is then undefined. */
export class Latest {
  #controller: AbortController | undefined;

  get busy(): boolean {
    return this.#controller !== undefined;
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
