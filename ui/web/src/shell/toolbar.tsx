/** Tabs, the path of the zoom, search and orientation. */

import { For, type JSX, Show, createSignal } from "solid-js";
import { frameLabel } from "../flame/names";
import { targetName } from "../flame/transform";
import { frameOf, pathTo } from "../flame/tree";
import { share } from "../format/number";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import type { Tab } from "../state/url";
import { Icon } from "./icons";
import { ViewMenu } from "./viewmenu";

const TAB_NAMES: [Tab, string][] = [
  ["flame", "Flame graph"], ["top", "Top"], ["sandwich", "Sandwich"], ["tree", "Tree"], ["lanes", "Lanes"], ["source", "Source"],
];

/** Tabs, as the ARIA practices have them: arrows walk along. */
export function Tabs(props: { explore: Explore; tabs: readonly [Tab, string][]; chosen: Tab }): JSX.Element {
  const onTabKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const at = props.tabs.findIndex(([id]) => id === props.chosen);
    const next = step && props.tabs[(at + step + props.tabs.length) % props.tabs.length]?.[0];
    if (!next) return;
    event.preventDefault();
    props.explore.update({ tab: next });
    document.getElementById(`tab-${next}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label="Views of the code" onKeyDown={onTabKey}>
      <For each={props.tabs}>
        {([id, name], i) => (
          <button
            type="button" role="tab" id={`tab-${id}`} aria-selected={props.chosen === id} aria-controls="tab-panel"
            tabindex={props.chosen === id ? 0 : -1}
            title={`${name} (${i() + 1})`} onClick={() => props.explore.update({ tab: id })}
          >
            {name}
          </button>
        )}
      </For>
    </div>
  );
}

export function Toolbar(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const tab = () => explore.view().tab;
  return (
    <div class="toolbar">
      <Tabs explore={explore} tabs={TAB_NAMES} chosen={tab()} />
      <Crumbs explore={explore} />
      <Search explore={explore} />
      <Show when={tab() === "flame"}>
        <div class="segments" role="group" aria-label="Orientation">
          <For each={["icicle", "flame"] as const}>
            {(way) => (
              <button
                type="button" aria-label={way === "icicle" ? "Root at the top" : "Root at the bottom"}
                title={way === "icicle" ? "Root at the top (O)" : "Root at the bottom (O)"}
                aria-pressed={explore.view().orientation === way} onClick={() => explore.update({ orientation: way }, true)}
              >
                <Icon name={way} />
              </button>
            )}
          </For>
        </div>
      </Show>
      <ViewMenu explore={explore} />
      <div class="loading" classList={{ on: explore.slow() }} role="progressbar" aria-label="Loading" aria-hidden={!explore.slow()} />
    </div>
  );
}

/** How many frames of a long path are shown, from its end. */
const SHOWN = 3;

/** What is done to the tree, then where it is zoomed. */
function Crumbs(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const { transforms } = explore;
  const path = () => {
    const tree = explore.graph()?.tree;
    const node = explore.zoomNode();
    return tree && node > 0 ? pathTo(tree, node).slice(1) : [];
  };
  const label = (node: number) => {
    const tree = explore.graph()?.tree;
    return tree && node < tree.count ? frameLabel(frameOf(tree, node), "all") : "";
  };
  return (
    <nav class="crumbs" aria-label="What is done to the graph, and where it is zoomed">
      <button type="button" class="link" onClick={() => explore.zoom(0)}>
        All {explore.view().by === "process" ? "processes" : "samples"}
      </button>
      <For each={explore.view().transforms}>
        {({ operation, target }, i) => {
          const step = () => explore.graph()?.steps[i()];
          const name = () => (operation === "fold" ? "start-up frames" : (step()?.name ?? targetName(target)));
          return (
            <span class="chip" data-transform={operation} classList={{ idle: step()?.found === false }}
              title={step()?.found === false ? `${name()} is not in view: nothing is changed by it` : name()}>
              <span class="quiet">{operation}</span>
              <span class="name">{name()}</span>
              <button type="button" aria-label={`Take back: ${operation} ${name()}`} onClick={() => transforms.remove(i())}>
                <Icon name="close" />
              </button>
            </span>
          );
        }}
      </For>
      <Show when={transforms.canUndo()}>
        <button type="button" class="undo" onClick={transforms.undo}>Undo <kbd>Z</kbd></button>
      </Show>
      <Show when={transforms.canRedo()}>
        <button type="button" class="undo" onClick={transforms.redo}>Redo <kbd>⇧Z</kbd></button>
      </Show>
      <Show when={path().length > SHOWN}><span class="quiet">› {path().length - SHOWN} more</span></Show>
      <For each={path().slice(-SHOWN)}>
        {(node, i) => (
          <>
            <span class="quiet" aria-hidden="true">›</span>
            <button
              type="button" class="link crumb" title={label(node)} onClick={() => explore.zoom(node)}
              aria-current={i() === Math.min(path().length, SHOWN) - 1 ? "true" : undefined}
            >
              {label(node)}
            </button>
          </>
        )}
      </For>
    </nav>
  );
}

function Search(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  const [at, setAt] = createSignal(-1);
  const broken = () => {
    const query = explore.search();
    return query && "error" in query ? query.error : undefined;
  };
  const found = () => {
    const matches = explore.matches();
    const tree = explore.graph()?.tree;
    return matches && tree && share(matches.samples / ((tree.total[explore.zoomNode()] as number) || 1));
  };
  const next = (step: number) => {
    const tops = explore.matches()?.tops ?? [];
    const node = tops[(at() + step + tops.length) % (tops.length || 1)];
    if (node === undefined) return;
    setAt((at() + step + tops.length) % tops.length);
    explore.select(node);
  };
  return (
    <div class="search" classList={{ broken: broken() !== undefined }}>
      <Icon name="search" />
      <input
        id="search" type="text" spellcheck={false} autocomplete="off" aria-label="Search frames" aria-invalid={broken() !== undefined}
        aria-describedby="search-result" placeholder="Search frames" value={explore.view().search}
        title="Plain text, or an expression between slashes; Enter goes to the next match"
        onInput={(event) => {
          setAt(-1);
          explore.update({ search: event.currentTarget.value }, true);
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") next(event.shiftKey ? -1 : 1);
          if (event.key !== "Escape") return;
          explore.update({ search: "" }, true);
          event.currentTarget.blur();
        }}
      />
      <output id="search-result" for="search">
        <Show when={broken()} fallback={found()}>{(reason) => <span title={reason()}>not valid: {reason()}</span>}</Show>
      </output>
      <Show when={!explore.view().search}><kbd>/</kbd></Show>
    </div>
  );
}
