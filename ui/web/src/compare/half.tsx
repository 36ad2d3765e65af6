/** Half of the sandwich of a comparison: all of a tree over the full width. */

import { type JSX, Show, createEffect, createSignal, on, onMount } from "solid-js";
import { tokens } from "../color/tokens";
import { createGestures } from "../flame/gestures";
import { type Viewport, contentHeight, emptyRects, hit, viewOf, visibleRects } from "../flame/layout";
import { frameLabel } from "../flame/names";
import { Outlines, outlineOf } from "../flame/outlines";
import { frameOf } from "../flame/tree";
import { createPainter, createSize, prepared } from "../shell/canvas";
import type { ThemeState } from "../state/theme";
import { drawDiff } from "./draw";
import { DiffCard } from "./graph";
import { diverging } from "./palette";
import type { Comparison } from "./state";
import type { Compared } from "./union";
import { writeChange } from "./view";

const ROW = 20;

interface DiffHalfProps {
  comparison: Comparison;
  theme: ThemeState;
  compared: Compared;
  orientation: Viewport["orientation"];
  /** Leaves the root's row out: it stands elsewhere. */
  rootless: boolean;
  label: string;
  onPick: (node: number) => void;
}

export function DiffHalf(props: DiffHalfProps): JSX.Element {
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const rects = emptyRects();
  const tree = () => props.compared.tree;
  const rows = () => tree().rows.length - (props.rootless ? 1 : 0);
  const name = () => frameLabel(frameOf(tree(), 0), "");
  const port = (): Viewport => ({
    width: size().width, height: size().height, padLeft: 16, padRight: 12, padTop: props.rootless ? 1 - ROW : 0, rowHeight: ROW,
    scroll: scroll(), orientation: props.orientation,
  });
  const view = () => viewOf(tree(), 0);
  const scrollTo = (to: number) => setScroll(Math.min(Math.max(0, contentHeight(rows(), { ...port(), padTop: 4 }) - size().height), Math.max(0, to)));
  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (!context) return;
    visibleRects(tree(), view(), port(), rects);
    drawDiff(context, {
      compared: props.compared, view: view(), port: port(), tokens: tokens(props.theme.dark()), rects, colors: diverging(props.theme.dark()), rootLabel: name(), matches: undefined, zoomed: 0,
      change: writeChange(props.comparison.asShares()),
    });
  });
  createEffect(on([() => props.compared, size, scroll, props.theme.dark], paint));
  createEffect(on(() => props.compared, () => {
    setHovered(-1);
    scrollTo(scroll());
  }));
  onMount(() => void Promise.all(["450 12px Inter", "600 12px Inter"].map((font) => document.fonts.load(font))).then(paint));
  const nodeAt = (x: number, y: number) => {
    const box = canvas.getBoundingClientRect();
    const node = hit(tree(), view(), port(), x - box.left, y - box.top);
    return node === 0 && props.rootless ? -1 : node;
  };
  const down = () => (props.orientation === "icicle" ? 1 : -1);
  const swallowed = createGestures(() => canvas, {
    pan: (_, dy) => scrollTo(scroll() - dy * down()),
    zoom: () => {},
    scroll: (dy) => scrollTo(scroll() + dy * down()),
    menu: () => {},
    hover(x, y) {
      setPointer({ x, y });
      setHovered(nodeAt(x, y));
    },
    leave: () => setHovered(-1),
  });
  return (
    <div class="half" ref={host} style={{ "--content": `${rows() * ROW + 8}px` }}>
      <canvas
        ref={canvas} role="img" aria-label={props.label} data-nodes={tree().count}
        onClick={(event) => {
          const node = swallowed() ? -1 : nodeAt(event.clientX, event.clientY);
          if (node >= 0) props.onPick(node);
        }}
      />
      <Outlines selected={props.rootless ? undefined : outlineOf(tree(), view(), port(), 0)} hovered={outlineOf(tree(), view(), port(), hovered())} />
      <Show when={hovered() >= 0 && hovered() < tree().count && pointer()}>
        {(at) => <DiffCard comparison={props.comparison} compared={props.compared} node={Math.max(0, hovered())} rootLabel={name()} by="" x={at().x} y={at().y} />}
      </Show>
    </div>
  );
}
