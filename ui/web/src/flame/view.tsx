/** The flame graph: one canvas, moved by pointer and keys. */

import { type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup, onMount, untrack } from "solid-js";
import { palette } from "../color/bands";
import { tokens } from "../color/tokens";
import { cores, share, spokenShare } from "../format/number";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { FillCache, drawFlame, drawOutlines } from "./draw";
import { type View, type Viewport, between, contentHeight, emptyRects, hit, viewOf, visibleRects } from "./layout";
import { baseName, frameLabel, kindName, sourceOf } from "./names";
import { forgetWidths } from "./text";
import { type FlameTree, childrenOf, frameOf } from "./tree";

const ZOOM_MS = 180;
const ROW = 20;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function FlameGraph(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  let overlay!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const [view, setView] = createSignal<View>({ x0: 0, x1: 1 });
  const [frames, setFrames] = createSignal(0);
  const [fonts, setFonts] = createSignal(0);
  const rects = emptyRects();
  const fills = new FillCache();
  const colors = createMemo(() => palette(props.theme.dark()));
  const tree = () => explore.graph()?.tree;
  const rootLabel = () => {
    const by = explore.view().by;
    return `${explore.status()?.host ?? "all"}, all ${by === "process" ? "processes" : `by ${by}`}`;
  };

  const port = (): Viewport => {
    const { width, height } = size();
    const narrow = width < 720;
    return {
      width, height, padLeft: narrow ? 14 : 16, padRight: narrow ? 14 : 12, padTop: 8, rowHeight: ROW,
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
    const top = depth * ROW;
    if (top < scroll()) scrollTo(top);
    else if (top + ROW * 2 > scroll() + size().height) scrollTo(top + ROW * 2 - size().height);
  };

  const paint = createPainter(() => {
    const shown = tree();
    const context = prepared(canvas, size());
    if (!context) return;
    if (!shown) return context.clearRect(0, 0, size().width, size().height);
    visibleRects(shown, view(), port(), rects);
    drawFlame(context, {
      tree: shown, rects, view: view(), port: port(), palette: colors(), tokens: tokens(props.theme.dark()),
      ratio: size().ratio, rootLabel: rootLabel(), matches: explore.marked()?.frames, zoomed: explore.zoomNode(),
    }, fills);
    setFrames(rects.count);
  });
  const orientation = createMemo(() => explore.view().orientation);
  createEffect(
    on([tree, view, size, scroll, fonts, colors, rootLabel, explore.marked, explore.zoomNode, orientation], paint),
  );
  // The pointer moves often, and needs no new picture of all frames.
  const paintOverlay = createPainter(() => {
    const shown = tree();
    const context = prepared(overlay, size());
    if (!context || !shown) return;
    drawOutlines(context, { tree: shown, view: view(), port: port(), tokens: tokens(props.theme.dark()) },
      explore.view().selected ? explore.selectedNode() : -1, hovered());
  });
  createEffect(on([tree, view, size, scroll, hovered, colors, explore.selectedNode, orientation], paintOverlay));
  onMount(() => {
    // Widths measured with the stand-in font are wrong once ours has arrived.
    void Promise.all(["450 12px Inter", "600 12px Inter", "italic 450 12px Inter"].map((font) => document.fonts.load(font)))
      .then(() => {
        forgetWidths();
        setFonts((n) => n + 1);
      });
  });

  followZoom(explore, tree, view, setView);
  createEffect(
    on(tree, () => {
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
    setPointer({ x, y });
    setHovered(nodeAt(x, y));
  };
  const onWheel = (event: WheelEvent) => {
    if (event.ctrlKey) return;
    event.preventDefault();
    const down = explore.view().orientation === "icicle" ? 1 : -1;
    scrollTo(scroll() + event.deltaY * down * (event.deltaMode === 1 ? ROW : 1));
    hoverAt(event.clientX, event.clientY);
  };
  onMount(() => {
    canvas.addEventListener("wheel", onWheel, { passive: false });
    onCleanup(() => canvas.removeEventListener("wheel", onWheel));
  });
  const onClick = (event: MouseEvent) => {
    const node = nodeAt(event.clientX, event.clientY);
    if (node >= 0) explore.zoom(node === explore.zoomNode() ? 0 : node);
  };
  const onKey = (event: KeyboardEvent) => {
    const shown = tree();
    if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = keyTarget(shown, explore.selectedNode(), event.key, explore.view().orientation === "flame");
    if (to !== undefined) explore.select(to);
    else if (event.key === "Enter") explore.zoom(explore.selectedNode());
    else if (event.key === "Escape" && explore.view().zoom) explore.zoom(0);
    else return;
    event.preventDefault();
  };

  const nameOf = (node: number) => {
    const shown = tree();
    return shown && node >= 0 && node < shown.count ? frameLabel(frameOf(shown, node), rootLabel()) : undefined;
  };
  return (
    <div class="flame" ref={host} id="graph" style={{ "--content": `${(tree()?.rows.length ?? 0) * ROW + 16}px` }}>
      <canvas
        ref={canvas} tabindex="0" role="application" aria-label="Flame graph" aria-describedby="focused-frame"
        data-frames={frames()} data-nodes={tree()?.count ?? 0} data-hover={nameOf(hovered())}
        data-focus={nameOf(explore.selectedNode())} data-zoom={nameOf(explore.zoomNode())}
        onPointerMove={(event) => hoverAt(event.clientX, event.clientY)}
        onPointerLeave={() => {
          setPointer(undefined);
          setHovered(-1);
        }}
        onClick={onClick} onKeyDown={onKey}
      />
      <canvas ref={overlay} class="overlay" aria-hidden="true" />
      <p id="focused-frame" class="unseen" aria-live={explore.live() ? "off" : "polite"}>
        <Show when={tree()}>{(shown) => <>{spoken(explore, shown(), explore.selectedNode(), rootLabel())}</>}</Show>
      </p>
      <Show when={tree() && hovered() >= 0 && hovered() < tree()!.count && pointer()}>
        {(at) => (
          <HoverCard x={at().x} y={at().y}>
            <FrameCard explore={explore} tree={tree()!} node={hovered()} rootLabel={rootLabel()} />
          </HoverCard>
        )}
      </Show>
    </div>
  );
}

/** Moves the view to the zoomed node: at once for a new tree, else on a short way. */
function followZoom(explore: Explore, tree: () => FlameTree | undefined, view: () => View, setView: (view: View) => void): void {
  let shown: FlameTree | undefined;
  let frame = 0;
  onCleanup(() => cancelAnimationFrame(frame));
  createEffect(() => {
    const next = tree();
    if (!next) return;
    const to = viewOf(next, explore.zoomNode());
    cancelAnimationFrame(frame);
    if (next !== shown || calm.matches) {
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

/** A frame read aloud. */
function spoken(explore: Explore, tree: FlameTree, node: number, rootLabel: string): string {
  const frame = frameOf(tree, node);
  const total = tree.total[node] as number;
  const parent = tree.parent[node] as number;
  const siblings = parent >= 0 ? childrenOf(tree, parent) : [node];
  return [
    frameLabel(frame, rootLabel), baseName(frame.binary), spokenShare(total / ((tree.total[0] as number) || 1)),
    `${cores(explore.coresOf(total))} cores`,
    parent >= 0 ? `child ${siblings.indexOf(node) + 1} of ${siblings.length}` : "", `depth ${tree.depth[node]}`,
  ].filter(Boolean).join(", ");
}

function FrameCard(props: { explore: Explore; tree: FlameTree; node: number; rootLabel: string }): JSX.Element {
  const frame = () => frameOf(props.tree, props.node);
  const all = () => props.tree.total[0] as number;
  const row = (name: string, samples: number) => (
    <>
      <span class="quiet">{name}</span>
      <span>{cores(props.explore.coresOf(samples))} cores</span>
      <span>{share(samples / all())}</span>
    </>
  );
  const where = () => {
    const kind = frame().kind === "group" ? props.explore.view().by : kindName(frame().kind);
    return [baseName(frame().binary), kind].filter(Boolean).join(" · ");
  };
  return (
    <>
      <b>{frameLabel(frame(), props.rootLabel)}</b>
      <div class="quiet">{where()}</div>
      <div class="figures">
        {row("Total", props.tree.total[props.node] as number)}
        {row("Self", props.tree.self[props.node] as number)}
      </div>
      <Show when={frame().file}><div class="quiet">{sourceOf(frame())}</div></Show>
    </>
  );
}

