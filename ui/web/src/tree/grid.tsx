/** A stack tree as a table: every node has a row, those in sight are on the page. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on, untrack } from "solid-js";
import { baseName } from "../flame/names";
import { type FlameTree, type Frame, childrenOf, frameOf } from "../flame/tree";
import { createSize } from "../shell/canvas";
import { type Open, isLeaf, moved, opened, openedHeaviest, rowsOf, toggled } from "./rows";

const ROW = 24;
/** Rows made above and below those in sight. */
const MARGIN = 8;
/** Deeper rows are indented no further, so that their names stay in sight. */
const DEEPEST = 40;
const INDENT = 14;

interface TreeGridProps {
  /** Beside `calltree`. */
  class?: string;
  label: string;
  /** Titles of the columns; the last one has the names. */
  heads: readonly string[];
  tree: FlameTree | undefined;
  /** The node whose row is the first. */
  top: number;
  selectedNode: number;
  select: (node: number) => void;
  /** What is selected where the selected node has no row. */
  fallback: (rows: readonly number[]) => number;
  /** The cells before the name. */
  figures: (tree: FlameTree, node: number) => JSX.Element;
  nameOf: (frame: Frame) => string;
  swatch?: (frame: Frame) => JSX.Element;
  /** Keys of its own come first; true where one was meant. */
  ownKey?: (key: string, selected: number) => boolean;
  menu?: (node: number, x: number, y: number) => void;
}

export function TreeGrid(props: TreeGridProps): JSX.Element {
  let body!: HTMLDivElement;
  const size = createSize(() => body);
  const [open, setOpen] = createSignal<Open>(new Set());
  const [scroll, setScroll] = createSignal(0);
  const rows = createMemo(() => (props.tree ? rowsOf(props.tree, open(), props.top) : []));
  const selected = createMemo(() => (rows().includes(props.selectedNode) ? props.selectedNode : props.fallback(rows())));
  const first = () => Math.max(0, Math.floor(scroll() / ROW) - MARGIN);
  const seen = createMemo(() => rows().slice(first(), Math.ceil((scroll() + size().height) / ROW) + MARGIN));

  // Opened for the first time, it shows where the samples go; later what is selected elsewhere comes in sight.
  createEffect(
    on([() => props.tree, () => props.selectedNode], ([shown, node]) => {
      if (!shown) return;
      const before = untrack(open);
      setOpen(opened(shown, before.size ? before : openedHeaviest(shown, before, props.top), node));
    }),
  );
  const reveal = (node: number) => {
    const at = rows().indexOf(node) * ROW;
    if (at < 0) return;
    if (at < body.scrollTop) body.scrollTop = at;
    else if (at + ROW > body.scrollTop + body.clientHeight) body.scrollTop = at + ROW - body.clientHeight;
  };
  // Behind all other effects: before its rows are there, the body cannot be scrolled to them.
  createEffect(on(selected, (node) => queueMicrotask(() => reveal(node))));
  const onKey = (event: KeyboardEvent) => {
    if (!props.tree || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!props.ownKey?.(event.key, selected())) {
      const move = moved(props.tree, rows(), open(), selected(), event.key, Math.floor(size().height / ROW) - 1);
      if (!move) return;
      if ("to" in move) props.select(move.to);
      else setOpen(move.open);
    }
    event.preventDefault();
  };
  return (
    <div class={`calltree ${props.class ?? ""}`} id="graph">
      <div
        role="treegrid" aria-label={props.label} aria-rowcount={rows().length + 1} aria-colcount={props.heads.length} tabindex="0" onKeyDown={onKey}
        aria-activedescendant={seen().includes(selected()) ? `call-${selected()}` : undefined}
      >
        <div role="row" class="head" aria-rowindex="1">
          <For each={props.heads}>{(head) => <span role="columnheader">{head}</span>}</For>
        </div>
        <div class="body" role="rowgroup" tabindex="0" ref={body} onScroll={() => setScroll(body.scrollTop)}>
          <div role="presentation" style={{ height: `${first() * ROW}px` }} />
          {/* A node of another tree is another one, whatever its number. */}
          <Show when={props.tree} keyed>
            {(tree) => (
              <For each={seen()}>
                {(node, i) => (
                  <Row
                    grid={props} tree={tree} node={node} index={first() + i() + 2} open={open()} selected={selected() === node}
                    toggle={() => setOpen(toggled(tree, open(), node))}
                  />
                )}
              </For>
            )}
          </Show>
          <div role="presentation" style={{ height: `${Math.max(0, rows().length - first() - seen().length) * ROW}px` }} />
        </div>
      </div>
    </div>
  );
}

interface RowProps {
  grid: TreeGridProps;
  tree: FlameTree;
  node: number;
  index: number;
  open: Open;
  selected: boolean;
  toggle: () => void;
}

function Row(props: RowProps): JSX.Element {
  const { grid, tree, node } = props;
  const frame = frameOf(tree, node);
  const leaf = isLeaf(tree, node);
  const isOpen = () => props.open.has(tree.path[node] as number);
  const level = (tree.depth[node] as number) - (tree.depth[grid.top] as number);
  const parent = tree.parent[node] as number;
  const siblings = parent >= 0 ? childrenOf(tree, parent) : [node];
  /** What the root is called is known when the server has said who it is. */
  const label = () => grid.nameOf(frame);
  return (
    <div
      role="row" id={`call-${node}`} aria-rowindex={props.index} aria-level={level + 1} aria-selected={props.selected}
      aria-expanded={leaf ? undefined : isOpen()} aria-posinset={siblings.indexOf(node) + 1} aria-setsize={siblings.length}
      data-name={frame.name} onClick={() => grid.select(node)} onDblClick={() => props.toggle()}
      onContextMenu={(event) => {
        if (!grid.menu) return;
        event.preventDefault();
        grid.menu(node, event.clientX, event.clientY);
      }}
    >
      {grid.figures(tree, node)}
      <span role="gridcell" class="name" title={label()} style={{ "padding-left": `${Math.min(level, DEEPEST) * INDENT}px` }}>
        <span
          class="twist" aria-hidden="true" classList={{ open: isOpen(), leaf }}
          onClick={(event) => {
            event.stopPropagation();
            props.toggle();
          }}
        />
        {grid.swatch?.(frame)}
        <span class="text">{label()}</span>
        <span class="quiet">{frame.kind === "group" || frame.kind === "folded" ? "" : baseName(frame.binary)}</span>
      </span>
    </div>
  );
}
