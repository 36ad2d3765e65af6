/** The groups of the time line with their cores; a click filters. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { changeText, cores, thousands } from "../format/number";
import { Swatch } from "../shell/swatch";
import { pValue } from "../compare/stats";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import { equalityOf } from "../state/selector";
import type { ThemeState } from "../state/theme";

export function Legend(props: { explore: Explore; history: History; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  // Top of the stack first. Keyed by value, so that a live update does not take the focus away.
  const values = createMemo(
    () => [...(explore.series()?.layers ?? [])].reverse().map((layer) => (layer.other ? "" : `=${layer.value}`)),
    [],
    { equals: (a, b) => a.length === b.length && a.every((value, i) => value === b[i]) },
  );
  const by = () => explore.view().by;
  const pinned = () => equalityOf(explore.view().query, by());
  const mean = (value: string) => cores(explore.means().get(value) ?? 0);
  /** Samples that a mean stands for: changes that are no more than chance are not told. */
  const samples = (value: number) => {
    const { from, until } = explore.draft() ?? explore.range();
    return Math.round((value * (until - from) * 1e6) / (explore.series()?.periodNs || 1));
  };
  const against = (value: string) => {
    const before = props.history.baselineMeans();
    if (!before) return "";
    const [a, b] = [before.get(value) ?? 0, explore.means().get(value) ?? 0];
    const real = pValue(samples(a), samples(b), { a: 1, b: 1 }) < 0.05 && Math.abs(b - a) >= 0.005;
    return real ? changeText(b - a) : "≈";
  };
  const baselineName = () => ({ yesterday: "yesterday", week: "last week", median: "median day" })[explore.view().baseline as string] ?? "pin";
  return (
    <table class="legend">
      <caption class="unseen">Mean cores in the range, by {by()}; choose a row to filter by it</caption>
      <thead>
        <tr>
          <th scope="col">{by()}</th>
          <th scope="col">cores</th>
          <Show when={props.history.baselineMeans()}><th scope="col">vs {baselineName()}</th></Show>
        </tr>
      </thead>
      <tbody>
        <For each={values()}>
          {(key) => (
            <Show
              when={key}
              fallback={
                <tr class="others">
                  <td>
                    <Swatch value="" other dark={props.theme.dark()} ranked={undefined} />
                    {thousands(explore.series()?.others ?? 0)} others
                  </td>
                  <td>{mean("other")}</td>
                  <Show when={props.history.baselineMeans()}><td /></Show>
                </tr>
              }
            >
              <tr data-value={key.slice(1)}>
                <td>
                  <button
                    type="button" aria-pressed={pinned() === key.slice(1)}
                    title={pinned() === key.slice(1) ? "Show all again" : `Only ${by()} ${key.slice(1)}`}
                    onClick={() => explore.toggleFilter(by(), key.slice(1))}
                  >
                    <Swatch value={key.slice(1)} other={false} dark={props.theme.dark()} ranked={explore.ranked()} />
                    <span class="name">{key.slice(1) || "(none)"}</span>
                  </button>
                </td>
                <td>{mean(key.slice(1))}</td>
                <Show when={props.history.baselineMeans()}><td classList={{ quiet: against(key.slice(1)) === "≈" }}>{against(key.slice(1))}</td></Show>
              </tr>
            </Show>
          )}
        </For>
      </tbody>
    </table>
  );
}
