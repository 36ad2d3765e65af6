/** Transforms as a user makes them: done to a frame, taken back, done again. */

import { batch, createSignal } from "solid-js";
import { type Operation, type Transform, formatTransforms, pathTarget, sameTransforms, targetOf } from "../flame/transform";
import { type FlameTree, widestOf } from "../flame/tree";
import type { Graph } from "./explore";
import type { ViewState } from "./url";

interface Page {
  view: () => ViewState;
  update: (patch: Partial<ViewState>, replace?: boolean) => void;
  graph: () => Graph | undefined;
  setGraph: (graph: Graph) => void;
}

type Kept = Pick<ViewState, "transforms" | "zoom" | "selected">;

/** Steps that can be taken back. */
const MOST_KEPT = 100;

/** The transform that an operation on a node is; undefined where it means nothing there. `whole`: all frames of its function. */
export function transformOf(tree: FlameTree, operation: Operation, node: number, whole: boolean): Transform | undefined {
  if (node === 0) return operation === "invert" || operation === "merge" ? { operation, target: "" } : undefined;
  const frame = tree.frame[node] as number;
  const byPath = operation === "invert" || (operation === "focus" && !whole && tree.frames.kind(frame) !== "group");
  return { operation, target: byPath ? pathTarget(tree.path[node] as number) : targetOf(tree.frames, frame) };
}

export function createTransforms({ view, update, graph, setGraph }: Page) {
  const [past, setPast] = createSignal<Kept[]>([]);
  const [future, setFuture] = createSignal<Kept[]>([]);
  /** The frame that stays selected when the next tree is there, by its hash. */
  let follow = 0;

  const kept = (): Kept => {
    const { transforms, zoom, selected } = view();
    return { transforms, zoom, selected };
  };
  const set = (transforms: readonly Transform[]) => {
    if (sameTransforms(transforms, view().transforms)) return;
    batch(() => {
      setPast([...past(), kept()].slice(-MOST_KEPT));
      setFuture([]);
      update({ transforms, zoom: 0, pan: null });
    });
  };

  /** Does something to a node of the tree in view. */
  const act = (operation: Operation, node: number, whole = false) => {
    const tree = graph()?.tree;
    const transform = tree && node < tree.count ? transformOf(tree, operation, node, whole) : undefined;
    if (!tree || !transform) return;
    follow = node > 0 ? tree.frames.hash(tree.frame[node] as number) : 0;
    set([...view().transforms, transform]);
  };

  /** Takes one step out of the list. */
  const remove = (index: number) => set(view().transforms.filter((_, i) => i !== index));

  const undo = () => {
    const before = past().at(-1);
    // A page that was opened by a link has no past, but its list has an end.
    if (!before && view().transforms.length === 0) return;
    batch(() => {
      setFuture([...future(), kept()]);
      setPast(past().slice(0, -1));
      update(before ?? { transforms: view().transforms.slice(0, -1), zoom: 0 });
    });
  };
  const redo = () => {
    const next = future().at(-1);
    if (!next) return;
    batch(() => {
      setPast([...past(), kept()]);
      setFuture(future().slice(0, -1));
      update(next);
    });
  };

  /** A new tree: shows it, with the frame selected that was. */
  const arrived = (next: Graph) => {
    batch(() => {
      setGraph(next);
      // What was asked for before the transform may come in between.
      if (!follow || next.steps.length !== view().transforms.length) return;
      const node = widestOf(next.tree, follow);
      follow = 0;
      if (node > 0) update({ selected: next.tree.path[node] as number }, true);
    });
  };
  return {
    act, remove, set, undo, redo, arrived,
    canUndo: () => past().length > 0 || view().transforms.length > 0,
    canRedo: () => future().length > 0,
    /** The list as the URL has it. */
    text: () => formatTransforms(view().transforms),
  };
}
