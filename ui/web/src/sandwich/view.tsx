/** The sandwich: callers of the selected function above it, what it calls below, across all processes. */

import { For, type JSX, createMemo } from "solid-js";
import { Half } from "../flame/half";
import { frameLabel } from "../flame/names";
import { matching, targetOf } from "../flame/transform";
import { type FlameTree, childrenOf, frameOf, widestOf } from "../flame/tree";
import { spokenShare } from "../format/number";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { SandwichFrame } from "./frame";
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
    <SandwichFrame
      halves={halves()}
      half={(tree, place) => <Half {...place} explore={explore} theme={props.theme} tree={tree()} onPick={pick(tree())} onMenu={menu(tree())} />}
      beside={(all) => (
        <>
          <Neighbours title="Callers" tree={all().callers} onPick={pick(all().callers)} />
          <Neighbours title="Calls" tree={all().callees} onPick={pick(all().callees)} />
        </>
      )}
    />
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
