/** What the details tell of a function beyond the tree in view: its last hours, and its threads. */

import { For, type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { Latest, fetchFlameBytes, fetchFunctions } from "../api/client";
import type { FunctionHistory } from "../api/types";
import { readAnswer } from "../flame/columns";
import { matching, targetOf } from "../flame/transform";
import { type FlameTree, childrenOf, frameOf } from "../flame/tree";
import { cores, share } from "../format/number";
import { hourMinute } from "../format/time";
import { totalsOf } from "../sandwich/halves";
import type { Explore } from "../state/explore";

const HOUR = 3_600_000;
const HOURS = 6;
/** Steps of the strip. */
const STEPS = 72;
/** A selection that moves on is asked about when it rests. */
const REST = 300;
/** Threads shown, and nodes that are read to tell them apart. */
const THREADS = 6;
const NODES = 60_000;

/** The selected frame, if it is code. */
function createSelected(explore: Explore) {
  return createMemo(() => {
    const tree = explore.graph()?.tree;
    const node = explore.selectedNode();
    if (!tree || node <= 0) return undefined;
    const frame = frameOf(tree, node);
    const code = frame.kind !== "group" && frame.kind !== "truncated" && frame.kind !== "folded" && frame.name !== "";
    return code ? { name: frame.name, kind: frame.kind, binary: frame.binary, target: targetOf(tree.frames, tree.frame[node] as number) } : undefined;
  });
}

/** Runs `work` for each `key` that rests; what it resolves to is undefined until then, and where it fails. */
function createAnswer<T>(key: () => string | undefined, work: (signal: AbortSignal) => Promise<T>) {
  const [answer, setAnswer] = createSignal<T>();
  const requests = new Latest();
  let timer: ReturnType<typeof setTimeout> | undefined;
  createEffect(on(key, (wanted) => {
    clearTimeout(timer);
    requests.cancel();
    setAnswer(undefined);
    if (wanted === undefined) return;
    timer = setTimeout(() => {
      // What nobody waits for may fail: the main requests tell of a server that does not answer.
      requests.run(work).then((found) => found !== undefined && setAnswer(() => found), () => {});
    }, REST);
  }));
  onCleanup(() => {
    clearTimeout(timer);
    requests.cancel();
  });
  return answer;
}

/** When the function ran in the six hours up to the end of the range. */
export function LastHours(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const selected = createSelected(explore);
  const span = () => {
    const until = Math.ceil(explore.range().until / 60_000) * 60_000;
    return { from: until - HOURS * HOUR, until };
  };
  const key = createMemo(() => {
    const of = selected();
    return of && !explore.live() ? JSON.stringify([of.name, of.binary, explore.view().query, span()]) : undefined;
  });
  const history = createAnswer(key, (signal) =>
    fetchFunctions({ query: explore.view().query, ...span() }, selected()?.name ?? "", (HOURS * HOUR) / STEPS, 20, signal));
  const row = createMemo(() => {
    const of = selected();
    return history()?.functions.find(({ function: name, binary }) => name === of?.name && binary === of?.binary);
  });
  return (
    <Show when={row() && history()}>
      {(found) => <Strip explore={explore} history={found()} samples={row()?.total ?? []} />}
    </Show>
  );
}

function Strip(props: { explore: Explore; history: FunctionHistory; samples: number[] }): JSX.Element {
  const most = () => Math.max(1, ...props.samples);
  const length = () => props.history.until_ms - props.history.from_ms;
  const coresOf = (samples: number) => cores((samples * props.history.period_ns) / (props.history.step_ms * 1e6));
  const at = (ms: number) => ((ms - props.history.from_ms) / length()) * props.samples.length;
  const range = () => {
    const { from, until } = props.explore.range();
    const left = Math.max(0, at(from));
    return { left, width: Math.max(0.4, at(until) - left) };
  };
  const show = (event: MouseEvent & { currentTarget: Element }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const { from, until } = props.explore.range();
    const middle = props.history.from_ms + ((event.clientX - box.left) / box.width) * length();
    const start = Math.round((middle - (until - from) / 2) / 1000) * 1000;
    props.explore.setRange({ from: start, until: start + (until - from) }, null);
  };
  return (
    <section class="hours">
      <h3>Last {HOURS} hours <span>at most {coresOf(most())} cores</span></h3>
      <svg
        class="strip" viewBox={`0 0 ${props.samples.length} 32`} preserveAspectRatio="none" role="img"
        aria-label={`Of the last ${HOURS} hours it ran in ${props.samples.filter((samples) => samples > 0).length} of ${props.samples.length} steps, with at most ${coresOf(most())} cores`}
        onClick={show}
      >
        <rect class="range" x={range().left} width={range().width} y="0" height="32" />
        <For each={props.samples}>
          {(samples, i) => <Show when={samples}><rect x={i()} width="1" y={32 - Math.max(1.5, (samples / most()) * 30)} height={Math.max(1.5, (samples / most()) * 30)} /></Show>}
        </For>
      </svg>
      <p class="caption ends"><span>{hourMinute(props.history.from_ms)}</span><span>{hourMinute(props.history.until_ms)}</span></p>
    </section>
  );
}

/** Samples of a function by the groups of a tree, most first. */
export function byGroup(tree: FlameTree, target: string): { name: string; samples: number }[] {
  const match = matching(tree.frames, target);
  return childrenOf(tree, 0)
    .map((group) => ({ name: frameOf(tree, group).name || "(none)", samples: totalsOf(tree, match, group).total }))
    .filter(({ samples }) => samples > 0)
    .sort((a, b) => b.samples - a.samples);
}

/** Which threads a function runs on; asked for when it is opened. */
export function ByThread(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const selected = createSelected(explore);
  const [open, setOpen] = createSignal(false);
  // The tree by thread is the same for every function: another selection asks nothing.
  const key = createMemo(() =>
    open() && selected() && !explore.live() ? JSON.stringify([explore.view().query, explore.picked()]) : undefined);
  const tree = createAnswer(key, async (signal) =>
    readAnswer(await fetchFlameBytes({ query: explore.view().query, ...explore.picked() }, "thread", NODES, signal)).tree);
  const rows = createMemo(() => {
    const shown = tree();
    const of = selected();
    return shown && of ? byGroup(shown, of.target) : [];
  });
  const all = () => rows().reduce((sum, { samples }) => sum + samples, 0) || 1;
  return (
    <Show when={selected()}>
      <details class="threads" open={open()} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>By thread</summary>
        <Show when={rows().length} fallback={<p class="caption">{explore.live() ? "When paused." : tree() ? "No thread in this range." : "Reading…"}</p>}>
          <div class="bars">
            <For each={rows().slice(0, THREADS)}>
              {(row) => (
                <>
                  <button type="button" class="name" title={row.name} data-thread={row.samples} onClick={() => explore.toggleFilter("thread", row.name)}>{row.name}</button>
                  <span class="track" aria-hidden="true"><i style={{ width: `${(row.samples / all()) * 100}%` }} /></span>
                  <span class="part">{share(row.samples / all())}</span>
                </>
              )}
            </For>
            <Show when={rows().length > THREADS}><span class="quiet">{rows().length - THREADS} others</span></Show>
          </div>
        </Show>
      </details>
    </Show>
  );
}
