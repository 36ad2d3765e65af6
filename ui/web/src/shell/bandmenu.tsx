/** Which colour whose code has: a choice that this browser keeps. */

import { For, type JSX } from "solid-js";
import { BANDS } from "../color/bands";
import { chooseBand, chosenBand, ownPalette } from "../color/chosen";
import { Menu } from "./menu";

interface BandMenuProps {
  /** Whose code it is, without path and version, or the value of a label. */
  owner: string;
  dark: boolean;
  trigger: JSX.Element;
}

export function BandMenu(props: BandMenuProps): JSX.Element {
  const tone = (band: number) => ownPalette(props.dark).frame(band, 0);
  return (
    <Menu label={`Colour of ${props.owner}`} class="button ghost band" trigger={props.trigger}>
      {(close) => {
        const choose = (band: number | undefined) => {
          close();
          chooseBand(props.owner, band);
        };
        return (
          <>
            <p class="caption">colour of {props.owner}</p>
            <For each={BANDS}>
              {(name, band) => (
                <button type="button" class="item" aria-pressed={chosenBand(props.owner) === band()} onClick={() => choose(band())}>
                  <i class="swatch" aria-hidden="true" style={{ "background-color": tone(band()) }} />
                  {name}
                </button>
              )}
            </For>
            <hr />
            <button type="button" class="item" aria-pressed={chosenBand(props.owner) === undefined} onClick={() => choose(undefined)}>as everybody has it</button>
          </>
        );
      }}
    </Menu>
  );
}
