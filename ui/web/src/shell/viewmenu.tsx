/** How the graph is drawn, and pictures of it. */

import { For, type JSX } from "solid-js";
import { saveFolded, savePng, saveSvg } from "../flame/save";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { COLORINGS } from "../state/url";
import { Icon } from "./icons";
import { Menu } from "./menu";

export function ViewMenu(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  const saves: [string, string, () => void][] = [
    ["Picture", ".svg", () => saveSvg(explore, props.theme.dark())],
    ["Picture", ".png", () => savePng(explore, props.theme.dark())],
    ["Folded stacks", ".txt", () => saveFolded(explore)],
    ["Print", "", () => print()],
  ];
  return (
    <Menu label="Colours and pictures" class="button ghost" align="right" trigger={<Icon name="palette" />}>
      {(close) => (
        <>
          <p class="caption">colour by</p>
          <For each={COLORINGS}>
            {(coloring) => (
              <button
                type="button" class="item" aria-pressed={explore.view().coloring === coloring}
                onClick={() => {
                  explore.update({ coloring }, true);
                  close();
                }}
              >
                {coloring === "type" ? "type of code" : coloring}
              </button>
            )}
          </For>
          <hr />
          <p class="caption">as on screen, with its transforms</p>
          <For each={saves}>
            {([name, ending, save]) => (
              <button
                type="button" class="item"
                onClick={() => {
                  close();
                  save();
                }}
              >
                {name}<span class="quiet">{ending}</span>
              </button>
            )}
          </For>
        </>
      )}
    </Menu>
  );
}
