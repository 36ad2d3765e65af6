/** Profiles as files, and other viewers that open them from this machine's address. */

import { For, type JSX, Show } from "solid-js";
import { saveConverted, saveFolded, savePng, savePprof, saveSvg } from "../flame/save";
import { apiUrl, selectionParams } from "../api/client";
import { Icon } from "../shell/icons";
import { Menu } from "../shell/menu";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";

const FORMATS = [
  ["pprof", "pprof", "profile.proto, for go tool pprof"],
  ["folded", "Folded stacks", "one stack per line"],
  ["svg", "SVG", "a flame graph to look at"],
  ["json", "JSON", "the stack tree"],
  ["firefox", "Firefox Profiler", "threads over time"],
  ["speedscope", "speedscope", "threads over time"],
  ["perf-script", "perf script", "sample after sample, as text"],
] as const;

/** Viewers that read a profile from an address, if their origin may: its name, our format, how they are told. */
export const VIEWERS = [
  { name: "Firefox Profiler", origin: "https://profiler.firefox.com", format: "firefox", url: (address: string) => `https://profiler.firefox.com/from-url/${encodeURIComponent(address)}` },
  { name: "speedscope", origin: "https://www.speedscope.app", format: "speedscope", url: (address: string) => `https://www.speedscope.app/#profileURL=${encodeURIComponent(address)}` },
] as const;

export function Export(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const saves: [string, string, () => void | Promise<void>][] = [
    ["Picture", ".svg", () => saveSvg(explore, props.theme.dark())],
    ["Picture", ".png", () => savePng(explore, props.theme.dark())],
    ["Folded stacks", ".txt", () => saveFolded(explore)],
    ["pprof", ".pb.gz", () => savePprof(explore)],
    ["speedscope", ".json", () => saveConverted(explore, "speedscope", "speedscope.json")],
    ["Firefox Profiler", ".json", () => saveConverted(explore, "firefox", "firefox.json")],
    ["Print", "", () => print()],
  ];
  const path = (format: string) => {
    const { query, by } = explore.view();
    return apiUrl("query", { ...selectionParams({ query, ...explore.picked() }), by, format });
  };
  const origins = () => explore.status()?.origins ?? [];
  const open = () => VIEWERS.filter(({ origin }) => origins().includes(origin));
  return (
    <Menu label="Export" class="button ghost" align="right" trigger={<Icon name="download" />}>
      {(close) => (
        <>
          <Show when={explore.view().page === "explore" && explore.graph()}>
            <p class="caption">As on screen, with its transforms</p>
            <For each={saves}>
              {([name, ending, save]) => (
                <button
                  type="button" class="item"
                  onClick={() => {
                    close();
                    Promise.resolve(save()).catch(explore.fail);
                  }}
                >
                  {name}<span class="quiet">{ending}</span>
                </button>
              )}
            </For>
            <hr />
          </Show>
          <p class="caption">The data of the range, without transforms</p>
          <For each={FORMATS}>
            {([format, name, what]) => (
              <a class="item" href={path(format)} download="" onClick={close}>
                {name} <span class="quiet">{what}</span>
              </a>
            )}
          </For>
          <p class="caption">Open in</p>
          <For each={open()}>
            {(viewer) => (
              <a class="item" href={viewer.url(location.origin + path(viewer.format))} target="_blank" rel="noopener noreferrer" onClick={close}>
                {viewer.name} <span class="quiet">reads it from this address</span>
              </a>
            )}
          </For>
          <Show when={open().length < VIEWERS.length}>
            <p class="caption allow">
              {open().length ? "For the others" : "For Firefox Profiler and speedscope"} start Vesta with{" "}
              <code>--allow-origin {VIEWERS.filter(({ origin }) => !origins().includes(origin)).map(({ origin }) => origin).join(",")}</code>
            </p>
          </Show>
        </>
      )}
    </Menu>
  );
}
