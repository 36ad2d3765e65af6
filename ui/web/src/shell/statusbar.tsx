/** The bar at the bottom: how true the view is, and what watching costs. */

import { For, type JSX, Show, createMemo, createSignal, createEffect, on } from "solid-js";
import type { Status } from "../api/types";
import { kindName } from "../flame/names";
import type { Frame, FrameKind } from "../flame/tree";
import { bytes, cores, count, share, thousands } from "../format/number";
import { duration, zone } from "../format/time";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { completeShare, lostSamples, ownCores } from "../state/truth";
import type { Hosts } from "../state/hosts";
import { withEquality } from "../state/selector";
import { Menu } from "./menu";
import { FrameSwatch } from "./swatch";

const KEY: [FrameKind, string, string][] = [
  ["native", "python3", kindName("native")], ["inlined", "python3", kindName("inlined")],
  ["jit", "python3", "JIT or interpreted"], ["kernel", "[kernel]", kindName("kernel")],
  ["truncated", "", kindName("truncated")],
];

const sample = (kind: FrameKind, binary: string): Frame => ({
  kind, binary, name: "main", systemName: "", file: "", line: 0, buildId: "", unwound: "",
});

/** Vesta's own cores, over the last minute where there is one. */
export function createOwnCores(explore: Explore): () => number | undefined {
  const [seen, setSeen] = createSignal<Status[]>([]);
  createEffect(
    on(explore.status, (status) => {
      if (status) setSeen((before) => [...before, status].slice(-12));
    }),
  );
  return () => {
    const status = explore.status();
    return status && ownCores(status, seen()[0] === status ? undefined : seen()[0]);
  };
}

/** A share of samples; of none, all. */
const part = (some: number, all: number) => (all > 0 ? some / all : 1);

/** What an agent samples is there when its window has ended at the latest: this much later, something is slow. */
const LATE_MS = 10_000;

export function StatusBar(props: { explore: Explore; theme: ThemeState; own: () => number | undefined; hosts: () => Hosts | undefined }): JSX.Element {
  const { explore } = props;
  const answer = createMemo(() => {
    const found = explore.graph()?.answer;
    return found && found.samples > 0 ? found : undefined;
  });
  /** How old the newest data is, where that is more than the agent's windows explain. */
  const behind = () => {
    const status = explore.status();
    if (!explore.live() || status?.data.until_ms == null) return 0;
    const age = status.now_ms - status.data.until_ms;
    return age > (status.window_ms ?? 30_000) + LATE_MS ? age : 0;
  };
  const skipped = () => explore.status()?.data.skipped.length ?? 0;
  return (
    <footer class="statusbar">
      <Show when={explore.view().page === "explore"} fallback={
        <Show when={explore.view().page === "compare" && explore.sides()}>
          {(sides) => (
            <>
              <For each={["a", "b"] as const}>
                {(side) => (
                  <span class="completeness" data-complete={sides().complete[side]}>
                    {side.toUpperCase()}
                    <Show when={sides().complete[side] !== undefined} fallback={<span>its file does not tell<span class="wide"> which stacks are complete</span></span>}>
                      <span class="meter" aria-hidden="true"><i style={{ width: `${part(sides().complete[side] ?? 0, sides()[side]) * 100}%` }} /></span>
                      {share(part(sides().complete[side] ?? 0, sides()[side]))}<span class="wide"> of stacks complete</span>
                    </Show>
                  </span>
                )}
              </For>
              <span class="wide">A {thousands(sides().a)}, B {thousands(sides().b)} samples<Show when={explore.status()?.frequency_hz}>{(hertz) => <>, {hertz()} Hz</>}</Show></span>
            </>
          )}
        </Show>
      }>
      <button
        type="button" class="truth-button" aria-expanded={explore.view().truth} title="How true is this view? (T)"
        onClick={() => explore.update({ truth: !explore.view().truth }, true)}
      >
        <span class="meter" classList={{ none: !answer() }} aria-hidden="true">
          <i style={{ width: `${answer() ? completeShare(answer()!) * 100 : 0}%` }} />
        </span>
        <span data-complete={answer()?.complete}>
          {answer() ? `${share(completeShare(answer()!))} of stacks complete` : "No stacks in view"}
        </span>
      </button>
      <Show when={answer()}>
        {(found) => (
          <>
            <span class="wide">{count(lostSamples(found().lost), "sample")} lost</span>
            <span class="wide" data-samples={found().samples}>
              {count(found().samples, "sample")}
              <Show when={explore.status()}>
                {(status) => (
                  <>
                    <Show when={status().frequency_hz}>{(hertz) => <>, {hertz()} Hz</>}</Show>
                    <Show when={status().cpus}>{(cpus) => <> on {count(cpus(), "CPU")}</>}</Show>
                  </>
                )}
              </Show>
            </span>
          </>
        )}
      </Show>
      </Show>
      <Show when={explore.view().page === "explore" && props.hosts()}>{(hosts) => <SilentHosts explore={explore} hosts={hosts()} />}</Show>
      <Show when={behind()}>{(age) => <span>newest data is {duration(age())} old</span>}</Show>
      <Show when={skipped()}>{(files) => <span class="wide">{count(files(), "file")} not readable</span>}</Show>
      <span class="rest">
        <span class="key wider" classList={{ none: explore.view().page !== "explore" }} role="img" aria-label="Key: native frames are plain, inlined ones hollow, JIT and interpreted ones dotted, kernel ones hatched, truncated ones cross-hatched with a torn edge">
          <For each={KEY}>
            {([kind, binary, name]) => (
              <span>
                <FrameSwatch frame={sample(kind, binary)} dark={props.theme.dark()} />
                {name}
              </span>
            )}
          </For>
        </span>
        <Show when={explore.status()?.agent}>
          {(agent) => (
            <span class="wide">
              Vesta: {cores(props.own() ?? 0)} cores, {bytes(agent().rss_bytes)}
            </span>
          )}
        </Show>
        <button
          type="button" class="link" title={explore.view().zone ? `Times of ${explore.view().zone}: show those of this browser` : "Times of this browser: show UTC"}
          onClick={() => {
            explore.update({ zone: explore.view().zone ? "" : "UTC" }, true);
            // All of the page has times; what it shows is in the URL.
            location.reload();
          }}
        >
          {zone(explore.range().until)}
        </button>
      </span>
    </footer>
  );
}

/** How many hosts have data in the range, and which have none: each leads to what there is of it. */
function SilentHosts(props: { explore: Explore; hosts: Hosts }): JSX.Element {
  const here = () => props.hosts.known - props.hosts.missing;
  return (
    <Menu label="Hosts without data in this range" class="link" trigger={<>{here()} of {count(props.hosts.known, "host")} {here() === 1 ? "has" : "have"} data here</>}>
      {(close) => (
        <>
          <p class="caption">without data in this range, but within the day before its end</p>
          <For each={props.hosts.silent}>
            {(host) => (
              <button
                type="button" class="item"
                onClick={() => {
                  close();
                  props.explore.update({ query: withEquality("", "host", host), zoom: 0 });
                }}
              >
                {host}
              </button>
            )}
          </For>
          <Show when={props.hosts.missing > props.hosts.silent.length}>
            <p class="caption">and {count(props.hosts.missing - props.hosts.silent.length, "other")}</p>
          </Show>
        </>
      )}
    </Menu>
  );
}
