/** The call tree as a table: every node has a row, those in sight are on the page. */

import { For, type JSX, createEffect, createMemo, createSignal, on, untrack } from "solid-js";
import { baseName, frameLabel } from "../flame/names";
import { type FlameTree, childrenOf, frameOf } from "../flame/tree";
import { cores, share } from "../format/number";
import { createSize } from "../shell/canvas";
import { FrameSwatch } from "../shell/swatch";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { rootLabelOf } from "../flame/view";
import { type Open, isLeaf, moved, opened, openedHeaviest, rowsOf, toggled } from "./rows";

const ROW = 24;
/** Rows made above and below those in sight. */
const MARGIN = 8;
/** Deeper rows are indented no further, so that their names stay in sight. */
const DEEPEST = 40;
const INDENT = 14;

export function CallTree(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  let body!: HTMLDivElement;
  const size = createSize(() => body);
  const [open, setOpen] = createSignal<Open>(new Set());
  const [scroll, setScroll] = createSignal(0);
  const tree = () => explore.graph()?.tree;
  const top = explore.zoomNode;
  const rows = createMemo(() => {
    const shown = tree();
    return shown ? rowsOf(shown, open(), top()) : [];
  });
  const selected = createMemo(() => (rows().includes(explore.selectedNode()) ? explore.selectedNode() : (rows()[0] ?? 0)));
  const first = () => Math.max(0, Math.floor(scroll() / ROW) - MARGIN);
  const seen = createMemo(() => rows().slice(first(), Math.ceil((scroll() + size().height) / ROW) + MARGIN));

  // Opened for the first time, it shows where the samples go; later what is selected elsewhere comes in sight.
  createEffect(
    on([tree, explore.selectedNode], () => {
      const shown = tree();
      if (!shown) return;
      const before = untrack(open);
      setOpen(opened(shown, before.size ? before : openedHeaviest(shown, before, top()), explore.selectedNode()));
    }),
  );
  createEffect(
    on(selected, (node) => {
      const at = untrack(rows).indexOf(node) * ROW;
      if (at < body.scrollTop) body.scrollTop = at;
      else if (at + ROW > body.scrollTop + body.clientHeight) body.scrollTop = at + ROW - body.clientHeight;
    }),
  );
  const onKey = (event: KeyboardEvent) => {
    const shown = tree();
    if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter") explore.zoom(selected() === top() ? 0 : selected());
    else if (event.key === "Escape" && top()) explore.zoom(0);
    else {
      const move = moved(shown, rows(), open(), selected(), event.key, Math.floor(size().height / ROW) - 1);
      if (!move) return;
      if ("to" in move) explore.select(move.to);
      else setOpen(move.open);
    }
    event.preventDefault();
  };
  return (
    <div class="calltree" id="graph">
      <div
        role="treegrid" aria-label="Call tree" aria-rowcount={rows().length + 1} aria-colcount="3" tabindex="0" onKeyDown={onKey}
        aria-activedescendant={seen().includes(selected()) ? `call-${selected()}` : undefined}
      >
        <div role="row" class="head" aria-rowindex="1">
          <span role="columnheader">Self</span>
          <span role="columnheader">Total</span>
          <span role="columnheader">Function</span>
        </div>
        <div class="body" role="rowgroup" tabindex="0" ref={body} onScroll={() => setScroll(body.scrollTop)}>
          <div role="presentation" style={{ height: `${first() * ROW}px` }} />
          <For each={seen()}>
            {(node, i) => (
              <Row
                explore={explore} theme={props.theme} tree={tree()!} node={node} index={first() + i() + 2} open={open()}
                selected={selected() === node} level={(tree()!.depth[node] as number) - (tree()!.depth[top()] as number)}
                toggle={() => setOpen(toggled(tree()!, open(), node))}
              />
            )}
          </For>
          <div role="presentation" style={{ height: `${Math.max(0, rows().length - first() - seen().length) * ROW}px` }} />
        </div>
      </div>
    </div>
  );
}

interface RowProps {
  explore: Explore;
  theme: ThemeState;
  tree: FlameTree;
  node: number;
  index: number;
  open: Open;
  selected: boolean;
  level: number;
  toggle: () => void;
}

function Row(props: RowProps): JSX.Element {
  const { explore, tree, node } = props;
  const frame = frameOf(tree, node);
  const all = (tree.total[0] as number) || 1;
  const leaf = isLeaf(tree, node);
  const isOpen = () => props.open.has(tree.path[node] as number);
  const parent = tree.parent[node] as number;
  const siblings = parent >= 0 ? childrenOf(tree, parent) : [node];
  const label = frameLabel(frame, rootLabelOf(explore));
  const cell = (samples: number) => (
    <span role="gridcell" class="figure">
      <span>{cores(explore.coresOf(samples))}</span>
      <span class="quiet">{share(samples / all)}</span>
    </span>
  );
  return (
    <div
      role="row" id={`call-${node}`} aria-rowindex={props.index} aria-level={props.level + 1} aria-selected={props.selected}
      aria-expanded={leaf ? undefined : isOpen()} aria-posinset={siblings.indexOf(node) + 1} aria-setsize={siblings.length}
      data-name={frame.name} onClick={() => explore.select(node)} onDblClick={() => props.toggle()}
      onContextMenu={(event) => {
        event.preventDefault();
        explore.select(node);
        explore.setMenu({ node, x: event.clientX, y: event.clientY });
      }}
    >
      {cell(tree.self[node] as number)}
      {cell(tree.total[node] as number)}
      <span role="gridcell" class="name" title={label} style={{ "padding-left": `${Math.min(props.level, DEEPEST) * INDENT}px` }}>
        <span
          class="twist" aria-hidden="true" classList={{ open: isOpen(), leaf }}
          onClick={(event) => {
            event.stopPropagation();
            props.toggle();
          }}
        />
        <FrameSwatch frame={frame} dark={props.theme.dark()} coloring={explore.view().coloring} />
        <span class="text">{label}</span>
        <span class="quiet">{frame.kind === "group" || frame.kind === "folded" ? "" : baseName(frame.binary)}</span>
      </span>
    </div>
  );
}
