/** The flame graph: one canvas, moved by pointer and keys. */

import { type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup, untrack } from "solid-js";
import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import { createBefore } from "../state/before";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { ThemeState } from "../state/theme";
import { createCrossFade } from "./crossfade";
import { FillCache, drawFlame } from "./draw";
import { Outlines, outlineOf } from "./outlines";
import { createGestures } from "./gestures";
import {
  type View, type Viewport, between, contentHeight, emptyRects, fromParts, hit, panned, rowHeight, scaleOf, toParts, viewOf,
  visibleRects, zoomedAt,
} from "./layout";
import { frameLabel } from "./names";
import { createContrast, createFonts } from "./surroundings";
import { type FlameTree, childrenOf, frameOf } from "./tree";
import { FrameCard, NearTree, spoken } from "./words";

const ZOOM_MS = 180;
/** A view that was moved by hand goes into the URL when it has rested this long. */
const REST_MS = 250;
/** The card comes when the pointer has rested this long, so that it does not flicker over what is only crossed. */
const CARD_MS = 60;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** The text on the root. */
export function rootLabelOf(explore: Explore): string {
  const by = explore.view().by;
  return `${explore.status()?.host ?? "all"}, all ${by === "process" ? "processes" : `by ${by}`}`;
}

export function FlameGraph(props: { explore: Explore; history: History; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const before = createBefore(explore, props.history);
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const [view, setView] = createSignal<View>({ x0: 0, x1: 1 });
  const [frames, setFrames] = createSignal(0);
  const fonts = createFonts();
  const contrast = createContrast();
  const rects = emptyRects();
  const fills = new FillCache();
  const colors = createMemo(() => ownPalette(props.theme.dark(), contrast() === "forced", explore.ranked()));
  const toneOf = () => tokens(props.theme.dark(), contrast() === "forced");
  const tree = createMemo(() => explore.graph()?.tree);
  const rootLabel = createMemo(() => rootLabelOf(explore));
  const coloring = createMemo(() => explore.view().coloring);

  const row = createMemo(() => rowHeight(explore.view().compact));
  const port = (): Viewport => {
    const { width, height } = size();
    const narrow = width < 720;
    return {
      width, height, padLeft: narrow ? 14 : 16, padRight: narrow ? 14 : 12, padTop: 8, rowHeight: row(),
      scroll: scroll(), orientation: explore.view().orientation,
    };
  };
  const scrollTo = (to: number) => {
    const most = Math.max(0, contentHeight(tree()?.rows.length ?? 0, port()) - size().height);
    setScroll(Math.min(most, Math.max(0, to)));
  };
  /** Scrolls a node's row into sight. */
  const reveal = (node: number) => {
    const depth = tree()?.depth[node] ?? 0;
    const top = depth * row();
    if (top < scroll()) scrollTo(top);
    else if (top + row() * 2 > scroll() + size().height) scrollTo(top + row() * 2 - size().height);
  };

  const paint = createPainter(() => {
    const shown = tree();
    const context = prepared(canvas, size());
    if (!context) return;
    if (!shown) return context.clearRect(0, 0, size().width, size().height);
    performance.mark("vesta-draw-start");
    visibleRects(shown, view(), port(), rects);
    drawFlame(context, {
      tree: shown, rects, view: view(), port: port(), palette: colors(), tokens: toneOf(), ratio: size().ratio,
      coloring: coloring(), contrast: contrast() !== "normal", rootLabel: rootLabel(), matches: explore.marked()?.frames,
      zoomed: explore.zoomNode(),
    }, fills);
    performance.measure("vesta-draw", "vesta-draw-start");
    performance.clearMarks("vesta-draw-start");
    setFrames(rects.count);
  });
  const orientation = createMemo(() => explore.view().orientation);
  createEffect(
    on([tree, view, size, scroll, fonts, colors, rootLabel, explore.marked, explore.zoomNode, orientation, coloring, contrast, row], paint),
  );
  // The pointer moves often, and needs no new picture of all frames.
  const outline = (node: number) => {
    const shown = tree();
    return shown && outlineOf(shown, view(), port(), node);
  };

  let faded: string | undefined;
  const { keep, letGo } = followView(explore, tree, view, setView);
  const zoom = (node: number) => {
    letGo();
    explore.zoom(node);
  };
  const fade = createCrossFade(() => canvas);
  /** What the graph is of; a finer tree of the same, or one after a transform, is no other graph. */
  const subject = () => {
    const answer = explore.graph()?.answer;
    return answer && [answer.from_ms, answer.until_ms, explore.view().query, explore.view().by].join(" ");
  };
  createEffect(
    on(tree, (_, before) => {
      const now = untrack(subject);
      if (before && now !== faded && !untrack(explore.live) && !untrack(explore.draft) && !calm.matches) fade();
      faded = now;
      // Node numbers belong to a tree: ask again what is under the pointer.
      const at = untrack(pointer);
      setHovered(-1);
      if (at) hoverAt(at.x, at.y);
      scrollTo(untrack(scroll));
    }),
  );
  createEffect(on([explore.zoomNode, explore.selectedNode, size], () => reveal(explore.selectedNode()), { defer: true }));

  const nodeAt = (clientX: number, clientY: number) => {
    const box = canvas.getBoundingClientRect();
    const shown = tree();
    return shown ? hit(shown, view(), port(), clientX - box.left, clientY - box.top) : -1;
  };
  const hoverAt = (x: number, y: number) => {
    before.want();
    setPointer({ x, y });
    setHovered(nodeAt(x, y));
  };
  const leave = () => {
    setPointer(undefined);
    setHovered(-1);
  };
  const move = (to: (whole: View, scale: number) => View) => {
    const shown = tree();
    if (shown) keep(to(viewOf(shown, 0), scaleOf(view(), port())));
  };
  const openMenu = (node: number, x: number, y: number) => {
    if (node < 0) return;
    explore.select(node);
    explore.setMenu({ node, x, y });
  };
  const down = () => (explore.view().orientation === "icicle" ? 1 : -1);
  const swallowed = createGestures(() => canvas, {
    pan(dx, dy) {
      if (dx) move((whole, scale) => panned(view(), whole, -dx / scale));
      if (dy) scrollTo(scroll() - dy * down());
      setHovered(-1);
    },
    zoom(x, factor) {
      const left = x - canvas.getBoundingClientRect().left - port().padLeft;
      move((whole, scale) => zoomedAt(view(), whole, view().x0 + left / scale, factor));
    },
    scroll: (dy) => scrollTo(scroll() + dy * down()),
    menu: (x, y) => openMenu(nodeAt(x, y), x, y),
    hover: hoverAt,
    leave,
  });
  const onClick = (event: MouseEvent) => {
    if (swallowed()) return;
    const node = nodeAt(event.clientX, event.clientY);
    if (node >= 0) zoom(node === explore.zoomNode() ? 0 : node);
  };
  const onKey = (event: KeyboardEvent) => {
    const shown = tree();
    if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const node = explore.selectedNode();
    const to = keyTarget(shown, node, event.key, explore.view().orientation === "flame");
    if (event.shiftKey && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      const by = (view().x1 - view().x0) * (event.key === "ArrowLeft" ? -0.1 : 0.1);
      move((whole) => panned(view(), whole, by));
    } else if (to !== undefined) explore.select(to);
    else if (event.key === "Enter") zoom(node);
    else if (event.key === "Escape" && (explore.view().zoom || view().x1 - view().x0 < (shown.total[0] as number))) zoom(0);
    else if (event.key === "+") move((whole) => zoomedAt(view(), whole, middleOf(shown, node, view()), 1 / 1.5));
    else if (event.key === "_") move((whole) => zoomedAt(view(), whole, middleOf(shown, node, view()), 1.5));
    else if (event.key === "PageDown" || event.key === "PageUp") scrollTo(scroll() + size().height * (event.key === "PageDown" ? 0.8 : -0.8));
    else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      const box = canvas.getBoundingClientRect();
      openMenu(node, box.left + 40, box.top + ((shown.depth[node] as number) + 2) * row() - scroll());
    } else return;
    event.preventDefault();
  };

  const nameOf = (node: number) => {
    const shown = tree();
    return shown && node >= 0 && node < shown.count ? frameLabel(frameOf(shown, node), rootLabel()) : undefined;
  };
  const card = createRested(() => (hovered() >= 0 && hovered() < (tree()?.count ?? 0) ? pointer() : undefined), CARD_MS);
  return (
    <div class="flame" ref={host} id="graph" style={{ "--content": `${(tree()?.rows.length ?? 0) * row() + 16}px` }}>
      <canvas
        ref={canvas} tabindex="0" role="application" aria-label="Flame graph" aria-describedby="focused-frame"
        data-frames={frames()} data-nodes={tree()?.count ?? 0} data-hover={nameOf(hovered())}
        data-focus={nameOf(explore.selectedNode())} data-zoom={nameOf(explore.zoomNode())}
        data-view={[view().x0, view().x1].join(" ")} data-scroll={scroll()}
        onClick={onClick} onKeyDown={onKey} onDblClick={() => zoom(0)}
      />
      <Outlines selected={explore.view().selected ? outline(explore.selectedNode()) : undefined} hovered={outline(hovered())} />
      <p id="focused-frame" class="unseen" aria-live={explore.live() ? "off" : "polite"}>
        <Show when={tree()}>{(shown) => <>{spoken(explore, shown(), explore.selectedNode(), rootLabel())}</>}</Show>
      </p>
      <Show when={tree()}>{(shown) => <NearTree tree={shown()} node={explore.selectedNode()} rootLabel={rootLabel()} />}</Show>
      <Show when={card()}>
        {(at) => (
          <HoverCard x={at().x} y={at().y}>
            <FrameCard explore={explore} tree={tree()!} node={Math.max(0, hovered())} rootLabel={rootLabel()} before={before.find(tree()!.path[Math.max(0, hovered())] as number)} />
          </HoverCard>
        )}
      </Show>
    </div>
  );
}

