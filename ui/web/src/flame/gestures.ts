/** What a pointer does to a flame graph: drag, wheel, pinch, long press. */

import { onCleanup, onMount } from "solid-js";

/** What gestures do; places are in the window. */
export interface Gestures {
  /** Moves by pixels of the pointer. */
  pan(dx: number, dy: number): void;
  /** Zooms around a place; below 1: closer. */
  zoom(x: number, factor: number): void;
  /** Scrolls by pixels, down is positive. */
  scroll(dy: number): void;
  /** A long press or a right click. */
  menu(x: number, y: number): void;
  /** The pointer moved without a button. */
  hover(x: number, y: number): void;
  leave(): void;
}

/** A press that moves this far is a drag, in CSS pixels. */
const SLACK = 4;
const LONG_PRESS_MS = 500;
const LINE = 20;

/** Whether a click that follows is the end of another gesture. */
export type Swallow = () => boolean;

/** Listens on a canvas for as long as its owner lives; the page scrolls where it lets `touch` pan vertically. */
export function createGestures(element: () => HTMLElement, on: Gestures): Swallow {
  const down = new Map<number, { x: number; y: number }>();
  let moved = false;
  let press: ReturnType<typeof setTimeout> | undefined;
  let swallow = false;

  const start = (event: PointerEvent) => {
    if (event.button !== 0) return;
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    moved = false;
    swallow = false;
    clearTimeout(press);
    if (event.pointerType === "touch" && down.size === 1) {
      const { clientX, clientY } = event;
      press = setTimeout(() => {
        swallow = true;
        on.menu(clientX, clientY);
      }, LONG_PRESS_MS);
    }
  };
  const move = (event: PointerEvent) => {
    const last = down.get(event.pointerId);
    if (!last) {
      on.hover(event.clientX, event.clientY);
      return;
    }
    const dx = event.clientX - last.x;
    const dy = event.clientY - last.y;
    if (!moved && Math.hypot(dx, dy) < SLACK) return;
    if (!moved) element().setPointerCapture(event.pointerId);
    moved = true;
    swallow = true;
    clearTimeout(press);
    down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (!other) {
      // A finger scrolls the page up and down by itself.
      on.pan(dx, event.pointerType === "touch" ? 0 : dy);
      return;
    }
    const before = Math.hypot(last.x - other.x, last.y - other.y);
    const now = Math.hypot(event.clientX - other.x, event.clientY - other.y);
    if (before > 0 && now > 0) on.zoom((event.clientX + other.x) / 2, before / now);
  };
  const end = (event: PointerEvent) => {
    down.delete(event.pointerId);
    clearTimeout(press);
  };
  const wheel = (event: WheelEvent) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? LINE : 1;
    // A pinch on a touchpad comes as a wheel with Ctrl, in smaller steps.
    if (event.ctrlKey) on.zoom(event.clientX, Math.exp(Math.max(-60, Math.min(60, event.deltaY * lines)) * 0.006));
    else if (event.shiftKey) on.pan(-(event.deltaX || event.deltaY) * lines, 0);
    else {
      if (event.deltaX) on.pan(-event.deltaX * lines, 0);
      on.scroll(event.deltaY * lines);
    }
    on.hover(event.clientX, event.clientY);
  };
  const menu = (event: MouseEvent) => {
    event.preventDefault();
    // The key for it comes without a place; a long press has opened it already.
    if (!swallow && event.button === 2) on.menu(event.clientX, event.clientY);
  };
  onMount(() => {
    const target = element();
    const listen = (add: boolean) => {
      const change = (add ? target.addEventListener : target.removeEventListener).bind(target) as HTMLElement["addEventListener"];
      change("pointerdown", start);
      change("pointermove", move);
      change("pointerup", end);
      change("pointercancel", end);
      change("pointerleave", on.leave);
      change("wheel", wheel, { passive: false });
      change("contextmenu", menu);
    };
    listen(true);
    onCleanup(() => {
      listen(false);
      clearTimeout(press);
    });
  });
  return () => {
    const was = swallow;
    swallow = false;
    return was;
  };
}
