/** A menu at the pointer: opened by a right click, a long press, or a key. */

import { For, type JSX, Show, createEffect, onCleanup } from "solid-js";

/** A line of a menu; null for a rule between lines. */
export type Item = { name: string; key?: string; run: () => void } | null;

interface ContextMenuProps {
  /** Where it stands in the window. */
  x: number;
  y: number;
  /** What its lines are about. */
  title: string;
  items: readonly Item[];
  close: () => void;
}

export function ContextMenu(props: ContextMenuProps): JSX.Element {
  let panel!: HTMLDivElement;
  const before = document.activeElement;
  // Once: lines that are made anew would lose the focus.
  const items = props.items;
  const close = () => {
    props.close();
    if (before instanceof HTMLElement) before.focus();
  };
  const buttons = () => [...panel.querySelectorAll<HTMLElement>("button")];
  createEffect(() => {
    const { width, height } = panel.getBoundingClientRect();
    panel.style.left = `${Math.max(8, Math.min(props.x, innerWidth - width - 8))}px`;
    panel.style.top = `${Math.max(8, Math.min(props.y, innerHeight - height - 8))}px`;
    buttons()[0]?.focus();
    const outside = (event: Event) => {
      if (!panel.contains(event.target as Node)) props.close();
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
    <div ref={panel} class="panel framemenu" role="menu" aria-label={props.title} onKeyDown={onKey} onContextMenu={(event) => event.preventDefault()}>
      <p class="caption" aria-hidden="true">{props.title}</p>
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
