/** Half of a sandwich: a small flame graph of a tree of the selection. */

import { type JSX, createMemo } from "solid-js";
import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { HoverCard } from "../shell/hovercard";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { FillCache, drawFlame } from "./draw";
import { HalfCanvas, type HalfProps } from "./halfcanvas";
import { rowHeight } from "./layout";
import { frameLabel } from "./names";
import { findMatches } from "./search";
import { createContrast } from "./surroundings";
import { type FlameTree, frameOf } from "./tree";
import { FrameCard } from "./words";

interface FlameHalfProps extends HalfProps {
  explore: Explore;
  theme: ThemeState;
  tree: FlameTree;
  onMenu: (node: number, x: number, y: number) => void;
}

export function Half(props: FlameHalfProps): JSX.Element {
  const { explore } = props;
  const contrast = createContrast();
  const forced = () => contrast() === "forced";
  const colors = createMemo(() => ownPalette(props.theme.dark(), forced(), explore.ranked()));
  const fills = new FillCache();
  const matches = createMemo(() => {
    const query = explore.search();
    return query && "test" in query ? findMatches(props.tree, query.test).frames : undefined;
  });
  const coloring = createMemo(() => explore.view().coloring);
  return (
    <HalfCanvas
      tree={props.tree} orientation={props.orientation} rootless={props.rootless} label={props.label} rowHeight={rowHeight(explore.view().compact)}
      drawnFrom={[colors, matches, contrast, coloring]} onPick={props.onPick} onMenu={props.onMenu}
      draw={(context, scene) => drawFlame(context, {
        ...scene, tree: props.tree, palette: colors(), tokens: tokens(props.theme.dark(), forced()), coloring: coloring(),
        contrast: contrast() !== "normal", matches: matches(), zoomed: 0,
      }, fills)}
      card={(node, x, y) => (
        <HoverCard x={x} y={y}>
          <FrameCard explore={explore} tree={props.tree} node={node} rootLabel={frameLabel(frameOf(props.tree, 0), "")} />
        </HoverCard>
      )}
    />
  );
}
