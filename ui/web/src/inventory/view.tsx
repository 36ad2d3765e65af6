/** Everything that ever ran, as far as the store goes back: programs with their presence over time, and the code they ran. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { ApiError, Latest, fetchFlameBytes, fetchTimeline } from "../api/client";
import { readAnswer } from "../flame/columns";
import { baseName } from "../flame/names";
import { count, share } from "../format/number";
import { clock, day, duration, hourMinute } from "../format/time";
import { TableEnd, createLimit } from "../shell/more";
import type { Explore } from "../state/explore";
import { withEquality } from "../state/selector";
import { type InventoryRow, inventoryOf } from "./rows";

/** Columns of a strip, programs asked for, and nodes that files are read from. */
const COLUMNS = 120;
const PROGRAMS = 100;
const NODES = 60_000;
/** Rows put on the page at a time. */
const PAGE = 150;
/** The live end is read again this often. */
const EVERY = 30_000;

export function Inventory(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const [rows, setRows] = createSignal<InventoryRow[]>();
  const [refused, setRefused] = createSignal("");
  const [filter, setFilter] = createSignal("");
  const limited = createLimit(PAGE);
  const [turn, setTurn] = createSignal(0);
  const requests = new Latest();
  const span = () => {
    const data = explore.status()?.data;
    return data?.from_ms == null || data.until_ms == null ? undefined : { from: data.from_ms, until: data.until_ms };
  };
  const load = async () => {
    const all = span();
    if (!all) return;
    const { query } = explore.view();
    const step = Math.max(1000, Math.ceil((all.until - all.from) / COLUMNS / 1000) * 1000);
    const from = Math.floor(all.from / step) * step;
    try {
      const found = await requests.run(async (signal) => {
        const timeline = await fetchTimeline({ query, from, until: from + Math.ceil((all.until - from) / step) * step }, "exe", step, PROGRAMS, signal);
        const { tree, facts } = readAnswer(await fetchFlameBytes({ query, ...all }, "host", NODES, signal));
        return inventoryOf(timeline, tree, facts.period_ns);
      });
      if (!found) return;
      setRows(found);
      setRefused("");
    } catch (error) {
      setRefused(error instanceof ApiError ? [error.message, error.detail].filter(Boolean).join(": ") : String(error));
    }
  };
  const key = createMemo(() => span() && JSON.stringify([explore.view().query, turn()]));
  createEffect(on(key, (wanted) => wanted && void load()));
  const timer = setInterval(() => !document.hidden && !requests.busy && setTurn((n) => n + 1), EVERY);
  onCleanup(() => {
    clearInterval(timer);
    requests.cancel();
  });

  const found = createMemo(() => {
    const wanted = filter().trim().toLowerCase();
    return (rows() ?? []).filter(({ path, package: name, buildIds, hosts }) => [path, name, ...buildIds, ...hosts].some((text) => text.toLowerCase().includes(wanted)));
  });
  const show = (row: InventoryRow) => {
    const { query } = explore.view();
    if (row.program && row.first !== undefined && row.last !== undefined) {
      explore.update({ page: "explore", query: withEquality(query, "exe", row.path), range: { live: false, from: row.first, until: row.last }, window: null, tab: "flame", search: "", zoom: 0, selected: 0 });
    } else {
      const all = span();
      explore.update({ page: "explore", tab: "flame", search: row.path, zoom: 0, selected: 0, ...(all ? { range: { live: false, from: Math.floor(all.from / 1000) * 1000, until: Math.ceil(all.until / 1000) * 1000 }, window: null } : {}) });
    }
  };
  return (
    <main class="listing">
      <header>
        <h1>Inventory</h1>
        <p role="status">
          <Show when={rows()} fallback={refused() ? "" : "Reading all of history…"}>
            {(all) => <>{count(all().filter(({ program }) => program).length, "program")} and {count(all().filter(({ program }) => !program).length, "other file")} used CPU since {since(span()?.from ?? 0, explore.now())}</>}
          </Show>
        </p>
        <input type="text" aria-label="Filter" placeholder="Path, package, host or build ID" spellcheck={false} value={filter()} onInput={(event) => setFilter(event.currentTarget.value)} />
      </header>
      <Show when={refused()}><p class="failure" role="alert">{refused()}</p></Show>
      <div class="scroll" tabindex="0" role="region" aria-label="What ran">
        <table>
          <caption class="unseen">Files that code ran from, programs first, by CPU time</caption>
          <thead>
            <tr>
              <th scope="col">File</th><th scope="col" class="wide">Package</th><th scope="col" class="number">CPU time</th><th scope="col" class="strip-column">Presence</th>
              <th scope="col" class="wide">First seen</th><th scope="col" class="wide">Last seen</th><th scope="col" class="wide">Hosts</th><th scope="col" class="wide number">Named</th><th scope="col" class="wide">Build ID</th>
            </tr>
          </thead>
          <tbody>
            <For each={found().slice(0, limited.limit())}>
              {(row) => (
                <tr data-path={row.path} data-program={row.program}>
                  <th scope="row" title={row.path}><button type="button" class="link" onClick={() => show(row)}>{baseName(row.path)}</button> <span class="quiet wide">{row.path}</span></th>
                  <td class="wide">{row.package}</td>
                  <td class="number">{row.seconds < 1 ? "<1 s" : duration(row.seconds * 1000)}</td>
                  <td class="strip-column"><Show when={row.program} fallback={<span class="quiet">in programs</span>}><Presence samples={row.presence} /></Show></td>
                  <td class="wide">{row.first === undefined ? "" : since(row.first, explore.now())}</td>
                  <td class="wide">{row.last === undefined ? "" : since(Math.min(row.last, explore.now()), explore.now())}</td>
                  <td class="wide" data-hosts={row.hosts.length} title={row.hosts.join("\n")}>{row.hosts.length > 1 ? count(row.hosts.length, "host") : row.hosts[0]}</td>
                  <td class="wide number">{row.named === undefined ? "" : share(row.named)}</td>
                  <td class="wide mono" title={row.buildIds.join("\n")}>{row.buildIds[0]?.slice(0, 12)}{row.buildIds.length > 1 ? ` +${row.buildIds.length - 1}` : ""}</td>
                </tr>
              )}
            </For>
          </tbody>
        </table>
        <TableEnd rows={found().length} limited={limited} known={rows() !== undefined} />
      </div>
    </main>
  );
}

/** `Today 02:14`. */
const since = (ms: number, now: number) => `${day(ms, now)} ${now - ms < 3_600_000 ? clock(Math.floor(ms / 1000) * 1000) : hourMinute(ms)}`;

function Presence(props: { samples: readonly number[] }): JSX.Element {
  const most = () => Math.max(1, ...props.samples);
  const here = () => props.samples.filter((samples) => samples > 0).length;
  return (
    <svg class="strip" viewBox={`0 0 ${props.samples.length} 16`} preserveAspectRatio="none" role="img" aria-label={`Used CPU in ${here()} of ${props.samples.length} steps`}>
      <For each={props.samples}>
        {(samples, i) => <Show when={samples}><rect x={i()} width="1" y={16 - Math.max(2, (samples / most()) * 16)} height={Math.max(2, (samples / most()) * 16)} /></Show>}
      </For>
    </svg>
  );
}
