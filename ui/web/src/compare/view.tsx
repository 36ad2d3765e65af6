/** Two selections, pins or files side by side: one graph of both, and the functions ranked by growth. */

import { For, type JSX, Match, Show, Switch, createEffect, on } from "solid-js";
import { changeText, cores, count, share } from "../format/number";
import { range as rangeText } from "../format/time";
import { Icon } from "../shell/icons";
import { Menu } from "../shell/menu";
import { Tabs } from "../shell/toolbar";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { ThemeState } from "../state/theme";
import type { Tab, WidthBy } from "../state/url";
import { DiffGraph } from "./graph";
import { Lanes } from "./lanes";
import { diverging } from "./palette";
import type { Side } from "./sides";
import { type Comparison, type Letter, createCompare } from "./state";
import { GrowthTable } from "./table";
import { DiffSandwich, DiffTop, DiffTree } from "./tables";

/** A change of a value, as cores or as points of shares. */
export const writeChange = (shares: boolean) => (a: number, b: number): string =>
  shares ? `${b < a ? "−" : "+"}${Math.abs((b - a) * 100).toFixed(1)}` : changeText(b - a);

/** A value, as cores or as a share. */
export const writeValue = (shares: boolean) => (value: number): string => (shares ? share(value) : cores(value));

export function ComparePage(props: { explore: Explore; history: History; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const comparison = createCompare(explore, props.history);
  // One file is compared with what is there, two with each other.
  createEffect(on(explore.dropped, (files) => {
    const [first, second] = files;
    if (!first) return;
    explore.setDropped([]);
    void (async () => {
      await comparison.upload(second ? "a" : "b", first);
      if (second) await comparison.upload("b", second);
    })();
  }));
  return (
    <main class="compare">
      <Headline explore={explore} comparison={comparison} />
      <section class="sides" aria-label="What is compared">
        <For each={["a", "b"] as const}>{(letter) => <SideLine explore={explore} comparison={comparison} letter={letter} />}</For>
        <Lanes comparison={comparison} explore={explore} theme={props.theme} />
      </section>
      <Tools explore={explore} comparison={comparison} theme={props.theme} />
      <div class="view" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${tabOf(explore)}`}>
        <Switch fallback={<DiffGraph explore={explore} comparison={comparison} theme={props.theme} />}>
          <Match when={tabOf(explore) === "top"}><DiffTop explore={explore} comparison={comparison} theme={props.theme} /></Match>
          <Match when={tabOf(explore) === "sandwich"}><DiffSandwich explore={explore} comparison={comparison} theme={props.theme} /></Match>
          <Match when={tabOf(explore) === "tree"}><DiffTree explore={explore} comparison={comparison} theme={props.theme} /></Match>
        </Switch>
      </div>
      <GrowthTable explore={explore} comparison={comparison} />
    </main>
  );
}

/** The views of a comparison. */
const TABS: [Tab, string][] = [["flame", "Flame graph"], ["top", "Top"], ["sandwich", "Sandwich"], ["tree", "Tree"]];

/** Lanes and lines of source have no other side. */
const tabOf = (explore: Explore): Tab => TABS.find(([tab]) => tab === explore.view().tab)?.[0] ?? "flame";

/** Which side uses more, and by how much: from the samples, with nothing added. */
function Headline(props: { explore: Explore; comparison: Comparison }): JSX.Element {
  const compared = () => props.comparison.compared();
  const sums = () => ({ a: compared()?.a[0] ?? 0, b: compared()?.b[0] ?? 0 });
  const shares = () => props.comparison.asShares();
  const title = () => {
    if (unwatched().length > 0) return `Nobody was watching in ${unwatched().join(" and ")}`;
    if (!compared()) return "A and B";
    if (shares()) return "A and B, as shares of all samples";
    const { a, b } = sums();
    if (!compared()?.real[0]) return "A and B use the same";
    return b > a ? `B uses ${cores(b - a)} cores more than A` : `B uses ${cores(a - b)} cores less than A`;
  };
  /** Sides of which hardly anything was watched: what is missing there says nothing. */
  const unwatched = () => (["a", "b"] as const)
    .filter((letter) => {
      const side = props.comparison.side(letter);
      const lane = props.comparison.lanes()?.[letter];
      return lane && side.kind === "range" && lane.watched < (side.until - side.from) / 10;
    })
    .map((letter) => letter.toUpperCase());
  const ratio = () => {
    const { a, b } = sums();
    return a > 0 && (b / a >= 1.15 || b / a < 0.87) ? ` (${(b / a).toFixed(1)}×)` : "";
  };
  const grew = () => props.comparison.rows().filter((row) => row.real && row.change > 0);
  const shrank = () => props.comparison.rows().filter((row) => row.real && row.change < 0);
  return (
    <div class="headline">
      <h1>{title()}</h1>
      <Show when={props.comparison.refused()} fallback={
        <Show when={compared()} fallback={<p role="status">Reading both sides…</p>}>
          <Show when={unwatched().length === 0} fallback={<p role="status">There is nothing to compare with: choose another time beside the letter.</p>}>
          <p class="sentence" data-grew={grew().length} data-shrank={shrank().length}>
            <Show when={!shares()}><b>{cores(sums().a)} → {cores(sums().b)} cores{ratio()}</b>. </Show>
            <Show when={grew()[0]} fallback="No function grew beyond chance">
              {(row) => <>Self time grew most in <b>{row().name}</b>, by {writeChange(shares())(row().a, row().b).slice(1)}{row().a === 0 ? ", which is new" : ""}</>}
            </Show>
            <Show when={shrank()[0]}>{(row) => <>; it shrank most in <b>{row().name}</b>, by {writeChange(shares())(row().b, row().a).replace(/^\+/, "")}</>}</Show>.
          </p>
          </Show>
        </Show>
      }>
        <p class="failure" role="alert">{props.comparison.refused()}</p>
      </Show>
    </div>
  );
}

function SideLine(props: { explore: Explore; comparison: Comparison; letter: Letter }): JSX.Element {
  const { comparison, explore } = props;
  const side = () => comparison.side(props.letter);
  const lane = () => comparison.lanes()?.[props.letter];
  const value = () => comparison.compared()?.[props.letter][0] ?? 0;
  const name = (at: Side) => (at.kind === "file" ? at.name : rangeText(at.from, at.until, explore.now()));
  let picker!: HTMLInputElement;
  const query = () => {
    const at = side();
    return at.kind === "range" ? at.query : "";
  };
  const shift = (days: number) => {
    const other = comparison.side(props.letter === "a" ? "b" : "a");
    if (other.kind !== "range") return;
    comparison.set(props.letter, { ...other, query: query(), from: other.from - days * 86_400_000, until: other.until - days * 86_400_000 });
  };
  return (
    <div class="side" data-side={props.letter} data-samples={lane()?.samples}>
      <span class="letter" classList={{ full: props.letter === "b" }} aria-hidden="true">{props.letter.toUpperCase()}</span>
      <div class="what">
        <Menu label={`Side ${props.letter.toUpperCase()}: ${name(side())}`} class="range" trigger={<><span class="side-name" title={name(side())}>{name(side())}</span> <Icon name="chevron" /></>}>
          {(close) => (
            <>
              <p class="caption">The other side's time</p>
              <For each={[[0, "The same"], [1, "A day earlier"], [7, "A week earlier"], [-1, "A day later"]] as const}>
                {([days, label]) => (
                  <button type="button" class="item" onClick={() => { shift(days); close(); }}>{label}</button>
                )}
              </For>
              <p class="caption">Something else</p>
              <button type="button" class="item" onClick={() => { comparison.set(props.letter, { kind: "range", ...explore.range(), query: explore.view().query }); close(); }}>
                The range of Explore
              </button>
              <button type="button" class="item" onClick={() => picker.click()}>
                A file… <span class="quiet">pprof, folded, perf script</span>
              </button>
            </>
          )}
        </Menu>
        <input
          ref={picker} class="unseen" type="file" tabindex="-1" aria-label={`File for side ${props.letter.toUpperCase()}`}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            // The same file can be chosen again: it may have changed.
            event.currentTarget.value = "";
            if (file) void comparison.upload(props.letter, file);
          }}
        />
        <Show when={side().kind === "range"} fallback={<span class="quiet">a file of this page's memory</span>}>
          <input
            class="mono side-query" type="text" spellcheck={false} autocomplete="off" aria-label={`Selector of side ${props.letter.toUpperCase()}`}
            placeholder="all samples" value={query()}
            onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
            onChange={(event) => {
              const at = side();
              if (at.kind === "range") comparison.set(props.letter, { ...at, query: event.currentTarget.value.trim() });
            }}
          />
        </Show>
      </div>
      <div class="sum">
        <Show when={lane()}>
          {(found) => (
            <>
              <Show when={!comparison.asShares()}><b>{cores(value())} cores</b></Show>
              <small>{count(found().samples, "sample")}</small>
            </>
          )}
        </Show>
      </div>
    </div>
  );
}

const WIDTHS: [WidthBy, string][] = [["b", "B"], ["a", "A"], ["sum", "A and B together"]];

function Tools(props: { explore: Explore; comparison: Comparison; theme: ThemeState }): JSX.Element {
  const { explore, comparison } = props;
  const most = () => comparison.compared()?.most ?? 0;
  const scale = () => (comparison.asShares() ? `${(most() * 100).toFixed(1)} points` : `${cores(most())} cores`);
  const colors = () => diverging(props.theme.dark());
  const gradient = () => Array.from({ length: 13 }, (_, i) => colors().of((i - 6) / 6)).join(",");
  return (
    <div class="toolbar">
      <Tabs explore={explore} tabs={TABS} chosen={tabOf(explore)} />
      <Show when={most() > 0}>
      <span class="diff-key" role="img" aria-label={`From blue, ${scale()} less, to orange, ${scale()} more; grey is within noise; solid underlines are new, dotted ones went away`}>
        −{scale()} <i class="scale" style={{ "background-image": `linear-gradient(90deg,${gradient()})` }} /> +{scale()}
        <span class="wide"><i class="swatch" style={{ "background-color": colors().noise }} />within noise</span>
        <span class="wider"><i class="new" style={{ "border-color": colors().more }} />part that is new</span>
        <span class="wider"><i class="gone" style={{ "border-color": colors().less }} />part that went away</span>
      </span>
      </Show>
      <span class="spring" />
      <Menu label={`Width ${explore.view().width.toUpperCase()}`} align="right" trigger={<><span class="quiet">Width</span> {explore.view().width.toUpperCase()} <Icon name="chevron" /></>}>
        {(close) => (
          <>
            <p class="caption">Frames are as wide as</p>
            <For each={WIDTHS}>
              {([id, label]) => (
                <button type="button" class="item" aria-pressed={explore.view().width === id} onClick={() => { explore.update({ width: id }, true); close(); }}>{label}</button>
              )}
            </For>
            <p class="caption">And compare</p>
            <For each={[[false, "Cores, by time"], [true, "Shares, by all samples"]] as const}>
              {([shares, label]) => (
                <button
                  type="button" class="item" aria-pressed={comparison.asShares() === shares}
                  disabled={!shares && comparison.asShares() && !explore.view().shares}
                  onClick={() => { explore.update({ shares }, true); close(); }}
                >
                  {label}
                </button>
              )}
            </For>
          </>
        )}
      </Menu>
      <div class="search">
        <Icon name="search" />
        <input
          id="search" type="text" spellcheck={false} autocomplete="off" aria-label="Search frames" placeholder="Search frames"
          value={explore.view().search} onInput={(event) => explore.update({ search: event.currentTarget.value }, true)}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            explore.update({ search: "" }, true);
            event.currentTarget.blur();
          }}
        />
        <output id="search-result" for="search">
          <Show when={comparison.matches()}>{(found) => share(found().samples / (comparison.compared()?.tree.total[0] || 1))}</Show>
        </output>
        <Show when={!explore.view().search}><kbd>/</kbd></Show>
      </div>
      <Show when={tabOf(explore) === "flame"}>
      <div class="segments" role="group" aria-label="Orientation">
        <For each={["icicle", "flame"] as const}>
          {(way) => (
            <button
              type="button" aria-label={way === "icicle" ? "Root at the top" : "Root at the bottom"} title={way === "icicle" ? "Root at the top (O)" : "Root at the bottom (O)"}
              aria-pressed={explore.view().orientation === way} onClick={() => explore.update({ orientation: way }, true)}
            >
              <Icon name={way} />
            </button>
          )}
        </For>
      </div>
      </Show>
      <div class="loading" classList={{ on: comparison.busy() }} role="progressbar" aria-label="Loading" aria-hidden={!comparison.busy()} />
    </div>
  );
}

