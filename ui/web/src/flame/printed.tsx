/** The graph as it is printed: a picture of all rows in light colours, made when somebody prints. */

import { type JSX, createSignal, onCleanup, onMount } from "solid-js";
import type { Explore } from "../state/explore";
import { pictureOf } from "./save";
import { pictureSvg } from "./svg";

export function Printed(props: { explore: Explore }): JSX.Element {
  const [picture, setPicture] = createSignal<Node>();
  const before = () => {
    const found = pictureOf(props.explore, false);
    if (!found) return;
    // Parsed as XML, never as HTML: names of functions are hostile.
    const { documentElement } = new DOMParser().parseFromString(pictureSvg(found), "image/svg+xml");
    setPicture(document.importNode(documentElement, true));
  };
  const after = () => setPicture(undefined);
  onMount(() => {
    addEventListener("beforeprint", before);
    addEventListener("afterprint", after);
    onCleanup(() => {
      removeEventListener("beforeprint", before);
      removeEventListener("afterprint", after);
    });
  });
  return <div class="printed" aria-hidden="true">{picture()}</div>;
}
