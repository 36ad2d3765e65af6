/** Functions by how much their self time has surely changed. */

import { For, type JSX, Show, createMemo, createSignal } from "solid-js";
import { baseName } from "../flame/names";
import { thousands } from "../format/number";
import type { Explore } from "../state/explore";
import type { Comparison } from "./state";
import type { Growth } from "./union";
import { writeChange, writeValue } from "./view";

/** Rows shown at first, and with each further step. */
const PAGE = 60;

export function GrowthTable(props: { explore: Explore; comparison: Comparison }): JSX.Element {
  const { comparison, explore } = props;
  const [shown, setShown] = createSignal(PAGE);
  const rows = createMemo(() => comparison.rows().slice(0, shown()));
  const reach = createMemo(() => Math.max(1e-9, ...comparison.rows().slice(0, 200).map(({ low, high }) => Math.max(Math.abs(low), Math.abs(high)))));
  // Zero stands where there is room for what shrank.
  const least = createMemo(() => Math.min(-reach() * 0.12, ...comparison.rows().slice(0, 200).map(({ low }) => low)));
  const most = createMemo(() => Math.max(reach() * 0.12, ...comparison.rows().slice(0, 200).map(({ high }) => high)));
  const place = (value: number) => `${(100 * (value - least())) / (most() - least())}%`;
  const change = () => writeChange(comparison.asShares());
  const value = () => writeValue(comparison.asShares());
  return (
    <aside class="growth" aria-label="What grew and what shrank">
      <table>
        <thead>
          <tr>
            <th scope="col">Self time of function</th>
            <th scope="col" class="interval">95 % interval</th>
            <th scope="col" class="figure">change</th>
            <th scope="col" class="figure">A</th>
            <th scope="col" class="figure">B</th>
          </tr>
        </thead>
        <tbody>
          <For each={rows()}>
            {(row) => (
              <tr data-function={row.name} data-real={row.real} classList={{ noise: !row.real }} aria-selected={explore.view().search === row.name}>
                <td>
                  <button
                    type="button" class="name" title={`${row.name}\n${row.binary}`}
                    onClick={() => explore.update({ search: explore.view().search === row.name ? "" : row.name }, true)}
                  >
                    {row.name}
                  </button>
                  <small>{baseName(row.binary) || row.kind}</small>
                </td>
                <td class="interval" aria-label={`from ${change()(0, row.low)} to ${change()(0, row.high)}`}>
                  <Interval row={row} place={place} />
                </td>
                <td class="figure">{row.real ? change()(row.a, row.b) : "≈"}</td>
                <td class="figure">{value()(row.a)}</td>
                <td class="figure">{value()(row.b)}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <p class="caption">
        <Show when={comparison.rows().length > shown()}>
          <button type="button" class="link" onClick={() => setShown((n) => n + PAGE * 4)}>Show more</button>{" "}
        </Show>
        <Show when={comparison.compared()}>Corrected for {thousands(comparison.rows().length)} functions compared (false discovery rate 5 %). Open dot: within noise.</Show>
        <Show when={comparison.both()?.pruned}>{(samples) => <> {thousands(samples())} samples lie in frames too small to send.</>}</Show>
      </p>
    </aside>
  );
}

function Interval(props: { row: Growth; place: (value: number) => string }): JSX.Element {
  return (
    <span class="range-line" aria-hidden="true">
      <i class="zero" style={{ left: props.place(0) }} />
      <i class="bar" style={{ left: props.place(props.row.low), right: `calc(100% - ${props.place(props.row.high)})` }} />
      <i class="dot" classList={{ less: props.row.change < 0, open: !props.row.real }} style={{ left: props.place(props.row.change) }} />
    </span>
  );
}
