/** A small flame graph: all of a tree over the full width, picked from by pointer. */

import { type JSX, Show, createEffect, createMemo, createSignal, on } from "solid-js";
import { palette } from "../color/bands";
import { tokens } from "../color/tokens";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { FillCache, drawFlame } from "./draw";
import { Outlines, outlineOf } from "./outlines";
import { createGestures } from "./gestures";
import { type Viewport, contentHeight, emptyRects, hit, viewOf, visibleRects } from "./layout";
import { frameLabel } from "./names";
import { findMatches } from "./search";
import { createContrast, createFonts } from "./surroundings";
import { type FlameTree, frameOf } from "./tree";
import { FrameCard } from "./words";

const ROW = 20;

interface HalfProps {
  explore: Explore;
  theme: ThemeState;
  tree: FlameTree;
  orientation: Viewport["orientation"];
  /** Leaves the root's row out: it stands elsewhere. */
  rootless: boolean;
  label: string;
  onPick: (node: number) => void;
  onMenu: (node: number, x: number, y: number) => void;
}

export function Half(props: HalfProps): JSX.Element {
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const { explore } = props;
  const size = createSize(() => host);
  const [scroll, setScroll] = createSignal(0);
  const [hovered, setHovered] = createSignal(-1);
  const [pointer, setPointer] = createSignal<{ x: number; y: number }>();
  const fonts = createFonts();
  const contrast = createContrast();
  const forced = () => contrast() === "forced";
  const colors = createMemo(() => palette(props.theme.dark(), forced()));
  const rects = emptyRects();
  const fills = new FillCache();
  const name = () => frameLabel(frameOf(props.tree, 0), "");
  const port = (): Viewport => ({
    width: size().width, height: size().height, padLeft: 16, padRight: 12, padTop: props.rootless ? 1 - ROW : 0, rowHeight: ROW,
    scroll: scroll(), orientation: props.orientation,
  });
  const view = () => viewOf(props.tree, 0);
  const scrollTo = (to: number) => {
    const rows = props.tree.rows.length - (props.rootless ? 1 : 0);
    setScroll(Math.min(Math.max(0, contentHeight(rows, { ...port(), padTop: 4 }) - size().height), Math.max(0, to)));
  };
  const matches = createMemo(() => {
    const query = explore.search();
    return query && "test" in query ? findMatches(props.tree, query.test).frames : undefined;
  });
  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (!context) return;
    const { tree } = props;
    visibleRects(tree, view(), port(), rects);
    drawFlame(context, {
      tree, rects, view: view(), port: port(), palette: colors(), tokens: tokens(props.theme.dark(), forced()), ratio: size().ratio,
      coloring: explore.view().coloring, contrast: contrast() !== "normal", rootLabel: name(), matches: matches(), zoomed: 0,
    }, fills);
  });
  createEffect(on([() => props.tree, size, scroll, fonts, colors, matches, contrast, () => explore.view().coloring], paint));
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
      if (node >= 0) props.onMenu(node, x, y);
    },
    hover(x, y) {
      setPointer({ x, y });
      setHovered(nodeAt(x, y));
    },
    leave: () => setHovered(-1),
  });
  return (
    <div class="half" ref={host} style={{ "--content": `${(props.tree.rows.length - (props.rootless ? 1 : 0)) * ROW + 8}px` }}>
      <canvas
        ref={canvas} role="img" aria-label={props.label} data-nodes={props.tree.count} data-samples={props.tree.total[0]}
        data-hover={hovered() >= 0 && hovered() < props.tree.count ? frameLabel(frameOf(props.tree, hovered()), "") : undefined}
        onClick={(event) => {
          const node = swallowed() ? -1 : nodeAt(event.clientX, event.clientY);
          if (node >= 0) props.onPick(node);
        }}
      />
      <Outlines selected={props.rootless ? undefined : outlineOf(props.tree, view(), port(), 0)} hovered={outlineOf(props.tree, view(), port(), hovered())} />
      <Show when={hovered() >= 0 && hovered() < props.tree.count && pointer()}>
        {(at) => (
          <HoverCard x={at().x} y={at().y}>
            <FrameCard explore={explore} tree={props.tree} node={Math.max(0, hovered())} rootLabel={name()} />
          </HoverCard>
        )}
      </Show>
    </div>
  );
}
