/** The page, top to bottom in its reading order: a sentence, then time, then code, then proof. */

import { type JSX, Match, Show, Switch, createEffect, createSignal } from "solid-js";
import type { ApiError } from "./api/client";
import { Printed } from "./flame/printed";
import { FlameGraph } from "./flame/view";
import { Details } from "./shell/details";
import { FrameMenu } from "./shell/framemenu";
import { Headline } from "./shell/headline";
import { Help } from "./shell/help";
import { listenToKeys } from "./shell/keys";
import { StatusBar, createOwnCores } from "./shell/statusbar";
import { Toolbar } from "./shell/toolbar";
import { TopBar } from "./shell/topbar";
import { TruthDrawer } from "./shell/truth";
import { Audit } from "./audit/view";
import { ComparePage } from "./compare/view";
import { FunctionSearch } from "./find/functions";
import { HeatMapRow } from "./heatmap/view";
import { Inventory } from "./inventory/view";
import { Lanes } from "./lanes/view";
import { Sandwich } from "./sandwich/view";
import { createDrop } from "./share/drop";
import { SourceView } from "./source/view";
import { createExplore } from "./state/explore";
import { createHistory } from "./state/history";
import { createHosts } from "./state/hosts";
import { startLoader } from "./state/loader";
import { createTheme } from "./state/theme";
import { Legend } from "./timeline/legend";
import { TimeLine } from "./timeline/view";
import { TopTable } from "./top/view";
import { CallTree } from "./tree/view";

export interface AppProps {
  /** The query part of the address that is opened. */
  query: string;
  /** Why the link that is opened leads nowhere. */
  lost?: ApiError | undefined;
}

export function App(props: AppProps): JSX.Element {
  const explore = createExplore(props.query, props.lost);
  const theme = createTheme();
  const loader = startLoader(explore);
  const history = createHistory(explore);
  const own = createOwnCores(explore);
  const hosts = createHosts(explore);
  const [help, setHelp] = createSignal(false);
  const over = createDrop(explore);
  const [functions, setFunctions] = createSignal(false);
  listenToKeys(explore, () => setFunctions(true), () => setHelp(true));
  createEffect(() => {
    const host = explore.status()?.host;
    document.title = host ? `Vesta · ${host}` : "Vesta";
  });
  return (
    <>
      <a class="skip" href="#graph">Skip to the graph</a>
      <TopBar explore={explore} history={history} theme={theme} openHelp={() => setHelp(true)} openFunctions={() => setFunctions(true)} />
      <Switch>
      <Match when={explore.view().page === "compare"}><ComparePage explore={explore} history={history} theme={theme} /></Match>
      <Match when={explore.view().page === "inventory"}><Inventory explore={explore} /></Match>
      <Match when={explore.view().page === "audit"}><Audit explore={explore} /></Match>
      <Match when={explore.view().page === "explore"}>
      <main classList={{ heated: explore.view().heatMap !== false }}>
        <Headline explore={explore} history={history} retry={loader.reload} cancel={loader.cancel} />
        <TimeLine explore={explore} history={history} theme={theme} />
        <Legend explore={explore} history={history} theme={theme} />
        <Show when={explore.view().heatMap !== false}><HeatMapRow explore={explore} theme={theme} /></Show>
        <Toolbar explore={explore} theme={theme} />
        <div class="view" id="tab-panel" role="tabpanel" aria-labelledby={`tab-${explore.view().tab}`}>
          <Switch>
            <Match when={explore.view().tab === "flame"}>
              <FlameGraph explore={explore} history={history} theme={theme} />
              <Printed explore={explore} />
            </Match>
            <Match when={explore.view().tab === "top"}><TopTable explore={explore} theme={theme} /></Match>
            <Match when={explore.view().tab === "sandwich"}><Sandwich explore={explore} theme={theme} /></Match>
            <Match when={explore.view().tab === "tree"}><CallTree explore={explore} theme={theme} /></Match>
            <Match when={explore.view().tab === "lanes"}><Lanes explore={explore} theme={theme} /></Match>
            <Match when={explore.view().tab === "source"}><SourceView explore={explore} /></Match>
          </Switch>
        </div>
        <Show when={explore.drawn()} fallback={<aside class="details" />}><Details explore={explore} theme={theme} /></Show>
      </main>
      </Match>
      </Switch>
      <StatusBar explore={explore} theme={theme} own={own} hosts={hosts} />
      <FrameMenu explore={explore} />
      <Show when={explore.view().truth}><TruthDrawer explore={explore} theme={theme} own={own} /></Show>
      <Show when={over()}><p class="dropping">Drop a profile to compare it: pprof, folded stacks, perf script</p></Show>
      <Show when={functions()}><FunctionSearch explore={explore} history={history} close={() => setFunctions(false)} /></Show>
      <Show when={help()}><Help close={() => setHelp(false)} version={explore.status()?.version} /></Show>
    </>
  );
}
