/** The groups of the time line with their cores; a click filters. */

import { For, type JSX, Show, createMemo } from "solid-js";
import { cores, thousands } from "../format/number";
import { Swatch } from "../shell/swatch";
import type { Explore } from "../state/explore";
import { equalityOf } from "../state/selector";
import type { ThemeState } from "../state/theme";

export function Legend(props: { explore: Explore; theme: ThemeState }): JSX.Element {
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
  return (
    <table class="legend">
      <caption class="unseen">Mean cores in the range, by {by()}; choose a row to filter by it</caption>
      <thead>
        <tr>
          <th scope="col">{by()}</th>
          <th scope="col">cores</th>
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
                    <Swatch value="" other dark={props.theme.dark()} />
                    {thousands(explore.series()?.others ?? 0)} others
                  </td>
                  <td>{mean("other")}</td>
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
                    <Swatch value={key.slice(1)} other={false} dark={props.theme.dark()} />
                    <span class="name">{key.slice(1) || "(none)"}</span>
                  </button>
                </td>
                <td>{mean(key.slice(1))}</td>
              </tr>
            </Show>
          )}
        </For>
      </tbody>
    </table>
  );
}
