/** Small samples of colour: of a group, and of a kind of frame. */

import { type JSX, createEffect } from "solid-js";
import { ownPalette } from "../color/chosen";
import { frameFill, paintFrame } from "../flame/paint";
import type { Frame } from "../flame/tree";
import type { Coloring } from "../state/url";

/** Groups that have a colour, where not all do. */
type Ranked = ReadonlySet<string> | undefined;

/** The area tone of a group. */
export function Swatch(props: { value: string; other: boolean; dark: boolean; ranked: Ranked }): JSX.Element {
  const fill = () => {
    const colors = ownPalette(props.dark, false, props.ranked);
    return props.other ? colors.other : colors.area(props.value);
  };
  return <i class="swatch" aria-hidden="true" style={{ "background-color": fill() }} />;
}

/** A frame in its colour and texture, without a name. */
export function FrameSwatch(props: { frame: Frame; dark: boolean; coloring?: Coloring; ranked?: Ranked }): JSX.Element {
  let canvas!: HTMLCanvasElement;
  createEffect(() => {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(22 * ratio);
    canvas.height = Math.round(12 * ratio);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const colors = ownPalette(props.dark, false, props.ranked);
    const coloring = props.coloring ?? "package";
    paintFrame({ context, palette: colors, ratio, coloring }, props.frame, frameFill(props.frame, colors, coloring), 0, 0, 22, 12);
  });
  return <canvas ref={canvas} class="kind" aria-hidden="true" />;
}
