/** The sandwich: callers of the selected function above it, what it calls below, across all processes. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { Half } from "../flame/half";
import { frameLabel } from "../flame/names";
import { matching, targetOf } from "../flame/transform";
import { type FlameTree, childrenOf, frameOf, widestOf } from "../flame/tree";
import { spokenShare } from "../format/number";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { halvesOf } from "./halves";

export function Sandwich(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const selected = createMemo(() => {
    const tree = explore.graph()?.tree;
    const node = explore.selectedNode();
    return tree && node > 0 && node < tree.count ? tree.frame[node] : undefined;
  });
  const halves = createMemo(() => {
    const tree = explore.graph()?.tree;
    const frame = selected();
    return tree && frame !== undefined ? halvesOf(tree, matching(tree.frames, targetOf(tree.frames, frame))) : undefined;
  });
  /** The node of the whole tree that a node of a half stands for: the widest of its function. */
  const whole = (half: FlameTree, node: number) => {
    const tree = explore.graph()?.tree;
    return tree ? widestOf(tree, half.frames.hash(half.frame[node] as number)) : -1;
  };
  const pick = (half: FlameTree) => (node: number) => {
    const to = whole(half, node);
    if (to > 0) explore.select(to);
  };
  const menu = (half: FlameTree) => (node: number, x: number, y: number) => {
    const to = whole(half, node);
    if (to < 0) return;
    explore.select(to);
    explore.setMenu({ node: to, x, y });
  };
  return (
    <div class="sandwich" id="graph">
      <Show when={halves()} fallback={<p class="note">Select a function, in the graph or in a table: this is where its callers and what it calls will stand.</p>}>
        {(found) => (
          <>
            <p class="caption" aria-hidden="true">callers ↑</p>
            <Half
              explore={explore} theme={props.theme} tree={found().callers} orientation="flame" rootless={false}
              label="Callers of the function, the function at the bottom" onPick={pick(found().callers)} onMenu={menu(found().callers)}
            />
            <Half
              explore={explore} theme={props.theme} tree={found().callees} orientation="icicle" rootless
              label="What the function calls" onPick={pick(found().callees)} onMenu={menu(found().callees)}
            />
            <p class="caption below" aria-hidden="true">callees ↓</p>
            <Neighbours title="Callers" tree={found().callers} onPick={pick(found().callers)} />
            <Neighbours title="Calls" tree={found().callees} onPick={pick(found().callees)} />
          </>
        )}
      </Show>
    </div>
  );
}

/** Neighbours told of to those who hear the page. */
const MOST = 20;

function Neighbours(props: { title: string; tree: FlameTree; onPick: (node: number) => void }): JSX.Element {
  const all = () => (props.tree.total[0] as number) || 1;
  return (
    <ul class="unseen" aria-label={props.title}>
      <For each={childrenOf(props.tree, 0).slice(0, MOST)}>
        {(node) => (
          <li>
            <button type="button" tabindex="-1" onClick={() => props.onPick(node)}>
              {frameLabel(frameOf(props.tree, node), "")}, {spokenShare((props.tree.total[node] as number) / all())}
            </button>
          </li>
        )}
      </For>
    </ul>
  );
}
