/** The differential flame graph: one canvas, moved by pointer and keys as the plain one. */

import { type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup, onMount } from "solid-js";
import { tokens } from "../color/tokens";
import { type View, type Viewport, between, contentHeight, emptyRects, hit, rowHeight, viewOf, visibleRects } from "../flame/layout";
import { baseName, frameLabel, kindName } from "../flame/names";
import { Outlines, outlineOf } from "../flame/outlines";
import { type FlameTree, childrenOf, frameOf } from "../flame/tree";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { changeLabel, drawDiff } from "./draw";
import { diverging } from "./palette";
import type { Comparison } from "./state";
import type { Compared } from "./union";
import { writeChange, writeValue } from "./view";

const ZOOM_MS = 180;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export function DiffGraph(props: { explore: Explore; comparison: Comparison; theme: ThemeState }): JSX.Element {
  const { explore, comparison } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const [view, setView] = createSignal<View>({ x0: 0, x1: 1 });
  const [frames, setFrames] = createSignal(0);
  const rects = emptyRects();
  const tree = () => comparison.compared()?.tree;
  const rootLabel = () => `${explore.status()?.host ?? "all"}, A and B`;
  const change = createMemo(() => writeChange(comparison.asShares()));
  const value = createMemo(() => writeValue(comparison.asShares()));
  const row = () => rowHeight(explore.view().compact);
  const port = (): Viewport => {
    const { width, height } = size();
    return { width, height, padLeft: 16, padRight: 12, padTop: 8, rowHeight: row(), scroll: scroll(), orientation: explore.view().orientation };
  };
  const scrollTo = (to: number) => {
    const most = Math.max(0, contentHeight(tree()?.rows.length ?? 0, port()) - size().height);
    setScroll(Math.min(most, Math.max(0, to)));
  };

  const paint = createPainter(() => {
    const compared = comparison.compared();
    const context = prepared(canvas, size());
    if (!context || !compared) return;
    visibleRects(compared.tree, view(), port(), rects);
    drawDiff(context, {
      compared, rects, view: view(), port: port(), colors: diverging(props.theme.dark()), tokens: tokens(props.theme.dark()),
      rootLabel: rootLabel(), matches: comparison.matches()?.frames, zoomed: comparison.zoomNode(), change: change(),
    });
    setFrames(rects.count);
  });
  createEffect(on([comparison.compared, comparison.matches, view, size, scroll, change, row, () => explore.view().orientation, props.theme.dark], paint));
  const outline = (node: number) => {
    const shown = tree();
    return shown && outlineOf(shown, view(), port(), node);
  };
  onMount(() => void Promise.all(["450 12px Inter", "600 12px Inter"].map((font) => document.fonts.load(font))).then(paint));

  let shown: FlameTree | undefined;
  let animation = 0;
  onCleanup(() => cancelAnimationFrame(animation));
  createEffect(on([tree, comparison.zoomNode], ([next, zoom]) => {
    if (!next) return;
    const to = viewOf(next, zoom);
    cancelAnimationFrame(animation);
    if (next !== shown || calm.matches) {
      shown = next;
      setView(to);
      return;
    }
    const from = view();
    const start = performance.now();
    const step = (time: number) => {
      const t = Math.min(1, Math.max(0, (time - start) / ZOOM_MS));
      setView(between(from, to, t));
      if (t < 1) animation = requestAnimationFrame(step);
    };
    animation = requestAnimationFrame(step);
  }));

  const hash = (node: number) => (node > 0 ? (tree()?.path[node] ?? 0) : 0);
  const zoom = (node: number) => explore.update({ zoom: hash(node), selected: hash(node) || explore.view().selected });
  const nodeAt = (event: MouseEvent) => {
    const box = canvas.getBoundingClientRect();
    const now = tree();
    return now ? hit(now, view(), port(), event.clientX - box.left, event.clientY - box.top) : -1;
  };
  onMount(() => {
    const onWheel = (event: WheelEvent) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      scrollTo(scroll() + event.deltaY * (explore.view().orientation === "icicle" ? 1 : -1) * (event.deltaMode === 1 ? row() : 1));
    };
    canvas.addEventListener("wheel", onWheel, { passive: false });
    onCleanup(() => canvas.removeEventListener("wheel", onWheel));
  });
  const onKey = (event: KeyboardEvent) => {
    const now = tree();
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    const node = comparison.selectedNode();
    const parent = now.parent[node] as number;
    const siblings = parent >= 0 ? childrenOf(now, parent) : [0];
    const at = siblings.indexOf(node);
    const flipped = explore.view().orientation === "flame";
    const to = {
      [flipped ? "ArrowUp" : "ArrowDown"]: childrenOf(now, node)[0] ?? node,
      [flipped ? "ArrowDown" : "ArrowUp"]: Math.max(0, parent),
      ArrowLeft: siblings[Math.max(0, at - 1)], ArrowRight: siblings[Math.min(siblings.length - 1, at + 1)],
    }[event.key];
    if (to !== undefined) explore.update({ selected: hash(to) }, true);
    else if (event.key === "Enter") zoom(node);
    else if (event.key === "Escape" && explore.view().zoom) explore.update({ zoom: 0 });
    else return;
    event.preventDefault();
  };
  const name = (node: number) => {
    const now = tree();
    return now && node >= 0 && node < now.count ? frameLabel(frameOf(now, node), rootLabel()) : undefined;
  };
  const spoken = () => {
    const compared = comparison.compared();
    const node = comparison.selectedNode();
    if (!compared || node >= compared.tree.count) return "";
    const [a, b] = [compared.a[node] as number, compared.b[node] as number];
    return `${name(node)}, A ${value()(a)}, B ${value()(b)}, ${compared.real[node] ? change()(a, b) : "within noise"}, depth ${compared.tree.depth[node]}`;
  };
  return (
    <div class="flame" ref={host} id="graph" style={{ "--content": `${(tree()?.rows.length ?? 0) * row() + 16}px` }}>
      <canvas
        ref={canvas} tabindex="0" role="application" aria-label="Differential flame graph" aria-describedby="focused-frame"
        data-frames={frames()} data-nodes={tree()?.count ?? 0} data-hover={name(hovered())} data-focus={name(comparison.selectedNode())} data-zoom={name(comparison.zoomNode())}
        onPointerMove={(event) => {
          setPointer({ x: event.clientX, y: event.clientY });
          setHovered(nodeAt(event));
        }}
        onPointerLeave={() => {
          setPointer(undefined);
          setHovered(-1);
        }}
        onClick={(event) => {
          const node = nodeAt(event);
          if (node >= 0) zoom(node === comparison.zoomNode() ? 0 : node);
        }}
        onKeyDown={onKey}
      />
      <Outlines selected={explore.view().selected ? outline(comparison.selectedNode()) : undefined} hovered={outline(hovered())} />
      <p id="focused-frame" class="unseen" aria-live="polite">{spoken()}</p>
      <Show when={comparison.compared() && hovered() >= 0 && hovered() < comparison.compared()!.tree.count && pointer()}>
        {(at) => <DiffCard comparison={comparison} compared={comparison.compared()!} node={hovered()} rootLabel={rootLabel()} by={explore.view().by} x={at().x} y={at().y} />}
      </Show>
    </div>
  );
}

interface DiffCardProps {
  comparison: Comparison;
  compared: Compared;
  node: number;
  rootLabel: string;
  /** The label that groups. */
  by: string;
  x: number;
  y: number;
}

/** What both sides are at the pointer. */
export function DiffCard(props: DiffCardProps): JSX.Element {
  const frame = () => frameOf(props.compared.tree, props.node);
  const shares = () => props.comparison.asShares();
  const value = (side: "a" | "b") => writeValue(shares())(props.compared[side][props.node] as number);
  return (
    <HoverCard x={props.x} y={props.y}>
      <b>{frameLabel(frame(), props.rootLabel)}</b>
      <div class="quiet">{[baseName(frame().binary), frame().kind === "group" ? props.by : kindName(frame().kind)].filter(Boolean).join(" · ")}</div>
      <div class="figures two">
        <span class="quiet">A</span><span>{value("a")}</span>
        <span class="quiet">B</span><span>{value("b")}</span>
        <span class="quiet">Change</span><span>{changeLabel(props.compared, props.node, writeChange(shares())) || "within noise"}</span>
      </div>
    </HoverCard>
  );
}
