/** A comparison as tables: functions by self or total time, and the call tree. */

import { For, type JSX, createMemo, createSignal } from "solid-js";
import { baseName, frameLabel } from "../flame/names";
import { matching, targetOf } from "../flame/transform";
import { type FlameTree, widestOf } from "../flame/tree";
import { SandwichFrame } from "../sandwich/frame";
import { TableEnd, createLimit } from "../shell/more";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { TreeGrid } from "../tree/grid";
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

type SortKey = "self" | "selfB" | "total" | "totalB" | "name";
const KEYS: [SortKey, string][] = [["self", "Self, change"], ["selfB", "A → B"], ["total", "Total, change"], ["totalB", "A → B"], ["name", "Function"]];

/** Functions by how much their self and total times differ. */
export function DiffTop(props: Props): JSX.Element {
  const { explore, comparison } = props;
  const [sort, setSort] = createSignal<SortKey>("total");
  const limited = createLimit(PAGE);
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
          <For each={rows().slice(0, limited.limit())}>
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
      <TableEnd rows={rows().length} limited={limited} known={comparison.compared() !== undefined} />
    </div>
  );
}

/** The call tree of both sides; what is no more than chance says so. */
export function DiffTree(props: Props): JSX.Element {
  const { explore, comparison } = props;
  const tree = () => comparison.compared()?.tree;
  const change = () => writeChange(comparison.asShares());
  const value = () => writeValue(comparison.asShares());
  return (
    <TreeGrid
      class="difftree" label="Call tree of both sides" heads={["Change", "A", "B", "Function"]} tree={tree()} top={0} selectedNode={comparison.selectedNode()}
      select={(node) => explore.update({ selected: node > 0 ? (tree()?.path[node] ?? 0) : 0 }, true)} fallback={() => 0}
      nameOf={(frame) => frameLabel(frame, "A and B")}
      figures={(_, node) => {
        const compared = comparison.compared()!;
        const [a, b] = [compared.a[node] as number, compared.b[node] as number];
        return (
          <>
            <span role="gridcell" class="number" classList={{ quiet: !compared.real[node] }}>{compared.real[node] ? change()(a, b) : "≈"}</span>
            <span role="gridcell" class="number">{value()(a)}</span>
            <span role="gridcell" class="number">{value()(b)}</span>
          </>
        );
      }}
    />
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
  const pick = (half: FlameTree) => (node: number) => {
    const tree = comparison.compared()?.tree;
    const to = tree ? widestOf(tree, half.frames.hash(half.frame[node] as number)) : -1;
    if (to > 0) explore.update({ selected: tree?.path[to] ?? 0 }, true);
  };
  return (
    <SandwichFrame
      halves={halves()}
      half={(of, place) => (
        <DiffHalf {...place} explore={explore} comparison={comparison} theme={props.theme} compared={of()} onPick={pick(of().tree)} />
      )}
    />
  );
}
