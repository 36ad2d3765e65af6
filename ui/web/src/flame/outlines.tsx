/** The outlines of the selected and the hovered frame: two boxes above the graph, for a second canvas would take as much memory as it. */

import { For, type JSX, Show } from "solid-js";
import { type View, type Viewport, rowTop, scaleOf } from "./layout";
import type { FlameTree } from "./tree";

/** Where an outline stands, in pixels of the graph. */
export interface Outline {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** The outline of a node; undefined where there is none to see. */
export function outlineOf(tree: FlameTree, view: View, port: Viewport, node: number): Outline | undefined {
  if (node < 0 || node >= tree.count) return undefined;
  const scale = scaleOf(view, port);
  const start = tree.start[node] as number;
  const left = Math.max(port.padLeft, port.padLeft + (start - view.x0) * scale);
  const right = Math.min(
    port.width - port.padRight, port.padLeft + (start + (tree.total[node] as number) - view.x0) * scale,
  );
  if (right - left < 0.5) return undefined;
  // Half a pixel into the gap between frames.
  return { left: left - 1.5, top: rowTop(tree.depth[node] as number, port) - 1.5, width: right - left + 2, height: port.rowHeight + 2 };
}

export function Outlines(props: { selected: Outline | undefined; hovered: Outline | undefined }): JSX.Element {
  return (
    <div class="outlines" aria-hidden="true">
      <For each={["hovered", "selected"] as const}>
        {(which) => (
          <Show when={props[which]}>
            {(at) => (
              <i
                class={which}
                style={{ transform: `translate(${at().left}px, ${at().top}px)`, width: `${at().width}px`, height: `${at().height}px` }}
              />
            )}
          </Show>
        )}
      </For>
    </div>
  );
}
