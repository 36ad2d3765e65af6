/** A comparison as tables: functions by self or total time, and the call tree. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on, untrack } from "solid-js";
import { baseName, frameLabel } from "../flame/names";
import { matching, targetOf } from "../flame/transform";
import { frameOf, widestOf } from "../flame/tree";
import { thousands } from "../format/number";
import { createSize } from "../shell/canvas";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { type Open, isLeaf, moved, opened, openedHeaviest, rowsOf, toggled } from "../tree/rows";
import { DiffHalf } from "./half";
import { comparedHalves } from "./halves";
import type { Comparison } from "./state";
import { type FunctionRow, functionRows } from "./union";
import { writeChange, writeValue } from "./view";

interface Props {
  explore: Explore;
  comparison: Comparison;
  theme: ThemeState;
}

const PAGE = 200;
const ROW = 24;
const MARGIN = 8;
const INDENT = 14;
const DEEPEST = 40;

type SortKey = "self" | "selfB" | "total" | "totalB" | "name";
const KEYS: [SortKey, string][] = [["self", "Self, change"], ["selfB", "A → B"], ["total", "Total, change"], ["totalB", "A → B"], ["name", "Function"]];

/** Functions by how much their self and total times differ. */
export function DiffTop(props: Props): JSX.Element {
  const { explore, comparison } = props;
  const [sort, setSort] = createSignal<SortKey>("total");
  const [limit, setLimit] = createSignal(PAGE);
  const rows = createMemo(() => {
    const compared = comparison.compared();
    const exposure = comparison.exposure();
    if (!compared || !exposure) return [];
    const query = explore.search();
    const found = functionRows(compared, exposure).filter((row) => !query || !("test" in query) || query.test(row.frame));
    // What is no more than chance comes last.
    const far = (real: boolean, a: number, b: number) => (real ? Math.abs(b - a) : 0);
    const orders: Record<SortKey, (x: FunctionRow, y: FunctionRow) => number> = {
      self: (x, y) => far(y.selfReal, y.selfA, y.selfB) - far(x.selfReal, x.selfA, x.selfB), selfB: (x, y) => y.selfB - x.selfB,
      total: (x, y) => far(y.totalReal, y.totalA, y.totalB) - far(x.totalReal, x.totalA, x.totalB), totalB: (x, y) => y.totalB - x.totalB,
      name: (x, y) => (x.frame.name < y.frame.name ? -1 : 1),
    };
    return found.sort(orders[sort()]);
  });
  const change = (real: boolean, a: number, b: number) => (real ? writeChange(comparison.asShares())(a, b) : a + b > 0 ? "≈" : "");
  const value = () => writeValue(comparison.asShares());
  const pick = (row: FunctionRow) => explore.update({ selected: comparison.compared()?.tree.path[row.node] ?? 0 }, true);
  return (
    <div class="top difftop" id="graph">
      <table>
        <caption class="unseen">Functions of both sides by how much they differ</caption>
        <thead>
          <tr>
            <For each={KEYS}>
              {([key, name]) => (
                <th scope="col" classList={{ figure: key !== "name" }} aria-sort={sort() === key ? (key === "name" ? "ascending" : "descending") : "none"}>
                  <button type="button" onClick={() => setSort(key)}>{name}</button>
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody>
          <For each={rows().slice(0, limit())}>
            {(row) => (
              <tr data-function={row.frame.name} aria-selected={comparison.selectedNode() === row.node} onClick={() => pick(row)}>
                <td class="figure">{change(row.selfReal, row.selfA, row.selfB)}</td>
                <td class="figure quiet">{row.selfA + row.selfB > 0 ? `${value()(row.selfA)} → ${value()(row.selfB)}` : ""}</td>
                <td class="figure">{change(row.totalReal, row.totalA, row.totalB)}</td>
                <td class="figure quiet">{value()(row.totalA)} → {value()(row.totalB)}</td>
                <td class="name" title={row.frame.name}><button type="button">{row.frame.name}</button> <span class="quiet">{baseName(row.frame.binary)}</span></td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <Show when={rows().length > limit()}>
        <button type="button" class="link more" onClick={() => setLimit(limit() + PAGE)}>Show {Math.min(PAGE, rows().length - limit())} more of {thousands(rows().length)}</button>
      </Show>
      <Show when={rows().length === 0 && comparison.compared()}><p class="note">Nothing matches.</p></Show>
    </div>
  );
}

/** The call tree of both sides; what is no more than chance says so. */
export function DiffTree(props: Props): JSX.Element {
  const { explore, comparison } = props;
  let body!: HTMLDivElement;
  const size = createSize(() => body);
  const [open, setOpen] = createSignal<Open>(new Set());
  const [scroll, setScroll] = createSignal(0);
  const tree = () => comparison.compared()?.tree;
  const rows = createMemo(() => {
    const shown = tree();
    return shown ? rowsOf(shown, open()) : [];
  });
  const selected = createMemo(() => (rows().includes(comparison.selectedNode()) ? comparison.selectedNode() : 0));
  const first = () => Math.max(0, Math.floor(scroll() / ROW) - MARGIN);
  const seen = createMemo(() => rows().slice(first(), Math.ceil((scroll() + size().height) / ROW) + MARGIN));
  createEffect(on([tree, comparison.selectedNode], () => {
    const shown = tree();
    if (!shown) return;
    const before = untrack(open);
    setOpen(opened(shown, before.size ? before : openedHeaviest(shown, before, 0), comparison.selectedNode()));
  }));
  const select = (node: number) => explore.update({ selected: node > 0 ? (tree()?.path[node] ?? 0) : 0 }, true);
  const onKey = (event: KeyboardEvent) => {
    const shown = tree();
    if (!shown || event.ctrlKey || event.metaKey || event.altKey) return;
    const move = moved(shown, rows(), open(), selected(), event.key, Math.floor(size().height / ROW) - 1);
    if (!move) return;
    if ("to" in move) select(move.to);
    else setOpen(move.open);
    event.preventDefault();
  };
  const change = () => writeChange(comparison.asShares());
  const value = () => writeValue(comparison.asShares());
  return (
    <div class="calltree difftree" id="graph">
      <div
        role="treegrid" aria-label="Call tree of both sides" aria-rowcount={rows().length + 1} aria-colcount="4" tabindex="0" onKeyDown={onKey}
        aria-activedescendant={seen().includes(selected()) ? `call-${selected()}` : undefined}
      >
        <div role="row" class="head" aria-rowindex="1">
          <span role="columnheader">Change</span><span role="columnheader">A</span><span role="columnheader">B</span><span role="columnheader">Function</span>
        </div>
        <div class="body" role="rowgroup" tabindex="0" ref={body} onScroll={() => setScroll(body.scrollTop)}>
          <div role="presentation" style={{ height: `${first() * ROW}px` }} />
          <For each={seen()}>
            {(node, i) => {
              const compared = comparison.compared()!;
              const frame = frameOf(compared.tree, node);
              const [a, b] = [compared.a[node] as number, compared.b[node] as number];
              const leaf = isLeaf(compared.tree, node);
              const isOpen = () => open().has(compared.tree.path[node] as number);
              const level = compared.tree.depth[node] as number;
              return (
                <div
                  role="row" id={`call-${node}`} aria-rowindex={first() + i() + 2} aria-level={level + 1} aria-selected={selected() === node}
                  aria-expanded={leaf ? undefined : isOpen()} data-name={frame.name} onClick={() => select(node)} onDblClick={() => setOpen(toggled(compared.tree, open(), node))}
                >
                  <span role="gridcell" class="number" classList={{ quiet: !compared.real[node] }}>{compared.real[node] ? change()(a, b) : "≈"}</span>
                  <span role="gridcell" class="number">{value()(a)}</span>
                  <span role="gridcell" class="number">{value()(b)}</span>
                  <span role="gridcell" class="name" style={{ "padding-left": `${Math.min(level, DEEPEST) * INDENT}px` }}>
                    <span
                      class="twist" aria-hidden="true" classList={{ open: isOpen(), leaf }}
                      onClick={(event) => {
                        event.stopPropagation();
                        setOpen(toggled(compared.tree, open(), node));
                      }}
                    />
                    <span class="text">{frameLabel(frame, "A and B")}</span>
                    <span class="quiet">{frame.kind === "group" ? "" : baseName(frame.binary)}</span>
                  </span>
                </div>
              );
            }}
          </For>
          <div role="presentation" style={{ height: `${Math.max(0, rows().length - first() - seen().length) * ROW}px` }} />
        </div>
      </div>
    </div>
  );
}

/** Who calls the selected function on both sides, and what it calls. */
export function DiffSandwich(props: Props): JSX.Element {
  const { explore, comparison } = props;
  const halves = createMemo(() => {
    const compared = comparison.compared();
    const node = comparison.selectedNode();
    const exposure = comparison.exposure();
    if (!compared || !exposure || node <= 0 || node >= compared.tree.count) return undefined;
    const { frames, frame } = compared.tree;
    return comparedHalves(compared, matching(frames, targetOf(frames, frame[node] as number)), exposure);
  });
  const pick = (of: "callers" | "callees") => (node: number) => {
    const half = halves()?.[of].tree;
    const tree = comparison.compared()?.tree;
    const to = half && tree ? widestOf(tree, half.frames.hash(half.frame[node] as number)) : -1;
    if (to > 0) explore.update({ selected: tree?.path[to] ?? 0 }, true);
  };
  return (
    <div class="sandwich" id="graph">
      <Show when={halves()} fallback={<p class="note">Select a function, in the graph or in a table: this is where its callers and what it calls will stand.</p>}>
        {(found) => (
          <>
            <p class="caption" aria-hidden="true">callers ↑</p>
            <DiffHalf
              explore={explore} comparison={comparison} theme={props.theme} compared={found().callers} orientation="flame" rootless={false}
              label="Callers of the function, the function at the bottom" onPick={pick("callers")}
            />
            <DiffHalf
              explore={explore} comparison={comparison} theme={props.theme} compared={found().callees} orientation="icicle" rootless
              label="What the function calls" onPick={pick("callees")}
            />
            <p class="caption below" aria-hidden="true">callees ↓</p>
          </>
        )}
      </Show>
    </div>
  );
}
