/** The stack tree of the baseline, read when somebody first points at a frame: what the frame was before. */

import { createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { Latest, fetchFlameBytes } from "../api/client";
import { applyTransforms } from "../flame/apply";
import { readAnswer } from "../flame/columns";
import type { FlameTree } from "../flame/tree";
import type { Explore } from "./explore";
import type { History } from "./history";

/** A frame in the baseline. */
export interface Before {
  total: number;
  self: number;
  cores: number;
  /** Of all samples of the baseline, 0…1. */
  share: number;
}

interface Known {
  tree: FlameTree;
  byPath: Map<number, number>;
  /** Cores that one sample stands for. */
  each: number;
}

/** `find` tells of a path hash; undefined until the baseline is known, or where there is none. */
export function createBefore(explore: Explore, history: History) {
  const [wanted, setWanted] = createSignal(false);
  const [known, setKnown] = createSignal<Known>();
  const requests = new Latest();
  const key = createMemo(() => {
    const baseline = history.headline()?.baseline;
    const { query, by, transforms, heatMap } = explore.view();
    // A live range moves on, and its baseline with it; a part of each second has none.
    if (!wanted() || explore.live() || !baseline || typeof heatMap === "object") return undefined;
    return JSON.stringify([query, by, transforms, baseline]);
  });
  createEffect(on(key, (now) => {
    requests.cancel();
    setKnown(undefined);
    const baseline = history.headline()?.baseline;
    if (now === undefined || !baseline) return;
    const { query, by, transforms } = explore.view();
    const load = async (signal: AbortSignal): Promise<Known> => {
      const { from_ms: from, until_ms: until, watched_ms } = baseline;
      const answer = readAnswer(await fetchFlameBytes({ query, from, until }, by, undefined, signal));
      const { tree } = applyTransforms(answer.tree, transforms);
      const byPath = new Map<number, number>();
      tree.path.forEach((path, node) => byPath.set(path, node));
      return { tree, byPath, each: answer.facts.period_ns / (watched_ms * 1e6) };
    };
    // The card has what is now, and is of use without it.
    requests.run(load).then((found) => found && setKnown(found), () => {});
  }));
  onCleanup(() => requests.cancel());
  return {
    want: () => setWanted(true),
    find(path: number): Before | undefined {
      const found = known();
      if (!found) return undefined;
      const node = found.byPath.get(path);
      const total = node === undefined ? 0 : (found.tree.total[node] as number);
      const self = node === undefined ? 0 : (found.tree.self[node] as number);
      return { total, self, cores: total * found.each, share: total / ((found.tree.total[0] as number) || 1) };
    },
  };
}
