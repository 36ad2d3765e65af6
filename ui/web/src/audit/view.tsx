/** Every BPF program on the machine: who loaded it, where it is attached, and what it costs. Vesta's own are marked. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { ApiError, Latest, fetchProgramHistory, fetchPrograms } from "../api/client";
import type { ProgramsAnswer } from "../api/types";
import { bytes, count, thousands } from "../format/number";
import { day, duration, hourMinute } from "../format/time";
import type { Explore } from "../state/explore";
import { type Past, notLoaded, pastOf, pastOfProgram, stepsOf } from "./past";
import { type Rated, rated } from "./rates";

const EVERY = 2000;
/** What was is asked for again when this much has been added to it. */
const PAST_EVERY = 30_000;

export function Audit(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const [rows, setRows] = createSignal<Rated[]>();
  const [refused, setRefused] = createSignal("");
  const requests = new Latest();
  let before: ProgramsAnswer | undefined;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout>;
  const look = async () => {
    try {
      const now = document.hidden ? undefined : await requests.run((signal) => fetchPrograms(signal));
      if (now?.programs === null) setRefused("No agent runs in this process: only one knows the machine's BPF programs");
      if (now?.programs) {
        const known = new Map((rows() ?? []).map((row) => [row.program.id, row]));
        setRows(rated(now, before, known).sort((a, b) => (b.cpu ?? -1) - (a.cpu ?? -1) || a.program.id - b.program.id));
        before = now;
        setRefused("");
      }
    } catch (error) {
      setRefused(error instanceof ApiError ? [error.message, error.detail].filter(Boolean).join(": ") : String(error));
    }
    if (!stopped) timer = setTimeout(look, EVERY);
  };
  void look();
  onCleanup(() => {
    stopped = true;
    clearTimeout(timer);
    requests.cancel();
  });
  const { past, span } = createPast(explore);
  const host = () => explore.status()?.host ?? "";
  const gone = createMemo(() => notLoaded(past() ?? [], host(), (rows() ?? []).map(({ program }) => program)));
  const when = (ms: number) => `${day(ms, explore.now())} ${hourMinute(ms)}`;
  const cpu = () => (rows() ?? []).reduce((sum, row) => sum + (row.cpu ?? 0), 0);
  const own = () => (rows() ?? []).filter(({ program }) => program.own).length;
  return (
    <main class="listing">
      <header>
        <h1>Audit</h1>
        <p role="status">
          <Show when={rows()} fallback={refused() ? "" : "Asking the kernel…"}>
            {(all) => <>{count(all().length, "BPF program")} on {explore.status()?.host ?? "this machine"}, {own()} of them Vesta's; together {percent(cpu())} of a CPU</>}
          </Show>
        </p>
      </header>
      <Show when={refused()}><p class="failure" role="alert">{refused()}</p></Show>
      <div class="scroll" tabindex="0" role="region" aria-label="BPF programs">
        <table>
          <caption class="unseen">BPF programs by the CPU time they take</caption>
          <thead>
            <tr>
              <th scope="col">Program</th><th scope="col">Type</th><th scope="col" class="wide">Attached</th><th scope="col" class="wide">Held by</th><th scope="col" class="wide">Loaded</th>
              <th scope="col" class="number wide">Runs a second</th><th scope="col" class="number wide">ns a run</th><th scope="col" class="number">Of a CPU</th><th scope="col" class="strip-column wide" title="The share of one CPU, as it was stored every few seconds">{span() ? `Last ${duration(Math.max(60_000, Math.round(span()! / 60_000) * 60_000))}` : "Over time"}</th>
              <th scope="col" class="number wide">Maps</th><th scope="col" class="wide">Tag</th>
            </tr>
          </thead>
          <tbody>
            <For each={rows()}>
              {(row) => (
                <tr data-program={row.program.id} data-own={row.program.own} classList={{ own: row.program.own }}>
                  <th scope="row"><bdi><b>{row.program.name || "(no name)"}</b></bdi> <span class="quiet">{row.program.own ? "Vesta's" : `#${row.program.id}`}</span></th>
                  <td>{row.program.type}</td>
                  <td class="wide" title={row.program.attached.join("\n")}>{row.program.attached.join(", ") || (row.program.type === "perf_event" ? "perf event" : "")}</td>
                  <td class="wide" title={row.program.holders.map(({ pid, name }) => `${name} (${pid})`).join("\n")}>
                    {row.program.holders.map(({ name, pid }) => name || String(pid)).join(", ")}<Show when={row.program.uid}>{(uid) => <span class="quiet"> uid {uid()}</span>}</Show>
                  </td>
                  <td class="wide">{row.program.loaded_ms === null ? "" : when(row.program.loaded_ms)}</td>
                  <td class="number wide">{row.runsPerSecond === undefined ? "" : row.runsPerSecond >= 10 ? thousands(Math.round(row.runsPerSecond)) : row.runsPerSecond.toFixed(1)}</td>
                  <td class="number wide">{row.nsPerRun === undefined ? "" : thousands(Math.round(row.nsPerRun))}</td>
                  <td class="number">{row.cpu === undefined ? "not measured" : percent(row.cpu)}</td>
                  <td class="strip-column wide"><Strip shares={pastOfProgram(past() ?? [], host(), row.program)?.shares ?? row.history} /></td>
                  <td class="number wide" title={row.program.maps.map(({ name, bytes: size }) => `${name || "(no name)"} ${size === null ? "" : bytes(size)}`).join("\n")}>{row.program.maps.length ? `${row.program.maps.length}, ${bytes(row.mapBytes)}` : ""}</td>
                  <td class="wide mono">{row.program.tag}</td>
                </tr>
              )}
            </For>
          </tbody>
          <Show when={gone().length > 0 && (rows() || refused())}>
            <tbody>
              <For each={gone()}>{(one) => <GoneRow past={one} host={host()} when={when} />}</For>
            </tbody>
          </Show>
        </table>
        <Show when={rows()?.length === 0 && gone().length === 0}><p class="note">No BPF program is loaded.</p></Show>
      </div>
    </main>
  );
}

/** A share of one CPU: these are small. */
const percent = (part: number) => (part === 0 ? "0 %" : part < 1e-5 ? "<0.001 %" : `${(part * 100).toFixed(part < 0.001 ? 3 : part < 0.1 ? 2 : 1)} %`);

/** What the store has of the last day. */
function createPast(explore: Explore) {
  const [past, setPast] = createSignal<Past[]>();
  const [span, setSpan] = createSignal<number>();
  const requests = new Latest();
  const load = async () => {
    const data = explore.status()?.data;
    if (data?.from_ms == null || data.until_ms == null) return;
    const { from, until, step } = stepsOf(data.from_ms, data.until_ms);
    const watched = { from: data.from_ms, until: data.until_ms };
    try {
      const found = await requests.run((signal) => fetchProgramHistory(from, until, step, signal));
      if (!found) return;
      setPast(pastOf(found, watched));
      setSpan(watched.until - Math.max(watched.from, from));
    } catch {
      // The list of what is loaded now tells of a server that does not answer.
    }
  };
  const key = createMemo(() => {
    const data = explore.status()?.data;
    return data?.until_ms == null ? undefined : Math.floor(data.until_ms / PAST_EVERY);
  });
  createEffect(on(key, (wanted) => void (wanted !== undefined && load())));
  onCleanup(() => requests.cancel());
  return { past, span };
}

/** A program that ran, and is not loaded here now. */
function GoneRow(props: { past: Past; host: string; when: (ms: number) => string }): JSX.Element {
  const { past } = props;
  const named = past.tag !== "";
  return (
    <tr class="gone" data-gone={past.tag}>
      <th scope="row">
        <Show when={named} fallback="All others"><bdi><b>{past.name || "(no name)"}</b></bdi></Show>{" "}
        <span class="quiet">{past.host === props.host ? (named ? "not loaded now" : "") : `on ${past.host}`}</span>
      </th>
      <td />
      <td class="wide quiet" colspan="3">ran {props.when(past.first)} – {props.when(past.last)}</td>
      <td class="wide" colspan="2" />
      <td class="number">{percent(past.mean)}</td>
      <td class="strip-column wide"><Strip shares={past.shares} /></td>
      <td class="wide" /><td class="wide mono">{past.tag}</td>
    </tr>
  );
}

/** Columns that a strip has at least, so that few of them do not look like much. */
const FEWEST = 60;

function Strip(props: { shares: readonly number[] }): JSX.Element {
  const most = () => Math.max(1e-9, ...props.shares);
  const width = () => Math.max(FEWEST, props.shares.length);
  const mean = () => props.shares.reduce((sum, part) => sum + part, 0) / Math.max(1, props.shares.length);
  return (
    <svg
      class="strip" viewBox={`0 0 ${width()} 16`} preserveAspectRatio="none" role="img"
      aria-label={`Share of a CPU over time: ${percent(mean())} in the mean, at most ${percent(props.shares.length ? most() : 0)}`}
    >
      <For each={props.shares}>
        {(part, i) => (
          <Show when={part > 0}>
            <rect x={width() - props.shares.length + i()} width="1" y={16 - Math.max(1, (part / most()) * 16)} height={Math.max(1, (part / most()) * 16)} />
          </Show>
        )}
      </For>
    </svg>
  );
}