/** A node's middle, where that is in view; else the view's. */
function middleOf(tree: FlameTree, node: number, { x0, x1 }: View): number {
  const middle = (tree.start[node] as number) + (tree.total[node] as number) / 2;
  return node > 0 && middle > x0 && middle < x1 ? middle : (x0 + x1) / 2;
}

/** A value that comes late, and goes at once. */
function createRested<T>(value: () => T | undefined, ms: number): () => T | undefined {
  const [there, setThere] = createSignal(false);
  let timer: ReturnType<typeof setTimeout> | undefined;
  onCleanup(() => clearTimeout(timer));
  createEffect(
    on(() => value() !== undefined, (wanted) => {
      clearTimeout(timer);
      if (wanted) timer = setTimeout(() => setThere(true), ms);
      else setThere(false);
    }),
  );
  return () => (there() ? value() : undefined);
}

/**
 * Moves the view to the zoomed node, or where the URL has it: at once for a new tree, else on a short way. `keep` moves it
 * by hand, `letGo` gives it back.
 */
function followView(
  explore: Explore, tree: () => FlameTree | undefined, view: () => View, setView: (view: View) => void,
): { keep: (to: View) => void; letGo: () => void } {
  const [released, setReleased] = createSignal(0);
  let shown: FlameTree | undefined;
  let frame = 0;
  /** Set while a view that was moved by hand is not in the URL yet. */
  let rest: ReturnType<typeof setTimeout> | undefined;
  const stopResting = () => {
    clearTimeout(rest);
    rest = undefined;
  };
  onCleanup(() => {
    cancelAnimationFrame(frame);
    stopResting();
  });
  const pan = createMemo(() => explore.view().pan);
  createEffect(() => {
    released();
    const next = tree();
    if (!next) return;
    // A finer tree comes while the hand is still at work.
    const held = rest !== undefined && shown && next !== shown ? toParts(untrack(view), viewOf(shown, 0)) : undefined;
    const by = held ?? pan();
    const to = by ? fromParts(by, viewOf(next, 0)) : viewOf(next, explore.zoomNode());
    cancelAnimationFrame(frame);
    if (next !== shown || by || calm.matches) {
      shown = next;
      setView(to);
      return;
    }
    const from = untrack(view);
    const start = performance.now();
    const step = (time: number) => {
      const t = Math.min(1, Math.max(0, (time - start) / ZOOM_MS));
      setView(between(from, to, t));
      if (t < 1) frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  });
  const keep = (to: View) => {
    const whole = viewOf(shown ?? (tree() as FlameTree), 0);
    cancelAnimationFrame(frame);
    setView(to);
    stopResting();
    rest = setTimeout(() => {
      rest = undefined;
      explore.pause();
      const parts = toParts(view(), whole);
      explore.update({ pan: parts.x1 - parts.x0 < 1 ? parts : null }, true);
    }, REST_MS);
  };
  const letGo = () => {
    stopResting();
    setReleased((n) => n + 1);
  };
  return { keep, letGo };
}

/** The node an arrow key leads to. */
function keyTarget(tree: FlameTree, node: number, key: string, flipped: boolean): number | undefined {
  const parent = tree.parent[node] as number;
  const siblings = parent >= 0 ? childrenOf(tree, parent) : [0];
  const at = siblings.indexOf(node);
  const deeper = flipped ? "ArrowUp" : "ArrowDown";
  const outer = flipped ? "ArrowDown" : "ArrowUp";
  if (key === deeper) return childrenOf(tree, node)[0] ?? node;
  if (key === outer) return Math.max(0, parent);
  if (key === "ArrowLeft") return siblings[Math.max(0, at - 1)];
  if (key === "ArrowRight") return siblings[Math.min(siblings.length - 1, at + 1)];
  return key === "Home" ? 0 : undefined;
}
