/** The load around both sides, on one scale: what stands in the frames is compared. */

import { type JSX, createEffect, createMemo, on, onMount } from "solid-js";
import type { Annotation } from "../api/types";
import { tokens } from "../color/tokens";
import { FONTS, textWidth } from "../flame/text";
import { clock } from "../format/time";
import { createPainter, createSize, prepared } from "../shell/canvas";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { type Scale, tickText, timeTicks, toX } from "../timeline/scale";
import { runs } from "../timeline/series";
import type { Comparison, Letter } from "./state";

const LANE = 46;

export function Lanes(props: { explore: Explore; comparison: Comparison; theme: ThemeState }): JSX.Element {
  const { comparison } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const peak = createMemo(() => Math.max(0.01, ...(["a", "b"] as const).map((letter) => comparison.lanes()?.[letter].series?.peak ?? 0)));
  const draw = (context: CanvasRenderingContext2D) => {
    context.clearRect(0, 0, size().width, size().height);
    const letters: Letter[] = ["a", "b"];
    letters.forEach((letter, i) => lane(context, letter, i * LANE));
  };
  const lane = (context: CanvasRenderingContext2D, letter: Letter, top: number) => {
    const found = comparison.lanes()?.[letter];
    const side = comparison.side(letter);
    const colors = tokens(props.theme.dark());
    const floor = top + LANE - 4;
    if (!found?.series || !found.window || side.kind !== "range") {
      context.font = FONTS.axis;
      context.fillStyle = colors.ink3;
      context.textBaseline = "middle";
      context.textAlign = "left";
      if (side.kind === "file") context.fillText("A file has no time line.", 4, top + LANE / 2);
      return;
    }
    const { series, window } = found;
    const scale: Scale = { span: window, left: 0, width: size().width };
    const x = (bucket: number) => toX(scale, series.from + bucket * series.step);
    const y = (value: number) => floor - (value / peak()) * (LANE - 10);
    for (const [first, last] of runs(series)) {
      context.beginPath();
      context.moveTo(x(first), floor);
      for (let i = first; i < last; i++) {
        context.lineTo(x(i), y(series.total[i] as number));
        context.lineTo(x(i + 1), y(series.total[i] as number));
      }
      context.lineTo(x(last), floor);
      context.fillStyle = letter === "a" ? (props.theme.dark() ? "#403c36" : "#d3cdc3") : (props.theme.dark() ? "#6b655b" : "#a8a191");
      context.fill();
    }
    context.fillStyle = colors.line2;
    context.fillRect(0, floor, size().width, 1);
    events(context, scale, found.events, top, floor);
    const left = toX(scale, side.from);
    context.strokeStyle = colors.ink;
    context.lineWidth = 1.5;
    context.strokeRect(left, top + 3, Math.max(3, toX(scale, side.until) - left), LANE - 7);
    if (letter === "b") ticks(context, scale, floor);
  };
  /** Deploys and notes, so far as their names have room: the later one, if two are close. */
  const events = (context: CanvasRenderingContext2D, scale: Scale, found: readonly Annotation[], top: number, floor: number) => {
    const colors = tokens(props.theme.dark());
    let room = scale.width;
    for (const event of [...found].reverse()) {
      const x = Math.round(toX(scale, event.time_ms)) + 0.5;
      if (x < 0 || x > scale.width) continue;
      context.strokeStyle = colors.ink2;
      context.lineWidth = 1;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(x, top + 12);
      context.lineTo(x, floor);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colors.ink;
      context.beginPath();
      context.moveTo(x, top + 3);
      context.lineTo(x + 4, top + 10);
      context.lineTo(x - 4, top + 10);
      context.fill();
      context.font = FONTS.axis;
      const width = textWidth(context, event.text, "axis");
      if (x - 8 - width < 0 || x + 4 > room) continue;
      room = x - 8 - width - 8;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.strokeStyle = colors.bg;
      context.lineWidth = 3;
      context.strokeText(event.text, x - 8, top + 7);
      context.fillText(event.text, x - 8, top + 7);
    }
  };
  const ticks = (context: CanvasRenderingContext2D, scale: Scale, floor: number) => {
    const { step, ticks: at } = timeTicks(scale.span, Math.max(2, scale.width / 120));
    context.font = FONTS.axis;
    context.fillStyle = tokens(props.theme.dark()).ink3;
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const tick of at) {
      const text = tickText(tick, step);
      const half = textWidth(context, text, "axis") / 2;
      const place = toX(scale, tick);
      if (place - half >= 0 && place + half <= scale.width) context.fillText(text, place, floor + 4);
    }
  };
  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (context) draw(context);
  });
  createEffect(on([size, comparison.lanes, peak, () => props.explore.view().a, () => props.explore.view().b, props.theme.dark], paint));
  onMount(() => void document.fonts.load("400 11px Inter").then(paint));
  const told = () => (["a", "b"] as const).flatMap((letter) =>
    (comparison.lanes()?.[letter].events ?? []).map(({ text, time_ms }) => `; ${letter.toUpperCase()}: ${text}, ${clock(Math.floor(time_ms / 1000) * 1000)}`)).join("");
  return (
    <div class="lanes-canvas" ref={host}>
      <canvas ref={canvas} role="img" aria-label={`Load around both sides${told()}`} />
    </div>
  );
}
