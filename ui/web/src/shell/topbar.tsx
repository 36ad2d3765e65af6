/** The bar at the top: mark, selector, grouping, live, export, theme, help. */

import { For, type JSX } from "solid-js";
import { GroupBy, SelectorField } from "../find/selector";
import { clock } from "../format/time";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import { THEMES, type ThemeState } from "../state/theme";
import { Icon, Mark, ThemeIcon } from "./icons";
import { Export } from "../share/export";
import { Pins } from "../share/pins";
import { formatState, pathOf } from "../state/url";
import type { Page } from "../state/url";
import { Menu } from "./menu";

const PAGE_NAMES = [["explore", "Explore"], ["compare", "Compare"], ["inventory", "Inventory"], ["audit", "Audit"]] as const;

export interface TopBarProps {
  explore: Explore;
  history: History;
  theme: ThemeState;
  openHelp: () => void;
  openFunctions: () => void;
}

export function TopBar(props: TopBarProps): JSX.Element {
  return (
    <header class="topbar">
      <a class="brand" href="/" aria-label="Vesta, start page">
        <Mark />
        <span>Vesta</span>
      </a>
      <nav class="wide" aria-label="Views">
        <For each={PAGE_NAMES}>
          {([page, name]) => <PageLink explore={props.explore} page={page} name={name} />}
        </For>
      </nav>
      <SelectorField explore={props.explore} />
      <GroupBy explore={props.explore} />
      <span class="spring" />
      <LiveButton explore={props.explore} />
      <button type="button" class="button ghost wide" aria-label="When did a function use CPU?" title="When did a function use CPU? (G)" onClick={props.openFunctions}>
        <Icon name="clock" />
      </button>
      <Pins explore={props.explore} history={props.history} />
      <CopyLink explore={props.explore} />
      <Export explore={props.explore} theme={props.theme} />
      <Theme theme={props.theme} />
      <button type="button" class="button ghost wide" aria-label="Keys and help" title="Keys and help (?)" onClick={props.openHelp}>
        <Icon name="help" />
      </button>
      <div class="narrow">
        <Menu label="Views and help" class="button ghost" align="right" trigger={<Icon name="menu" />}>
          {(close) => (
            <>
              <For each={PAGE_NAMES}>{([page, name]) => <PageLink explore={props.explore} page={page} name={name} class="item" done={close} />}</For>
              <hr />
              <button type="button" class="item" onClick={() => { close(); props.openFunctions(); }}>When did a function use CPU?</button>
              <button type="button" class="item" onClick={() => { close(); props.openHelp(); }}>Keys and help</button>
            </>
          )}
        </Menu>
      </div>
    </header>
  );
}

interface PageLinkProps {
  explore: Explore;
  page: Page;
  name: string;
  class?: string;
  /** Called when it was followed. */
  done?: () => void;
}

function PageLink(props: PageLinkProps): JSX.Element {
  const target = () => ({ ...props.explore.view(), page: props.page, zoom: 0, selected: 0, search: "", ...(props.page === "compare" ? {} : { a: "", b: "" }) });
  const href = () => {
    const query = formatState(target());
    return `${pathOf(props.page)}${query ? `?${query}` : ""}`;
  };
  return (
    <a
      class={props.class} href={href()} aria-current={props.explore.view().page === props.page ? "page" : undefined}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        props.done?.();
        props.explore.update(target());
      }}
    >
      {props.name}
    </a>
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
