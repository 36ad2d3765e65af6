/** A small flame graph of whatever kind: all of a tree over the full width, scrolled and picked from by pointer. */

import { type Accessor, type JSX, Show, createEffect, createSignal, on } from "solid-js";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { createGestures } from "./gestures";
import { type Rects, type View, type Viewport, contentHeight, emptyRects, hit, viewOf, visibleRects } from "./layout";
import { frameLabel } from "./names";
import { Outlines, outlineOf } from "./outlines";
import { createFonts } from "./surroundings";
import { type FlameTree, frameOf } from "./tree";

/** Where and what a half is. */
export interface HalfProps {
  orientation: Viewport["orientation"];
  /** Leaves the root's row out: it stands elsewhere. */
  rootless: boolean;
  label: string;
  onPick: (node: number) => void;
}

/** What is drawn of a tree: its rectangles, and where they lie. */
export interface HalfScene {
  rects: Rects;
  view: View;
  port: Viewport;
  /** Device pixels of a CSS pixel. */
  ratio: number;
  rootLabel: string;
}

interface HalfCanvasProps extends HalfProps {
  tree: FlameTree;
  rowHeight: number;
  draw: (context: CanvasRenderingContext2D, scene: HalfScene) => void;
  /** What is drawn anew when it changes, beside the tree and the size. */
  drawnFrom: readonly Accessor<unknown>[];
  onMenu?: (node: number, x: number, y: number) => void;
  /** What is told of a node at the pointer. */
  card: (node: number, x: number, y: number) => JSX.Element;
}

export function HalfCanvas(props: HalfCanvasProps): JSX.Element {
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const fonts = createFonts();
  const rects = emptyRects();
  const rows = () => props.tree.rows.length - (props.rootless ? 1 : 0);
  const port = (): Viewport => ({
    width: size().width, height: size().height, padLeft: 16, padRight: 12, padTop: props.rootless ? 1 - props.rowHeight : 0,
    rowHeight: props.rowHeight, scroll: scroll(), orientation: props.orientation,
  });
  const view = () => viewOf(props.tree, 0);
  const scrollTo = (to: number) =>
    setScroll(Math.min(Math.max(0, contentHeight(rows(), { ...port(), padTop: 4 }) - size().height), Math.max(0, to)));
  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (!context) return;
    visibleRects(props.tree, view(), port(), rects);
    props.draw(context, { rects, view: view(), port: port(), ratio: size().ratio, rootLabel: frameLabel(frameOf(props.tree, 0), "") });
  });
  createEffect(on([() => props.tree, () => props.rowHeight, size, scroll, fonts, ...props.drawnFrom], paint));
  createEffect(on(() => props.tree, () => {
    setHovered(-1);
    scrollTo(scroll());
  }));
  const nodeAt = (x: number, y: number) => {
    const box = canvas.getBoundingClientRect();
    const node = hit(props.tree, view(), port(), x - box.left, y - box.top);
    return node === 0 && props.rootless ? -1 : node;
  };
  const down = () => (props.orientation === "icicle" ? 1 : -1);
  const swallowed = createGestures(() => canvas, {
    pan: (_, dy) => scrollTo(scroll() - dy * down()),
    zoom: () => {},
    scroll: (dy) => scrollTo(scroll() + dy * down()),
    menu(x, y) {
      const node = nodeAt(x, y);
      if (node >= 0) props.onMenu?.(node, x, y);
    },
    hover(x, y) {
      setPointer({ x, y });
      setHovered(nodeAt(x, y));
    },
    leave: () => setHovered(-1),
  });
  const isThere = () => hovered() >= 0 && hovered() < props.tree.count;
  return (
    <div class="half" ref={host} style={{ "--content": `${rows() * props.rowHeight + 8}px` }}>
      <canvas
        ref={canvas} role="img" aria-label={props.label} data-nodes={props.tree.count} data-samples={props.tree.total[0]}
        data-hover={isThere() ? frameLabel(frameOf(props.tree, hovered()), "") : undefined}
        onClick={(event) => {
          const node = swallowed() ? -1 : nodeAt(event.clientX, event.clientY);
          if (node >= 0) props.onPick(node);
        }}
      />
      <Outlines selected={props.rootless ? undefined : outlineOf(props.tree, view(), port(), 0)} hovered={outlineOf(props.tree, view(), port(), hovered())} />
      <Show when={isThere() && pointer()}>{(at) => props.card(Math.max(0, hovered()), at().x, at().y)}</Show>
    </div>
  );
}
