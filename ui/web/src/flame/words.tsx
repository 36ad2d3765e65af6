/** What is said about a frame: on the card under the pointer, and aloud. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { cores, share, spokenShare } from "../format/number";
import type { Before } from "../state/before";
import type { Explore } from "../state/explore";
import { baseName, frameLabel, kindName, sourceOf } from "./names";
import { type FlameTree, childrenOf, frameOf, pathTo } from "./tree";

/** A frame read aloud. */
export function spoken(explore: Explore, tree: FlameTree, node: number, rootLabel: string): string {
  const frame = frameOf(tree, node);
  const total = tree.total[node] as number;
  const parent = tree.parent[node] as number;
  const siblings = parent >= 0 ? childrenOf(tree, parent) : [node];
  return [
    frameLabel(frame, rootLabel), frame.kind === "group" ? "" : baseName(frame.binary),
    frame.kind === "kernel" || frame.kind === "inlined" ? kindName(frame.kind) : "",
    spokenShare(total / ((tree.total[0] as number) || 1)), `${cores(explore.coresOf(total))} cores`,
    parent >= 0 ? `child ${siblings.indexOf(node) + 1} of ${siblings.length}` : "", `depth ${tree.depth[node]}`,
  ].filter(Boolean).join(", ");
}

/** The card of the frame under the pointer. */
export function FrameCard(props: { explore: Explore; tree: FlameTree; node: number; rootLabel: string; before?: Before | undefined }): JSX.Element {
  const frame = () => frameOf(props.tree, props.node);
  const all = () => (props.tree.total[0] as number) || 1;
  const row = (name: string, samples: number) => (
    <>
      <span class="quiet">{name}</span>
      <span>{cores(props.explore.coresOf(samples))} cores</span>
      <span>{share(samples / all())}</span>
    </>
  );
  const where = () => {
    const { kind, binary } = frame();
    if (kind === "group") return props.explore.view().by;
    return [baseName(binary), kindName(kind)].filter(Boolean).join(" · ");
  };
  const identity = () => frame().buildId.slice(0, 12);
  return (
    <>
      <b>{frameLabel(frame(), props.rootLabel)}</b>
      <div class="quiet">{where()}</div>
      <div class="figures">
        {row("Total", props.tree.total[props.node] as number)}
        {row("Self", props.tree.self[props.node] as number)}
        <Show when={props.before}>
          {(before) => (
            <>
              <span class="quiet">Before</span>
              <span data-before={before().total}>{cores(before().cores)} cores</span>
              <span>{share(before().share)}</span>
            </>
          )}
        </Show>
      </div>
      <Show when={frame().file}><div class="quiet">{sourceOf(frame())}</div></Show>
      <Show when={identity()}><div class="quiet">build ID {identity()}…</div></Show>
    </>
  );
}

/** Children told of; the Tree tab has them all. */
const CHILDREN = 12;

/**
 * The frames around the selected one as a tree, for those who hear the page: its callers, itself and what it calls. The
 * whole tree is the Tree tab.
 */
export function NearTree(props: { tree: FlameTree; node: number; rootLabel: string }): JSX.Element {
  const items = createMemo(() => {
    const { tree, node } = props;
    const item = (at: number) => {
      const parent = tree.parent[at] as number;
      const siblings = parent >= 0 ? childrenOf(tree, parent) : [at];
      return {
        at, level: (tree.depth[at] as number) + 1, place: siblings.indexOf(at) + 1, of: siblings.length,
        text: `${frameLabel(frameOf(tree, at), props.rootLabel)}, ${spokenShare((tree.total[at] as number) / ((tree.total[0] as number) || 1))}`,
        leaf: (tree.end[at] as number) === at + 1,
      };
    };
    return [...pathTo(tree, node), ...childrenOf(tree, node).slice(0, CHILDREN)].map(item);
  });
  return (
    <ul role="tree" class="unseen" aria-label="Callers of the selected frame, and what it calls">
      <For each={items()}>
        {(item) => (
          <li
            role="treeitem" aria-level={item.level} aria-posinset={item.place} aria-setsize={item.of}
            aria-selected={item.at === props.node} aria-expanded={item.leaf ? undefined : item.at <= props.node}
          >
            {item.text}
          </li>
        )}
      </For>
    </ul>
  );
}
