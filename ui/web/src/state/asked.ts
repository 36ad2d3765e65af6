/** An answer that only one view needs: asked for while that is open, and again when its question or the graph changes. */

import { type Accessor, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { ApiError, Latest } from "../api/client";
import type { Explore } from "./explore";

export interface Asked<T> {
  answer: Accessor<T | undefined>;
  error: Accessor<string>;
}

/** A question, with what tells it from another; undefined where there is nothing to ask. */
export interface Question<T> {
  key: string;
  ask: (signal: AbortSignal) => Promise<T>;
}

/** Asks; the last answer stays until the next is there, but not when it is of another `key`. */
export function createAsked<T>(explore: Explore, question: () => Question<T> | undefined): Asked<T> {
  const latest = new Latest();
  const [answer, setAnswer] = createSignal<T>();
  const [error, setError] = createSignal("");
  let shown = "";
  const run = async () => {
    const wanted = question();
    if (!wanted) {
      setAnswer(undefined);
      return;
    }
    if (wanted.key !== shown) setAnswer(undefined);
    shown = wanted.key;
    try {
      const found = await latest.run(wanted.ask);
      if (found === undefined || wanted.key !== shown) return;
      setAnswer(() => found);
      setError("");
    } catch (reason) {
      setError(reason instanceof ApiError ? [reason.message, reason.detail].filter(Boolean).join(": ") : String(reason));
    }
  };
  // A new graph means new data, or another range or selector; while a range is being drawn there is one after the other, until the last.
  const key = createMemo(() => question()?.key);
  createEffect(on([key, explore.graph], () => void (explore.draft() || run())));
  // What is under way is of no use when the view is closed.
  onCleanup(() => void latest.run(async () => undefined));
  return { answer, error };
}
