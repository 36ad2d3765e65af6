/** The keys that work anywhere on the page. */

import { onCleanup, onMount } from "solid-js";
import type { Operation } from "../flame/transform";
import type { Explore } from "../state/explore";
import { TABS } from "../state/url";
import { shifted } from "../timeline/scale";
import { zoomWindow } from "../timeline/view";

/** Every key with what it does, for the key map. */
export const KEY_MAP: [string, [string, string][]][] = [
  ["Look", [["Q", "Selector"], ["/", "Search frames, Enter for the next match"], ["1 – 6", "Flame graph, Top, Sandwich, Tree, Lanes, Source"], ["O", "Root at the top or at the bottom"], ["T", "How true is this view?"], ["Y", "Copy a link to this view"], ["P", "Pins and saved views"], ["G", "When did a function use CPU?"], ["C", "Compare with the baseline, and back"], ["?", "This key map"]]],
  ["Time", [["L", "Follow now, or pause"], [", .", "Shift the range by its length"], ["- =", "Zoom the time line out and in"], ["drag", "Select a range; its edges resize it, its inside moves it"], ["wheel", "Zoom at the pointer"], ["Shift drag", "Pan"], ["E", "Samples by their place in the second: drag selects a rectangle, Shift drag adds one, a right click has more"], ["N, double click", "Annotate"], ["right click", "Copy the time"]]],
  ["Flame graph", [["arrows", "Move to caller, callee and siblings"], ["Enter, click", "Zoom"], ["Esc", "Zoom out"], ["wheel", "Scroll; with Ctrl zoom at the pointer"], ["drag", "Move the zoomed graph"], ["right click, long press", "Everything that can be done with a frame"]]],
  ["The selected frame", [["F", "Focus on it; Shift F on its function wherever it is called"], ["H", "Hide it: what it calls moves to its caller"], ["D", "Drop its stacks"], ["R", "Collapse its recursion"], ["M", "Merge all frames of its name"], ["I", "Invert from here: callers below what they call"], ["Z", "Undo, Shift Z redo"], ["W", "Callers and callees"], ["S", "Source"]]],
];

/** The keys of the selected frame. */
function frameKeys(explore: Explore): Record<string, (shift: boolean) => void> {
  const { transforms } = explore;
  const act = (operation: Operation) => () => transforms.act(operation, explore.selectedNode());
  const keys: Record<string, (shift: boolean) => void> = {
    f: (shift) => transforms.act("focus", explore.selectedNode(), shift),
    h: act("hide"),
    d: act("drop"),
    r: act("collapse"),
    m: act("merge"),
    i: act("invert"),
    z: (shift) => (shift ? transforms.redo() : transforms.undo()),
    w: () => explore.update({ tab: "sandwich" }),
    s: () => explore.update({ tab: "source" }),
  };
  // A comparison has a tree of its own.
  const here = (run: (shift: boolean) => void) => (shift: boolean) => explore.view().page === "explore" && run(shift);
  return Object.fromEntries(Object.entries(keys).map(([key, run]) => [key, here(run)]));
}

/** Listens to keys as long as the page is there. */
export function listenToKeys(explore: Explore, openFunctions: () => void, openHelp: () => void): void {
  const focus = (id: string) => {
    const field = document.getElementById(id);
    if (field instanceof HTMLInputElement) {
      field.focus();
      field.select();
    }
  };
  const shift = (direction: number) => {
    const { from, until } = explore.range();
    const by = Math.min((until - from) * direction, explore.now() - until);
    explore.setRange(shifted({ from, until }, by), null);
  };
  const middle = () => (explore.window().from + explore.window().until) / 2;
  const actions: Record<string, (shift: boolean) => void> = {
    q: () => focus("selector"),
    "/": () => focus("search"),
    ...Object.fromEntries(TABS.map((tab, i) => [i + 1, () => explore.update({ tab })])),
    ...frameKeys(explore),
    o: () => explore.update({ orientation: explore.view().orientation === "icicle" ? "flame" : "icicle" }, true),
    t: () => explore.update({ truth: !explore.view().truth }, true),
    "?": openHelp,
    y: () => void explore.copyLink(),
    g: openFunctions,
    c: () => {
      const back = explore.view().page === "compare";
      explore.update({ page: back ? "explore" : "compare", zoom: 0, selected: 0, search: "", ...(back ? { a: "", b: "" } : {}) });
    },
    e: () => explore.update({ heatMap: explore.view().heatMap === false }),
    n: () => {
      if (!explore.status()?.takes_marks) return;
      const { from, until } = explore.range();
      const data = explore.status()?.data.until_ms ?? until;
      explore.setAnnotating(explore.live() ? Math.min(until, data) : from);
    },
    p: () => document.querySelector<HTMLButtonElement>('[aria-label="Pins and saved views"]')?.click(),
    l: () => (explore.live() ? explore.pause() : explore.goLive()),
    ",": () => shift(-1),
    ".": () => shift(1),
    "-": () => zoomWindow(explore, middle(), 1.5),
    "=": () => zoomWindow(explore, middle(), 1 / 1.5),
    "+": () => zoomWindow(explore, middle(), 1 / 1.5),
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target instanceof HTMLInputElement || document.querySelector("dialog[open]")) return;
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action(event.shiftKey);
  };
  onMount(() => addEventListener("keydown", onKey));
  onCleanup(() => removeEventListener("keydown", onKey));
}
