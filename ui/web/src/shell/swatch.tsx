/** Small samples of colour: of a group, and of a kind of frame. */

import { type JSX, createEffect } from "solid-js";
import { palette } from "../color/bands";
import { frameFill, paintFrame } from "../flame/paint";
import type { Frame } from "../flame/tree";
import type { Coloring } from "../state/url";

const themes = { light: palette(false), dark: palette(true) };

/** The area tone of a group. */
export function Swatch(props: { value: string; other: boolean; dark: boolean }): JSX.Element {
  const fill = () => {
    const colors = props.dark ? themes.dark : themes.light;
    return props.other ? colors.other : colors.area(props.value);
  };
  return <i class="swatch" aria-hidden="true" style={{ "background-color": fill() }} />;
}

/** A frame in its colour and texture, without a name. */
export function FrameSwatch(props: { frame: Frame; dark: boolean; coloring?: Coloring }): JSX.Element {
  let canvas!: HTMLCanvasElement;
  createEffect(() => {
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(22 * ratio);
    canvas.height = Math.round(12 * ratio);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    const colors = props.dark ? themes.dark : themes.light;
    const coloring = props.coloring ?? "package";
    paintFrame({ context, palette: colors, ratio, coloring }, props.frame, frameFill(props.frame, colors, coloring), 0, 0, 22, 12);
  });
  return <canvas ref={canvas} class="kind" aria-hidden="true" />;
}
