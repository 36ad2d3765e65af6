/** All that can be done with a frame: opened by a right click, a long press, or a key. */

import { For, type JSX, Show, createEffect, onCleanup } from "solid-js";
import { frameLabel } from "../flame/names";
import { frameOf } from "../flame/tree";
import { cores, share } from "../format/number";
import type { Explore } from "../state/explore";

/** A line of the menu; null for a rule between lines. */
type Item = { name: string; key?: string; run: () => void } | null;

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
      {(at) => <OpenMenu explore={explore} node={at.node} x={at.x} y={at.y} />}
    </Show>
  );
}

function OpenMenu(props: { explore: Explore; node: number; x: number; y: number }): JSX.Element {
  const { explore, node } = props;
  let panel!: HTMLDivElement;
  const before = document.activeElement;
  const items = frameActions(explore, node);
  const tree = explore.graph()?.tree;
  const title = () => {
    if (!tree || node >= tree.count) return "";
    const total = tree.total[node] as number;
    const all = tree.total[0] as number;
    return `${frameLabel(frameOf(tree, node), "All")}, ${share(total / (all || 1))} of ${cores(explore.coresOf(all))} cores`;
  };
  const close = () => {
    explore.setMenu(undefined);
    if (before instanceof HTMLElement) before.focus();
  };
  const buttons = () => [...panel.querySelectorAll<HTMLElement>("button")];
  createEffect(() => {
    const { width, height } = panel.getBoundingClientRect();
    panel.style.left = `${Math.max(8, Math.min(props.x, innerWidth - width - 8))}px`;
    panel.style.top = `${Math.max(8, Math.min(props.y, innerHeight - height - 8))}px`;
    buttons()[0]?.focus();
    const outside = (event: Event) => {
      if (!panel.contains(event.target as Node)) explore.setMenu(undefined);
    };
    document.addEventListener("pointerdown", outside);
    onCleanup(() => document.removeEventListener("pointerdown", outside));
  });
  const onKey = (event: KeyboardEvent) => {
    const all = buttons();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + all.length, Home: 0, End: all.length - 1 }[event.key];
    if (to !== undefined) all[to % all.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else {
      // The keys of its lines work while it is open, too.
      const pressed = `${event.shiftKey ? "Shift " : ""}${event.key.toUpperCase()}`;
      const item = items.find((line) => line?.key === pressed);
      if (!item) return;
      close();
      item.run();
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div ref={panel} class="panel framemenu" role="menu" aria-label={title()} onKeyDown={onKey} onContextMenu={(event) => event.preventDefault()}>
      <p class="caption" aria-hidden="true">{title()}</p>
      <For each={items}>
        {(item) => (
          <Show when={item} fallback={<hr />}>
            {(line) => (
              <button
                type="button" class="item" role="menuitem"
                onClick={() => {
                  close();
                  line().run();
                }}
              >
                {line().name}
                <Show when={line().key}>{(key) => <kbd>{key()}</kbd>}</Show>
              </button>
            )}
          </Show>
        )}
      </For>
    </div>
  );
}
