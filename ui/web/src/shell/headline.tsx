/** The range, and one sentence that is computed from the data in view. */

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";
import { fetchValues } from "../api/client";
import { childrenOf, frameOf } from "../flame/tree";
import type { Cause, Headline as Figures } from "../api/types";
import { NARROW_SPACE, bytes, cores, count, share } from "../format/number";
import { clock, day, duration, hourMinute, iso, range as rangeText } from "../format/time";
import { parseWall } from "../format/zone";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import { withEquality } from "../state/selector";
import type { Baseline, Span } from "../state/url";
import { nearestData } from "../timeline/series";
import { Icon } from "./icons";
import { Menu } from "./menu";

export interface HeadlineProps {
  explore: Explore;
  history: History;
  retry: () => void;
  cancel: () => void;
}

export function Headline(props: HeadlineProps): JSX.Element {
  const { explore, history } = props;
  const failure = () => (explore.failure()?.selector ? undefined : explore.failure());
  const collecting = () => {
    const status = explore.status();
    return status && status.data.from_ms === null ? status : undefined;
  };
  const empty = () => explore.graph()?.answer.samples === 0;
  return (
    <div class="headline">
      <RangeMenu explore={explore} />
      <Switch fallback={<Sentence explore={explore} history={history} />}>
        <Match when={explore.lostLink()}>
          {(lost) => (
            <p class="failure" role="alert">
              {lost().message}. <button type="button" class="link" onClick={() => explore.setLostLink(undefined)}>Show the last minutes</button>
            </p>
          )}
        </Match>
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
          <NoSamples explore={explore} history={history} />
        </Match>
      </Switch>
      <span class="spring" />
      <Show when={history.reading()} fallback={<Actions explore={explore} />}>
        {(size) => (
          <p class="reading" role="status">
            Reading{" "}
            <Show when={size().part !== undefined} fallback={<>{bytes(size().bytes)} in {count(size().segments, "segment")}…</>}>
              <progress max="1" value={size().part} aria-label="Read so far" /> {bytes(size().bytes * size().part!)} of {bytes(size().bytes)}
            </Show>{" "}
            <button type="button" class="link" onClick={props.cancel}>Cancel</button>
          </p>
        )}
      </Show>
    </div>
  );
}

const BASELINES: [Baseline, string, string][] = [
  ["yesterday", "Yesterday", "yesterday"], ["week", "Last week", "last week"], ["median", "Median of 7 days", "the median of 7 days"],
  ["none", "Nothing", ""],
];

/** How a ratio is written: times from 1.15, else per cent. */
function ratioText(ratio: number): string {
  return ratio >= 1.15 || ratio < 1 / 1.15 ? `${ratio.toFixed(ratio < 0.095 ? 2 : 1)}×` : `${ratio >= 1 ? "+" : "−"}${Math.abs(ratio * 100 - 100).toFixed(0)}${NARROW_SPACE}%`;
}

/** Cores, how that compares to the baseline, and what explains the difference: all of it computed by the server. */
function Sentence(props: { explore: Explore; history: History }): JSX.Element {
  const { explore } = props;
  const top = () => {
    const graph = explore.graph();
    const widest = graph && childrenOf(graph.tree, 0)[0];
    if (!graph || widest === undefined) return undefined;
    // Of all that is selected, as the cores are: a focused tree holds a part of it.
    return { name: frameOf(graph.tree, widest).name || "(none)", share: (graph.tree.total[widest] as number) / (graph.answer.samples || 1) };
  };
  /** A rectangle has no baseline. */
  const told = () => (typeof explore.view().heatMap === "object" ? undefined : props.history.headline());
  return (
    <Show when={explore.drawn() && explore.graph()}>
      {(graph) => (
        <p class="sentence" data-samples={graph().answer.samples} data-pruned={graph().answer.pruned}>
          <b>
            {cores(explore.coresOf(graph().answer.samples))}
            <Show when={explore.status()?.cpus}>{(cpus) => <> of {cpus()}</>}</Show> cores
          </b>
          <Show
            when={told()?.baseline && told()}
            fallback={
              <Show when={top()}>
                {(widest) => <>, <b>{share(widest().share)}</b> in <b>{widest().name}</b></>}
              </Show>
            }
          >
            {(headline) => <Against explore={explore} history={props.history} headline={headline()} />}
          </Show>
          <Show when={!told()?.cause}>
            . <span class="wide">{share(graph().answer.complete / (graph().answer.samples || 1))} of stacks are complete.</span>
          </Show>
        </p>
      )}
    </Show>
  );
}

