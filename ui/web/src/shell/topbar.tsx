/** The bar at the top: mark, selector, grouping, live, export, theme, help. */

import { For, type JSX, Show, createEffect, createSignal, on } from "solid-js";
import { apiUrl, selectionParams } from "../api/client";
import { GROUPINGS } from "../api/types";
import { clock } from "../format/time";
import type { Explore } from "../state/explore";
import { THEMES, type ThemeState } from "../state/theme";
import { Icon, Mark, ThemeIcon } from "./icons";
import { Menu } from "./menu";

export interface TopBarProps {
  explore: Explore;
  theme: ThemeState;
  openHelp: () => void;
}

export function TopBar(props: TopBarProps): JSX.Element {
  return (
    <header class="topbar">
      <a class="brand" href="/" aria-label="Vesta, start page">
        <Mark />
        <span>Vesta</span>
      </a>
      <nav class="wide" aria-label="Views">
        <a href="/" aria-current="page">Explore</a>
      </nav>
      <SelectorField explore={props.explore} />
      <GroupBy explore={props.explore} />
      <span class="spring" />
      <LiveButton explore={props.explore} />
      <CopyLink explore={props.explore} />
      <Export explore={props.explore} />
      <Theme theme={props.theme} />
      <button type="button" class="button ghost" aria-label="Keys and help" title="Keys and help (?)" onClick={props.openHelp}>
        <Icon name="help" />
      </button>
    </header>
  );
}

function SelectorField(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const [draft, setDraft] = createSignal(explore.view().query);
  createEffect(on(() => explore.view().query, (query) => setDraft(query)));
  const refusal = () => (explore.failure()?.selector ? explore.failure()?.error : undefined);
  const apply = (event: Event) => {
    event.preventDefault();
    explore.setFailure(undefined);
    explore.update({ query: draft().trim() });
  };
  let input!: HTMLInputElement;
  return (
    <form class="selector" role="search" onSubmit={apply}>
      <Icon name="filter" />
      <input
        ref={input} id="selector" class="mono" type="text" spellcheck={false} autocomplete="off" autocapitalize="off"
        aria-label="Selector" aria-invalid={refusal() !== undefined} aria-describedby="selector-error"
        placeholder={'All samples, or e.g. process="redis-server"'}
        value={draft()} onInput={(event) => setDraft(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape") return;
          setDraft(explore.view().query);
          input.blur();
        }}
      />
      <Show when={explore.view().query} fallback={<kbd>Q</kbd>}>
        <button type="button" class="clear" aria-label="Clear selector" onClick={() => explore.update({ query: "" })}>
          <Icon name="close" />
        </button>
      </Show>
      <div id="selector-error" role="alert">
        <Show when={refusal()}>
          {(error) => (
            <div class="refusal">
              <strong>{error().message}</strong>
              <Show when={error().detail}><pre class="mono">{error().detail}</pre></Show>
            </div>
          )}
        </Show>
      </div>
    </form>
  );
}

function GroupBy(props: { explore: Explore }): JSX.Element {
  const by = () => props.explore.view().by;
  return (
    <Menu
      label="Group by"
      trigger={<><span class="quiet">Group by</span> {by()} <Icon name="chevron" /></>}
    >
      {(close) => (
        <For each={GROUPINGS}>
          {(label) => (
            <button
              type="button" class="item" aria-pressed={by() === label}
              onClick={() => {
                props.explore.update({ by: label, zoom: 0, selected: 0 });
                close();
              }}
            >
              {label}
            </button>
          )}
        </For>
      )}
    </Menu>
  );
}

function LiveButton(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const text = () => {
    const paused = explore.pausedAt();
    return explore.live() || paused === undefined ? "Live" : `Paused at ${clock(Math.floor(paused / 1000) * 1000)}`;
  };
  return (
    <button
      type="button" class="button live" aria-pressed={explore.live()} title="Follow now (L)"
      onClick={() => (explore.live() ? explore.pause() : explore.goLive())}
    >
      <i aria-hidden="true" /> {text()} <kbd>L</kbd>
    </button>
  );
}

function CopyLink(props: { explore: Explore }): JSX.Element {
  const said = () => ({ copied: "Link copied", refused: "Copying is not allowed here", "": "" })[props.explore.copied()];
  return (
    <button
      type="button" class="button ghost" aria-label="Copy link" title="Copy a link to this view, with absolute times (Y)"
      onClick={() => void props.explore.copyLink()}
    >
      <Icon name="link" />
      <span class="said" role="status">{said()}</span>
    </button>
  );
}

const FORMATS = [
  ["pprof", "pprof", "profile.proto, for go tool pprof"],
  ["folded", "Folded stacks", "one stack per line"],
  ["svg", "SVG", "a flame graph to look at"],
  ["json", "JSON", "the stack tree of this page"],
  ["firefox", "Firefox Profiler", "threads over time"],
  ["speedscope", "speedscope", "threads over time"],
  ["perf-script", "perf script", "sample after sample, as text"],
] as const;

function Export(props: { explore: Explore }): JSX.Element {
  const href = (format: string) => {
    const { query, by } = props.explore.view();
    return apiUrl("query", { ...selectionParams({ query, ...props.explore.picked() }), by, format });
  };
  return (
    <Menu label="Export" class="button ghost" align="right" trigger={<Icon name="download" />}>
      {(close) => (
        <>
          <p class="caption">The range and selector in view</p>
          <For each={FORMATS}>
            {([format, name, what]) => (
              <a class="item" href={href(format)} download="" onClick={close}>
                {name} <span class="quiet">{what}</span>
              </a>
            )}
          </For>
        </>
      )}
    </Menu>
  );
}

function Theme(props: { theme: ThemeState }): JSX.Element {
  return (
    <Menu label="Theme" class="button ghost" align="right" trigger={<ThemeIcon />}>
      {(close) => (
        <For each={THEMES}>
          {(name) => (
            <button
              type="button" class="item" aria-pressed={props.theme.theme() === name}
              onClick={() => {
                props.theme.setTheme(name);
                close();
              }}
            >
              {name === "auto" ? "As the system" : name === "light" ? "Light" : "Dark"}
            </button>
          )}
        </For>
      )}
    </Menu>
  );
}
