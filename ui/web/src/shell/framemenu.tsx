/** All that can be done with a frame: opened by a right click, a long press, or a key. */

import { type JSX, Show } from "solid-js";
import { frameLabel } from "../flame/names";
import { frameOf } from "../flame/tree";
import { cores, share } from "../format/number";
import type { Explore } from "../state/explore";
import { ContextMenu, type Item } from "./contextmenu";

/** What can be done with a node of the tree in view. */
export function frameActions(explore: Explore, node: number): Item[] {
  const { transforms } = explore;
  const tree = explore.graph()?.tree;
  if (!tree || node >= tree.count) return [];
  const frame = frameOf(tree, node);
  const { by } = explore.view();
  const show = (tab: "sandwich" | "source") => {
    explore.select(node);
    explore.update({ tab });
  };
  if (frame.kind === "root") {
    return [
      { name: "Invert", key: "I", run: () => transforms.act("invert", 0) },
      { name: "Merge all by name", key: "M", run: () => transforms.act("merge", 0) },
    ];
  }
  const copy: Item = { name: "Copy name", run: () => void navigator.clipboard?.writeText(frame.name).catch(() => {}) };
  if (frame.kind === "group") {
    return [
      { name: `Only this ${by}`, run: () => explore.toggleFilter(by, frame.name) },
      { name: "Focus", key: "F", run: () => transforms.act("focus", node) },
      { name: "Drop its stacks", key: "D", run: () => transforms.act("drop", node) },
      { name: "Invert from here", key: "I", run: () => transforms.act("invert", node) },
      null, copy,
    ];
  }
  return [
    { name: "Focus on this frame", key: "F", run: () => transforms.act("focus", node) },
    { name: "Focus on this function", key: "Shift F", run: () => transforms.act("focus", node, true) },
    { name: "Hide", key: "H", run: () => transforms.act("hide", node) },
    { name: "Collapse recursion", key: "R", run: () => transforms.act("collapse", node) },
    { name: "Merge by name", key: "M", run: () => transforms.act("merge", node) },
    { name: "Drop its stacks", key: "D", run: () => transforms.act("drop", node) },
    { name: "Invert from here", key: "I", run: () => transforms.act("invert", node) },
    null,
    { name: "Callers and callees", key: "W", run: () => show("sandwich") },
    { name: "Source", key: "S", run: () => show("source") },
    copy,
  ];
}

export function FrameMenu(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  return (
    <Show when={explore.menu()} keyed>
      {(at) => (
        <ContextMenu x={at.x} y={at.y} title={titleOf(explore, at.node)} items={frameActions(explore, at.node)} close={() => explore.setMenu(undefined)} />
      )}
    </Show>
  );
}

function titleOf(explore: Explore, node: number): string {
  const tree = explore.graph()?.tree;
  if (!tree || node >= tree.count) return "";
  const total = tree.total[node] as number;
  const all = tree.total[0] as number;
  return `${frameLabel(frameOf(tree, node), "All")}, ${share(total / (all || 1))} of ${cores(explore.coresOf(all))} cores`;
}
