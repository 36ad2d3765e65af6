/** The functions of the selection as a table. */

import { For, type JSX, Show, createMemo, createSignal } from "solid-js";
import { baseName, kindName } from "../flame/names";
import { cores, share } from "../format/number";
import { TableEnd, createLimit } from "../shell/more";
import { FrameSwatch } from "../shell/swatch";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { TOP_ROWS, type TopRows } from "../state/url";
import { type SortKey, sortRows, topRows } from "./table";

const COLUMNS: { key: SortKey; name: string; figure: boolean }[] = [
  { key: "self", name: "Self", figure: true },
  { key: "total", name: "Total", figure: true },
  { key: "name", name: "", figure: false },
  { key: "binary", name: "Binary", figure: false },
];
const ROW_NAMES: Record<TopRows, string> = { function: "Function", file: "File", binary: "Binary", package: "Package" };
/** Rows put on the page at a time. */
const PAGE = 200;

export function TopTable(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const [sort, setSort] = createSignal<{ key: SortKey; down: boolean }>({ key: "self", down: true });
  const limited = createLimit(PAGE);
  const by = () => explore.view().topRows;
  const columns = () => (by() === "function" ? COLUMNS : COLUMNS.slice(0, 3));
  const rows = createMemo(() => {
    const tree = explore.graph()?.tree;
    if (!tree) return [];
    const query = explore.search();
    const all = topRows(tree, by(), explore.zoomNode());
    const found = query && "test" in query ? all.filter((row) => query.test({ ...row.frame, name: row.name })) : all;
    return sortRows(found, sort().key, sort().down);
  });
  const all = () => explore.graph()?.tree.total[0] || 1;
  const choose = (key: SortKey, figure: boolean) =>
    setSort((before) => ({ key, down: before.key === key ? !before.down : figure }));
  return (
    <div class="top" id="graph">
      <div class="segments words" role="group" aria-label="A row is a">
        <For each={TOP_ROWS}>
          {(name) => (
            <button type="button" aria-pressed={by() === name} onClick={() => explore.update({ topRows: name }, true)}>{ROW_NAMES[name]}</button>
          )}
        </For>
      </div>
      <table>
        <caption class="unseen">{ROW_NAMES[by()]} by self and total time; a recursive call counts once in the total</caption>
        <thead>
          <tr>
            <For each={columns()}>
              {({ key, name, figure }) => (
                <th
                  scope="col" classList={{ figure }}
                  aria-sort={sort().key === key ? (sort().down ? "descending" : "ascending") : "none"}
                >
                  <button type="button" onClick={() => choose(key, figure)}>{name || ROW_NAMES[by()]}</button>
                </th>
              )}
            </For>
          </tr>
        </thead>
        <tbody>
          <For each={rows().slice(0, limited.limit())}>
            {(row) => (
              <tr
                data-function={row.name} aria-selected={explore.selectedNode() === row.node && row.node > 0}
                onClick={() => explore.select(row.node)}
                onContextMenu={(event) => {
                  event.preventDefault();
                  explore.select(row.node);
                  explore.setMenu({ node: row.node, x: event.clientX, y: event.clientY });
                }}
              >
                <td class="figure"><Cell samples={row.self} all={all()} explore={explore} /></td>
                <td class="figure"><Cell samples={row.total} all={all()} explore={explore} /></td>
                <td class="name" title={row.name}>
                  <FrameSwatch frame={row.frame} dark={props.theme.dark()} coloring={explore.view().coloring} />
                  <button type="button">{row.name}</button>
                </td>
                <Show when={by() === "function"}>
                  <td class="binary" title={row.binary}>{baseName(row.binary) || kindName(row.frame.kind)}</td>
                </Show>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <TableEnd rows={rows().length} limited={limited} known={explore.graph() !== undefined} />
    </div>
  );
}

function Cell(props: { samples: number; all: number; explore: Explore }): JSX.Element {
  return (
    <>
      <span class="cores">{cores(props.explore.coresOf(props.samples))}</span>
      <span class="part">{share(props.samples / props.all)}</span>
      <span class="track" aria-hidden="true"><i style={{ width: `${(props.samples / props.all) * 100}%` }} /></span>
    </>
  );
}