function Against(props: { explore: Explore; history: History; headline: Figures }): JSX.Element {
  const name = () => BASELINES.find(([id]) => id === props.explore.view().baseline)?.[2] ?? "the pinned range";
  const ratio = () => props.headline.ratio;
  const same = () => !props.headline.significant || (ratio() !== null && Math.abs(ratio()! - 1) < 0.02);
  return (
    <span data-ratio={ratio()}>
      {", "}
      <Switch>
        <Match when={same()}>as {name()} at this time</Match>
        <Match when={ratio() === null}>{name()} none at this time</Match>
        <Match when={ratio()}>
          {(value) => <><b classList={{ grown: value() >= 1.15 }}>{ratioText(value())} {name()}</b> at this time</>}
        </Match>
      </Switch>
      <Show when={props.headline.cause}>
        {(cause) => <Why explore={props.explore} cause={cause()} grown={(ratio() ?? 2) > 1} />}
      </Show>
    </span>
  );
}

/** What explains most of it, and since when. */
function Why(props: { explore: Explore; cause: Cause; grown: boolean }): JSX.Element {
  const clockOf = (ms: number) => {
    const at = hourMinute(ms);
    return day(ms, props.explore.now()) === "Today" ? at : `${day(ms, props.explore.now())} ${at}`;
  };
  const part = () => (props.cause.share > 1 ? "All" : `${Math.round(props.cause.share * 100)}${NARROW_SPACE}%`);
  return (
    <>
      . {part()} of the {props.grown ? "growth" : "drop"} is{" "}
      <Show when={props.cause.function} fallback={<b>{props.cause.group || "(none)"}</b>}>
        <button
          type="button" class="link cause" data-cause={props.cause.function}
          onClick={() => props.explore.update({ search: props.cause.function, tab: "flame" })}
        >
          {props.cause.function}
        </button>{" "}
        in {props.cause.group || "(none)"}
      </Show>
      <Show when={props.cause.first_seen_ms}>
        {(seen) => (
          <Show when={props.cause.deploy} fallback={<>, new since {clockOf(seen())}</>}>
            {(deploy) => <>, new since <b>{deploy().text}</b> ({clockOf(deploy().time_ms)})</>}
          </Show>
        )}
      </Show>
      .
    </>
  );
}

/** Heat map, baseline, comparison. */
function Actions(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const baseline = () => explore.view().baseline;
  const name = () => BASELINES.find(([id]) => id === baseline())?.[2] ?? "the pin";
  return (
    <span class="headline-actions">
      <button
        type="button" class="button wide" aria-pressed={explore.view().heatMap !== false} title="Samples by their place in the second (E)"
        onClick={() => explore.update({ heatMap: explore.view().heatMap === false })}
      >
        Heat map <kbd>E</kbd>
      </button>
      <button type="button" class="button wide" onClick={() => explore.update({ page: "compare", zoom: 0, selected: 0, search: "" })}>
        Compare with {name() || "before"} <kbd>C</kbd>
      </button>
      <Menu label="Baseline" class="button ghost" align="right" trigger={<Icon name="chevron" />}>
        {(close) => (
          <>
            <p class="caption">Compare with the same time</p>
            <For each={BASELINES}>
              {([id, label]) => (
                <button
                  type="button" class="item" aria-pressed={baseline() === id}
                  onClick={() => {
                    explore.update({ baseline: id }, true);
                    close();
                  }}
                >
                  {label}
                </button>
              )}
            </For>
            <p class="caption">A pinned range: choose it from the pins.</p>
          </>
        )}
      </Menu>
    </span>
  );
}

/** What to look at instead where a selector or a range holds nothing. */
function NoSamples(props: { explore: Explore; history: History }): JSX.Element {
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
  const near = (): Span | undefined => {
    const overview = props.history.overview();
    return overview && nearestData(overview, explore.range());
  };
  return (
    <p role="status">
      <Show
        when={query()}
        fallback={
          <>
            No samples in this range.{" "}
            <Show when={near()}>
              {(span) => (
                <>
                  <button type="button" class="link" onClick={() => explore.setRange(span(), null)}>
                    Nearest data: {rangeText(span().from, span().until, explore.now())}
                  </button>
                  {" · "}
                </>
              )}
            </Show>
            <Show when={data()}>
              {(span) => (
                <button
                  type="button" class="link" title={rangeText(span().from, span().until, explore.now())} onClick={() => explore.setRange(span(), null)}
                >
                  Show all data
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
    const start = parseWall(from() || local(explore.range().from));
    const end = parseWall(until() || local(explore.range().until));
    return end > start ? { from: start, until: end } : undefined;
  };
  return (
    <h1 title={`${iso(span().from)} – ${iso(span().until)}`} data-from={span().from} data-until={span().until}>
      <Menu label={`Range of time: ${text()}`} class="range" trigger={<>{text()} <Icon name="chevron" /></>}>
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
