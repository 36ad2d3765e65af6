/** Half of the sandwich of a comparison: a small differential flame graph. */

import type { JSX } from "solid-js";
import { tokens } from "../color/tokens";
import { HalfCanvas, type HalfProps } from "../flame/halfcanvas";
import { rowHeight } from "../flame/layout";
import { frameLabel } from "../flame/names";
import { frameOf } from "../flame/tree";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { drawDiff } from "./draw";
import { DiffCard } from "./graph";
import { diverging } from "./palette";
import type { Comparison } from "./state";
import type { Compared } from "./union";
import { writeChange } from "./view";

interface DiffHalfProps extends HalfProps {
  explore: Explore;
  comparison: Comparison;
  theme: ThemeState;
  compared: Compared;
}

export function DiffHalf(props: DiffHalfProps): JSX.Element {
  return (
    <HalfCanvas
      tree={props.compared.tree} orientation={props.orientation} rootless={props.rootless} label={props.label}
      rowHeight={rowHeight(props.explore.view().compact)} drawnFrom={[() => props.compared, props.theme.dark]} onPick={props.onPick}
      draw={(context, scene) => drawDiff(context, {
        ...scene, compared: props.compared, tokens: tokens(props.theme.dark()), colors: diverging(props.theme.dark()), matches: undefined,
        zoomed: 0, change: writeChange(props.comparison.asShares()),
      })}
      card={(node, x, y) => (
        <DiffCard comparison={props.comparison} compared={props.compared} node={node} rootLabel={frameLabel(frameOf(props.compared.tree, 0), "")} by="" x={x} y={y} />
      )}
    />
  );
}
