/** The range, and one sentence that is computed from the data in view. */

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";
import { fetchValues } from "../api/client";
import { childrenOf, frameOf } from "../flame/tree";
import { cores, share } from "../format/number";
import { clock, day, duration, iso, range as rangeText } from "../format/time";
import type { Explore } from "../state/explore";
import { withEquality } from "../state/selector";
import { Icon } from "./icons";
import { Menu } from "./menu";

export function Headline(props: { explore: Explore; retry: () => void }): JSX.Element {
  const { explore } = props;
  const failure = () => (explore.failure()?.selector ? undefined : explore.failure());
  const collecting = () => {
    const status = explore.status();
    return status && status.data.from_ms === null ? status : undefined;
  };
  const empty = () => explore.graph()?.answer.samples === 0;
  return (
    <div class="headline">
      <RangeMenu explore={explore} />
      <Switch fallback={<Sentence explore={explore} />}>
        <Match when={failure()}>
          {(found) => (
            <p class="failure" role="alert">
              {found().error.message}
              <Show when={found().error.detail}>: {found().error.detail}</Show>.{" "}
              <button type="button" class="link" onClick={props.retry}>Retry</button>
            </p>
          )}
        </Match>
        <Match when={collecting()}>
          {(status) => <p role="status">Collecting since {clock(Math.floor(status().started_ms / 1000) * 1000)}</p>}
        </Match>
        <Match when={empty()}>
          <NoSamples explore={explore} />
        </Match>
      </Switch>
    </div>
  );
}

function Sentence(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const top = () => {
    const tree = explore.graph()?.tree;
    const widest = tree && childrenOf(tree, 0)[0];
    if (!tree || widest === undefined) return undefined;
    const total = tree.total[widest] as number;
    return { name: frameOf(tree, widest).name || "(none)", share: total / (tree.total[0] as number) };
  };
  return (
    <Show when={explore.graph()}>
      {(graph) => (
        <p class="sentence" data-samples={graph().answer.samples}>
          <b>
            {cores(explore.coresOf(graph().answer.samples))}
            <Show when={explore.status()?.cpus}>{(cpus) => <> of {cpus()}</>}</Show> cores
          </b>
          <Show when={top()}>
            {(widest) => (
              <>
                , <b>{share(widest().share)}</b> in <b>{widest().name}</b>
              </>
            )}
          </Show>
          . <span class="wide">
            {share(graph().answer.complete / (graph().answer.samples || 1))} of stacks are complete.
          </span>
        </p>
      )}
    </Show>
  );
}

/** What to look at instead where a selector or a range holds nothing. */
function NoSamples(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const query = () => explore.view().query;
  const label = () => /^\s*\{?\s*([a-z_]+)/.exec(query())?.[1] ?? explore.view().by;
  const asked = () => {
    const answer = explore.graph()?.answer;
    return query() && answer ? { label: label(), from: answer.from_ms, until: answer.until_ms } : undefined;
  };
  const [values] = createResource(asked, async (at) => {
    try {
      return (await fetchValues(at.label, { query: "", from: at.from, until: at.until })).values;
    } catch {
      // A label this server does not know has no values to offer.
      return [];
    }
  });
  const data = () => {
    const found = explore.status()?.data;
    if (found?.from_ms == null || found.until_ms == null) return undefined;
    return { from: Math.floor(found.from_ms / 1000) * 1000, until: Math.ceil(found.until_ms / 1000) * 1000 };
  };
  return (
    <p role="status">
      <Show
        when={query()}
        fallback={
          <>
            No samples in this range.{" "}
            <Show when={data()}>
              {(span) => (
                <button type="button" class="link" onClick={() => explore.setRange(span(), null)}>
                  Show all data, {rangeText(span().from, span().until, explore.now())}
                </button>
              )}
            </Show>
          </>
        }
      >
        No samples match <span class="mono">{query()}</span>.{" "}
        <Show when={values()?.length} fallback={<button type="button" class="link" onClick={() => explore.update({ query: "" })}>Show everything</button>}>
          In this range:{" "}
          <For each={values()?.slice(0, 4)}>
            {({ value }, i) => (
              <>
                {i() > 0 ? ", " : ""}
                <button type="button" class="link" onClick={() => explore.update({ query: withEquality("", label(), value) })}>
                  {value}
                </button>
              </>
            )}
          </For>
          .
        </Show>
      </Show>
    </p>
  );
}

const MINUTE = 60_000;
const PRESETS = [5 * MINUTE, 15 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE, 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE];

/** The form of an input of type datetime-local. */
const local = (ms: number) => iso(ms).slice(0, 19);

function RangeMenu(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const span = () => explore.draft() ?? explore.range();
  const text = () => {
    const live = explore.view().range;
    if (live.live && !explore.draft()) return `Last ${duration(live.length)}`;
    return rangeText(span().from, span().until, explore.now());
  };
  const [from, setFrom] = createSignal("");
  const [until, setUntil] = createSignal("");
  const chosen = () => {
    const start = Date.parse(from() || local(explore.range().from));
    const end = Date.parse(until() || local(explore.range().until));
    return end > start ? { from: start, until: end } : undefined;
  };
  return (
    <h1 title={`${iso(span().from)} – ${iso(span().until)}`} data-from={span().from} data-until={span().until}>
      <Menu label="Range of time" class="range" trigger={<>{text()} <Icon name="chevron" /></>}>
        {(close) => (
          <>
            <p class="caption">Follow now</p>
            <For each={PRESETS}>
              {(length) => (
                <button
                  type="button" class="item" aria-pressed={explore.live() && span().until - span().from === length}
                  onClick={() => {
                    explore.goLive(length);
                    close();
                  }}
                >
                  Last {duration(length)}
                </button>
              )}
            </For>
            <form
              class="fixed-range"
              onSubmit={(event) => {
                event.preventDefault();
                const wanted = chosen();
                if (!wanted) return;
                explore.setRange(wanted, null);
                close();
              }}
            >
              <p class="caption">A fixed range, {day(span().from, explore.now()).toLowerCase()}</p>
              <label>
                From <input type="datetime-local" step="1" value={local(span().from)} onInput={(e) => setFrom(e.currentTarget.value)} />
              </label>
              <label>
                Until <input type="datetime-local" step="1" value={local(span().until)} onInput={(e) => setUntil(e.currentTarget.value)} />
              </label>
              <button type="submit" class="button" disabled={!chosen()}>Show</button>
            </form>
          </>
        )}
      </Menu>
    </h1>
  );
}
