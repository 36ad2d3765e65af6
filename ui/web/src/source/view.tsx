/** The source file of the selected function, with the samples of each line. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on } from "solid-js";
import { fetchSource } from "../api/client";
import { frameOf } from "../flame/tree";
import { cores, share, thousands } from "../format/number";
import { createAsked } from "../state/asked";
import type { Explore } from "../state/explore";
import { isSkip, sourceRows } from "./lines";

/** Rows put on the page: beyond it a file is a list that nobody reads. */
const MOST = 5000;

export function SourceView(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const frame = createMemo(() => {
    const tree = explore.graph()?.tree;
    const node = explore.selectedNode();
    return tree && node > 0 && node < tree.count ? frameOf(tree, node) : undefined;
  });
  const file = createMemo(() => frame()?.file ?? "");
  const { answer, error } = createAsked(explore, () => {
    const graph = explore.graph();
    const { query } = explore.view();
    const wanted = file();
    if (!graph || !wanted) return undefined;
    const { parts } = explore.picked();
    const at = { query, parts, from: graph.answer.from_ms, until: graph.answer.until_ms };
    return { key: wanted, ask: (signal: AbortSignal) => fetchSource(at, wanted, signal) };
  });
  const [whole, setWhole] = createSignal(false);
  const rows = createMemo(() => {
    const found = answer();
    return found ? sourceRows(found, whole()).slice(0, MOST) : [];
  });
  const most = () => Math.max(1, ...(answer()?.lines.map((line) => line.total) ?? []));
  let body!: HTMLTableSectionElement;
  // The line the selected function was seen at; of a long file it is what somebody came for.
  createEffect(
    on(() => answer()?.file, (shown) => {
      if (shown) body.querySelector(`[data-line="${frame()?.line ?? 0}"]`)?.scrollIntoView({ block: "center" });
    }),
  );
  return (
    <div class="source" id="graph">
      <Show
        when={file()}
        fallback={<p class="note">{frame() ? `No source file is known for ${frame()!.name.slice(0, 200)}: its binary has no line information.` : "Select a function, in the graph or in a table: its source will stand here."}</p>}
      >
        <header>
          <b class="mono">{file()}</b>
          <Show when={answer()}>
            {(found) => (
              <span class="quiet">
                {share(found().in_file / (found().samples || 1))} of all samples have it in their stack
                <Show when={found().text === null}>. {found().reason}</Show>
              </span>
            )}
          </Show>
          <Show when={answer()?.text && rows().some(isSkip)}>
            <button type="button" class="link" onClick={() => setWhole(true)}>Whole file</button>
          </Show>
        </header>
        <table>
          <caption class="unseen">Lines of {file()} with their samples</caption>
          <thead>
            <tr>
              <th scope="col" class="figure">Self</th>
              <th scope="col" class="figure">Total</th>
              <th scope="col" class="figure">Line</th>
              <th scope="col">Source</th>
            </tr>
          </thead>
          <tbody ref={body}>
            <For each={rows()}>
              {(row) =>
                isSkip(row) ? (
                  <tr class="skip"><td colspan="4">lines {thousands(row.from)} to {thousands(row.until)}</td></tr>
                ) : (
                  <tr data-line={row.line} data-total={row.total} classList={{ here: row.line > 0 && row.line === frame()?.line }}>
                    <td class="figure"><Show when={row.self}>{cores(explore.coresOf(row.self))}</Show></td>
                    <td class="figure">
                      <Show when={row.total}>
                        <i class="weight" aria-hidden="true" style={{ width: `${(row.total / most()) * 100}%` }} />
                        <span>{share(row.total / (answer()?.samples || 1))}</span>
                      </Show>
                    </td>
                    <td class="figure quiet">{row.line || "?"}</td>
                    <td class="mono">{row.text ?? (row.line ? "" : "line not known")}</td>
                  </tr>
                )
              }
            </For>
          </tbody>
        </table>
        <Show when={error()}>{(why) => <p class="note" role="alert">{why()}</p>}</Show>
      </Show>
    </div>
  );
}
