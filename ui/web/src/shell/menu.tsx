/** A button that opens a panel under itself. */

import { type JSX, Show, createEffect, createSignal, onCleanup } from "solid-js";

export interface MenuProps {
  /** What the button shows. */
  trigger: JSX.Element;
  label: string;
  class?: string;
  /** On which side of the button the panel is aligned. */
  align?: "left" | "right";
  /** Builds the panel; `close` shuts it. */
  children: (close: () => void) => JSX.Element;
}

/** The menu; arrow keys walk through what the panel holds, Escape closes it. */
export function Menu(props: MenuProps): JSX.Element {
  const [open, setOpen] = createSignal(false);
  let host!: HTMLDivElement;
  let button!: HTMLButtonElement;
  const close = () => {
    setOpen(false);
    button.focus();
  };
  const items = () => [...host.querySelectorAll<HTMLElement>(".panel :is(button, a, input)")];

  createEffect(() => {
    if (!open()) return;
    const outside = (event: Event) => {
      if (!host.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("focusin", outside);
    onCleanup(() => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("focusin", outside);
    });
    items()[0]?.focus();
  });

  const onKey = (event: KeyboardEvent) => {
    if (!open()) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    }
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (!step) return;
    const all = items();
    const at = all.indexOf(document.activeElement as HTMLElement);
    all[(at + step + all.length) % all.length]?.focus();
    event.preventDefault();
  };

  return (
    <div class="menu" ref={host} onKeyDown={onKey}>
      <button
        ref={button} type="button" class={props.class ?? "button"} aria-label={props.label} title={props.label}
        aria-haspopup="true" aria-expanded={open()} onClick={() => setOpen(!open())}
      >
        {props.trigger}
      </button>
      <Show when={open()}>
        <div class="panel" classList={{ right: props.align === "right" }} role="group" aria-label={props.label}>
          {props.children(close)}
        </div>
      </Show>
    </div>
  );
}
