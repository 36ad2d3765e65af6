/** How the graph is drawn. */

import { For, type JSX } from "solid-js";
import type { Explore } from "../state/explore";
import { COLORINGS } from "../state/url";
import { Icon } from "./icons";
import { Menu } from "./menu";

export function ViewMenu(props: { explore: Explore }): JSX.Element {
  const { explore } = props;
  return (
    <Menu label="Colours and rows" class="button ghost" align="right" trigger={<Icon name="palette" />}>
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
          <button
            type="button" class="item" aria-pressed={explore.view().compact}
            onClick={() => {
              explore.update({ compact: !explore.view().compact }, true);
              close();
            }}
          >
            compact rows
          </button>
        </>
      )}
    </Menu>
  );
}
