/** All of history in one row: the window of the time line moves along it. */

import { type JSX, Show, createEffect, createMemo, createSignal, on, onMount } from "solid-js";
import { tokens } from "../color/tokens";
import { FONTS, textWidth } from "../flame/text";
import { clock, duration } from "../format/time";
import { createPainter, createSize, prepared } from "../shell/canvas";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { ThemeState } from "../state/theme";
import type { Span } from "../state/url";
import { type Scale, tickText, timeTicks, toTime, toX } from "./scale";
import { runs } from "./series";

const AREA = 20;
const RULE = 3;

/** What a press takes hold of: the window, an edge of it, or a new window. */
type Grip = "move" | "from" | "until" | "new";

export function Overview(props: { explore: Explore; history: History; theme: ThemeState }): JSX.Element {
  const { explore, history } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [draft, setDraft] = createSignal<Span>();
  let press: { x: number; grip: Grip; window: Span; moved: boolean } | undefined;
  const narrow = () => size().width < 720;
  const all = createMemo((): Span => {
    const data = history.data() ?? explore.window();
    const until = Math.max(data.until, explore.now());
    return { from: Math.min(data.from, explore.window().from), until: Math.max(until, data.from + 60_000) };
  });
  const scale = createMemo((): Scale => {
    const left = (narrow() ? 34 : 56) + (narrow() ? 14 : 16);
    return { span: all(), left, width: Math.max(1, size().width - left - (narrow() ? 14 : 12)) };
  });
  const window = () => draft() ?? explore.window();

  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (context) draw(context);
  });
  const exactFrom = createMemo(() => explore.status()?.exact_from_ms);
  createEffect(on([size, scale, history.overview, window, exactFrom, props.theme.dark], paint));
  onMount(() => void document.fonts.load("400 11px Inter").then(paint));

  const draw = (context: CanvasRenderingContext2D) => {
    const { width, height } = size();
    const colors = tokens(props.theme.dark());
    const { left, width: room } = scale();
    context.clearRect(0, 0, width, height);
    context.font = FONTS.axis;
    context.textBaseline = "middle";
    context.fillStyle = colors.ink3;
    context.textAlign = "right";
    const length = duration(all().until - all().from).replace(/^(\d+) d.*/, (_, days: string) => `${days} ${days === "1" ? "day" : "days"}`);
    context.fillText(narrow() ? length.replace(/ .*/, (text) => text.slice(0, 2)) : length.split(" ").slice(0, 2).join(" "), left - 8, AREA - 8);
    const series = history.overview();
    if (series) {
      context.fillStyle = props.theme.dark() ? "#403c36" : "#d9d4ca";
      const y = (value: number) => AREA - (value / (series.peak || 1)) * (AREA - 1);
      for (const [first, last] of runs(series)) {
        context.beginPath();
        const x = (bucket: number) => toX(scale(), series.from + bucket * series.step);
        context.moveTo(x(first), AREA);
        for (let i = first; i < last; i++) {
          context.lineTo(x(i), y(series.total[i] as number));
          context.lineTo(x(i + 1), y(series.total[i] as number));
        }
        context.lineTo(x(last), AREA);
        context.fill();
      }
    }
    context.fillStyle = colors.line2;
    context.fillRect(left, AREA + 1, room, 1);
    // Where times are exact, and a heat map can be had.
    const exact = explore.status()?.exact_from_ms;
    if (exact != null) {
      const x = Math.max(left, toX(scale(), exact));
      context.fillStyle = colors.ink2;
      context.fillRect(x, AREA + 1, left + room - x, RULE - 1);
    }
    ticks(context, colors.ink3);
    frame(context, colors.ink);
  };
  const ticks = (context: CanvasRenderingContext2D, ink: string) => {
    const { span, left, width: room } = scale();
    const { step, ticks: at } = timeTicks(span, Math.max(2, room / 170));
    context.font = FONTS.axis;
    context.fillStyle = ink;
    context.textAlign = "left";
    context.textBaseline = "top";
    let free = left;
    for (const tick of at) {
      const x = toX(scale(), tick);
      const text = tickText(tick, step);
      if (x < free || x + textWidth(context, text, "axis") > left + room - 76) continue;
      context.fillText(text, x, AREA + RULE + 3);
      free = x + textWidth(context, text, "axis") + 12;
    }
    const exact = explore.status()?.exact_from_ms;
    if (exact != null && !narrow()) {
      context.textAlign = "right";
      context.fillText("exact times", left + room, AREA + RULE + 3);
    }
  };
  const frame = (context: CanvasRenderingContext2D, ink: string) => {
    const { left, width: room } = scale();
    const from = Math.max(left, toX(scale(), window().from));
    const until = Math.min(left + room, toX(scale(), window().until));
    const x = Math.min(from, left + room - 4);
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.strokeRect(x, 0.75, Math.max(4, until - x), AREA - 0.5);
  };

  const local = (event: PointerEvent | MouseEvent) => event.clientX - canvas.getBoundingClientRect().left;
  const gripAt = (x: number): Grip => {
    const from = toX(scale(), explore.window().from);
    const until = toX(scale(), explore.window().until);
    if (until - from > 16 && Math.abs(x - from) < 5) return "from";
    if (until - from > 16 && Math.abs(x - until) < 5) return "until";
    return x >= from - 4 && x <= until + 4 ? "move" : "new";
  };
  const moved = (x: number): Span => {
    const { grip, window: before, x: start } = press!;
    const by = toTime(scale(), x) - toTime(scale(), start);
    const least = 1000;
    const inside = (ms: number) => Math.min(all().until, Math.max(all().from, ms));
    if (grip === "from") return { from: inside(Math.min(before.from + by, before.until - least)), until: before.until };
    if (grip === "until") return { from: before.from, until: inside(Math.max(before.until + by, before.from + least)) };
    if (grip === "new") {
      const [low, high] = [toTime(scale(), Math.min(start, x)), toTime(scale(), Math.max(start, x))];
      return { from: inside(low), until: inside(Math.max(high, low + least)) };
    }
    return slid(before, by);
  };
  const slid = ({ from, until }: Span, by: number): Span => {
    const shift = Math.max(all().from - from, Math.min(all().until - until, by));
    return { from: from + shift, until: until + shift };
  };
  const show = (span: Span) => {
    const rounded = { from: Math.round(span.from / 1000) * 1000, until: Math.round(span.until / 1000) * 1000 };
    explore.setRange(rounded, null);
  };
  const onKey = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const { from, until } = explore.window();
    show(slid({ from, until }, step * (until - from)));
  };
  return (
    <div class="overview" ref={host}>
      <canvas
        ref={canvas} tabindex="0" role="application"
        aria-label={`All of history. Drag the window along it, drag beside it for a new one; arrow keys shift it.`}
        data-from={all().from} data-until={all().until} data-left={scale().left} data-width={scale().width}
        onKeyDown={onKey}
        onPointerDown={(event) => {
          if (event.button !== 0) return;
          press = { x: local(event), grip: gripAt(local(event)), window: explore.window(), moved: false };
          canvas.setPointerCapture(event.pointerId);
        }}
        onPointerMove={(event) => {
          const grip = press?.grip ?? gripAt(local(event));
          canvas.style.setProperty("cursor", { move: "grab", from: "ew-resize", until: "ew-resize", new: "crosshair" }[grip]);
          if (!press || (!press.moved && Math.abs(local(event) - press.x) < 3)) return;
          press.moved = true;
          setDraft(moved(local(event)));
        }}
        onPointerUp={(event) => {
          const done = press;
          const span = draft();
          press = undefined;
          setDraft(undefined);
          if (!done) return;
          if (done.moved && span) return show(span);
          // A click beside the window brings it there.
          const { from, until } = done.window;
          if (done.grip === "new") show(slid(done.window, toTime(scale(), local(event)) - (from + until) / 2));
        }}
        onPointerCancel={() => {
          press = undefined;
          setDraft(undefined);
        }}
      />
      <Show when={draft()}>
        {(span) => <output class="unseen">{clock(span().from)} – {clock(span().until)}</output>}
      </Show>
    </div>
  );
}
