/** When did a function ever use CPU? Its own time line over all of history; a click leads there. */

import { For, type JSX, Show, createSignal, onMount } from "solid-js";
import { ApiError, Latest, fetchFunctions } from "../api/client";
import type { FunctionHistory } from "../api/types";
import { baseName } from "../flame/names";
import { cores, count, thousands } from "../format/number";
import { clock, day } from "../format/time";
import { Icon } from "../shell/icons";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import { nameQuery } from "./complete";

/** Buckets of a function's time line, and functions shown. */
const BUCKETS = 240;
const TOP = 20;

export function FunctionSearch(props: { explore: Explore; history: History; close: () => void }): JSX.Element {
  const { explore } = props;
  let dialog!: HTMLDialogElement;
  let field!: HTMLInputElement;
  const [text, setText] = createSignal(explore.view().search.replace(/^\/.*\/$/, ""));
  const [found, setFound] = createSignal<FunctionHistory>();
  const [refused, setRefused] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const requests = new Latest();
  onMount(() => {
    dialog.showModal();
    field.select();
    if (text()) void search();
  });
  const search = async () => {
    const all = props.history.data();
    if (!all || !text().trim()) return;
    setBusy(true);
    try {
      const step = Math.max(1000, Math.ceil((all.until - all.from) / BUCKETS));
      const answer = await requests.run((signal) => fetchFunctions({ query: explore.view().query, ...all }, nameQuery(text()), step, TOP, signal));
      if (!answer) return;
      setFound(answer);
      setRefused("");
    } catch (error) {
      setRefused(error instanceof ApiError ? [error.message, error.detail].filter(Boolean).join(": ") : String(error));
    } finally {
      setBusy(requests.busy);
    }
  };
  /** Shows a bucket of a function's time line. */
  const show = (history: FunctionHistory, at: number, name: string) => {
    const from = history.from_ms + at * history.step_ms;
    explore.update({ search: name });
    explore.setRange({ from, until: from + history.step_ms }, null);
    dialog.close();
  };
  const when = (ms: number) => `${day(ms, explore.now())} ${clock(Math.floor(ms / 1000) * 1000)}`;
  return (
    <dialog ref={dialog} class="help functions" aria-labelledby="functions-title" onClose={props.close} onClick={(event) => event.target === dialog && dialog.close()}>
      <header>
        <h2 id="functions-title">When did a function use CPU?</h2>
        <button type="button" class="button ghost" aria-label="Close" onClick={() => dialog.close()}><Icon name="close" /></button>
      </header>
      <form
        class="search"
        onSubmit={(event) => {
          event.preventDefault();
          void search();
        }}
      >
        <Icon name="search" />
        <input
          ref={field} id="function-search" type="text" spellcheck={false} autocomplete="off" aria-label="Name of a function" value={text()}
          placeholder="A part of a name, or /expression/" onInput={(event) => setText(event.currentTarget.value)}
        />
        <output>{busy() ? "reading…" : ""}</output>
        <button type="submit" class="link">Search</button>
      </form>
      <Show when={refused()}><p class="failure" role="alert">{refused()}</p></Show>
      <Show when={found()}>
        {(history) => (
          <>
            <p class="caption" role="status">
              {history().found === 0 ? "No function of this name was ever sampled." : `${count(history().found, "function")}; all of history, ${when(history().from_ms)} – ${when(history().until_ms)}`}
            </p>
            <ul>
              <For each={history().functions}>
                {(row) => {
                  const most = Math.max(1, ...row.total);
                  const first = row.total.findIndex((samples) => samples > 0);
                  const last = row.total.findLastIndex((samples) => samples > 0);
                  const sum = row.total.reduce((a, b) => a + b, 0);
                  const peak = row.total.indexOf(most);
                  return (
                    <li data-function={row.function}>
                      <p><b>{row.function}</b> <span class="quiet">{baseName(row.binary) || row.kind}</span></p>
                      <svg class="strip" viewBox={`0 0 ${row.total.length} 24`} preserveAspectRatio="none" role="img" aria-label={`Seen from ${when(history().from_ms + first * history().step_ms)} on`}
                        onClick={(event) => {
                          const box = event.currentTarget.getBoundingClientRect();
                          show(history(), Math.floor(((event.clientX - box.left) / box.width) * row.total.length), row.function);
                        }}
                      >
                        <For each={row.total}>
                          {(samples, i) => <Show when={samples}><rect x={i()} width="1" y={24 - Math.max(1.5, (samples / most) * 24)} height={Math.max(1.5, (samples / most) * 24)} /></Show>}
                        </For>
                      </svg>
                      <p class="caption">
                        <button type="button" class="link" onClick={() => show(history(), first, row.function)}>First {when(history().from_ms + first * history().step_ms)}</button>{" · "}
                        <button type="button" class="link" onClick={() => show(history(), peak, row.function)}>
                          most {cores((most * history().period_ns) / (history().step_ms * 1e6))} cores
                        </button>{" · "}
                        <button type="button" class="link" onClick={() => show(history(), last, row.function)}>last {when(history().from_ms + last * history().step_ms)}</button>{" · "}
                        {thousands(sum)} samples
                      </p>
                    </li>
                  );
                }}
              </For>
            </ul>
          </>
        )}
      </Show>
    </dialog>
  );
}
