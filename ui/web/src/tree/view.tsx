/** The call tree of the selection. */

import type { JSX } from "solid-js";
import { frameLabel } from "../flame/names";
import { rootLabelOf } from "../flame/view";
import { cores, share } from "../format/number";
import { FrameSwatch } from "../shell/swatch";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { TreeGrid } from "./grid";

export function CallTree(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const top = explore.zoomNode;
  const cell = (samples: number, all: number) => (
    <span role="gridcell" class="figure">
      <span>{cores(explore.coresOf(samples))}</span>
      <span class="quiet">{share(samples / all)}</span>
    </span>
  );
  return (
    <TreeGrid
      label="Call tree" heads={["Self", "Total", "Function"]} tree={explore.graph()?.tree} top={top()} selectedNode={explore.selectedNode()}
      select={explore.select} fallback={(rows) => rows[0] ?? 0} nameOf={(frame) => frameLabel(frame, rootLabelOf(explore))}
      figures={(tree, node) => {
        const all = (tree.total[0] as number) || 1;
        return <>{cell(tree.self[node] as number, all)}{cell(tree.total[node] as number, all)}</>;
      }}
      swatch={(frame) => <FrameSwatch frame={frame} dark={props.theme.dark()} coloring={explore.view().coloring} />}
      ownKey={(key, selected) => {
        if (key === "Enter") explore.zoom(selected === top() ? 0 : selected);
        else if (key === "Escape" && top()) explore.zoom(0);
        else return false;
        return true;
      }}
      menu={(node, x, y) => {
        explore.select(node);
        explore.setMenu({ node, x, y });
      }}
    />
  );
}
