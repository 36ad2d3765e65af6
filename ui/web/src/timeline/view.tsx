/** The time line: one canvas with a brush, and its legend. */

import { For, type JSX, Show, batch, createEffect, createMemo, createSignal, on, onCleanup, onMount } from "solid-js";
import { FONTS } from "../flame/text";
import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { cores, count, share } from "../format/number";
import { clock, iso } from "../format/time";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import { Swatch } from "../shell/swatch";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { ThemeState } from "../state/theme";
import type { Span } from "../state/url";
import { type Grip, dragged, gripAt, spanText } from "./brush";
import { Annotate, EventLane } from "./annotate";
import { LANE, drawTimeline } from "./draw";
import { eventsOf, placed } from "./events";
import { Overview } from "./overview";
import { type Scale, shifted, toTime, zoomed } from "./scale";
import { type Series, bucketAt } from "./series";

/** A press on the time line. */
interface Press {
  grip: Grip | "pan";
  x: number;
  moved: boolean;
  scale: Scale;
  brush: Span | null;
}

const CURSORS: Record<Grip | "pan", string> = {
  new: "crosshair", left: "ew-resize", right: "ew-resize", inside: "grab", pan: "grabbing",
};

export function TimeLine(props: { explore: Explore; history: History; theme: ThemeState }): JSX.Element {
  const { explore, history } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [pointer, setPointer] = createSignal<{ x: number; clientX: number; clientY: number }>();
  const [panned, setPanned] = createSignal<Span>();
  let press: Press | undefined;
  const colors = createMemo(() => ownPalette(props.theme.dark(), false, explore.ranked()));
  const narrow = () => size().width < 720;
  const scale = createMemo((): Scale => {
    const left = (narrow() ? 34 : 56) + (narrow() ? 14 : 16);
    return { span: panned() ?? explore.window(), left, width: Math.max(1, size().width - left - (narrow() ? 14 : 12)) };
  });
  createEffect(() => {
    if (size().width > 0) explore.setWidth(Math.round(scale().width));
  });
  // With nothing in view the axis stays as it was.
  const peak = createMemo((before: number) => explore.series()?.peak || before, 1);
  const shownBrush = () => explore.draft() ?? explore.brush();

  const ruler = document.createElement("canvas").getContext("2d");
  const textWidth = (text: string) => {
    if (!ruler) return text.length * 7;
    ruler.font = FONTS.axis;
    return ruler.measureText(text).width;
  };
  const events = createMemo(() => placed(eventsOf(history.annotations(), explore.series()), scale(), textWidth));
  const baselineName = () => ({ yesterday: "yesterday", week: "last week", median: "median day" })[explore.view().baseline as string] ?? "pin";

  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (!context) return;
    const at = pointer();
    drawTimeline(context, {
      series: explore.series(), peak: peak(), scale: scale(), width: size().width, height: size().height, ratio: size().ratio,
      palette: colors(), tokens: tokens(props.theme.dark()), brush: shownBrush(), narrow: narrow(),
      baseline: history.baseline(), baselineName: baselineName(), marks: events(),
      pointer: at && !press?.moved ? toTime(scale(), at.x) : undefined,
    });
  });
  createEffect(on([() => explore.series(), history.baseline, events, scale, size, shownBrush, pointer, colors], paint));
  onMount(() => void document.fonts.load("400 11px Inter").then(paint));

  const local = (event: PointerEvent | WheelEvent | MouseEvent) => event.clientX - canvas.getBoundingClientRect().left;
  /** Fingers on it, by where they are; two of them zoom, from the window and the distance that they began with. */
  const fingers = new Map<number, number>();
  let pinch: { window: Span; anchor: number; apart: number } | undefined;
  const apart = () => {
    const [a = 0, b = 0] = fingers.values();
    return Math.max(10, Math.abs(a - b));
  };
  const onDown = (event: PointerEvent) => {
    if (event.button !== 0) return;
    const x = local(event);
    fingers.set(event.pointerId, x);
    if (fingers.size > 1) {
      drop();
      const [a = 0, b = 0] = fingers.values();
      pinch = { window: explore.window(), anchor: toTime(scale(), (a + b) / 2), apart: apart() };
      return;
    }
    const grip = event.shiftKey ? "pan" : gripAt(scale(), explore.brush(), x);
    // Live time would slip away under the pointer: hold the scale of the press.
    press = { grip, x, moved: false, scale: scale(), brush: explore.brush() };
    canvas.setPointerCapture(event.pointerId);
    canvas.style.setProperty("cursor", grip === "inside" ? "grabbing" : CURSORS[grip]);
  };
  const onMove = (event: PointerEvent) => {
    const x = local(event);
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, x);
    if (pinch) {
      zoomWindow(explore, pinch.anchor, pinch.apart / apart(), pinch.window);
      return;
    }
    const inside = x >= scale().left && x <= scale().left + scale().width;
    setPointer(inside ? { x, clientX: event.clientX, clientY: event.clientY } : undefined);
    if (!press) {
      canvas.style.setProperty("cursor", CURSORS[gripAt(scale(), explore.brush(), x)]);
      return;
    }
    if (!press.moved && Math.abs(x - press.x) < 3) return;
    press.moved = true;
    if (press.grip === "pan") {
      setPanned(shifted(press.scale.span, toTime(press.scale, press.x) - toTime(press.scale, x)));
      return;
    }
    setPanned(press.scale.span);
    explore.setDraft(dragged(press.scale, press.brush, press.grip, press.x, x));
  };
  const onUp = (event: PointerEvent) => {
    lift(event);
    const done = press;
    press = undefined;
    const draft = explore.draft();
    const window = panned();
    // At once, so that nothing is asked for the range that was.
    batch(() => {
      explore.setDraft(undefined);
      setPanned(undefined);
      if (!done) return;
      const around = wholeSeconds(window ?? done.scale.span);
      if (!done.moved) {
        if (done.grip === "new" && done.brush) explore.setRange(around, null);
      } else if (done.grip === "pan") {
        explore.setRange(done.brush ?? around, done.brush ? around : null);
      } else if (draft) {
        explore.setRange(draft, around);
      }
    });
  };
  const drop = () => {
    press = undefined;
    explore.setDraft(undefined);
    setPanned(undefined);
  };
  const lift = (event: PointerEvent) => {
    fingers.delete(event.pointerId);
    pinch = undefined;
  };
  const onCancel = (event: PointerEvent) => {
    lift(event);
    drop();
  };
  /** Whoever drags and thinks better of it. */
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Escape" && press) drop();
  };
  const onWheel = (event: WheelEvent) => {
    event.preventDefault();
    zoomWindow(explore, toTime(scale(), local(event)), Math.exp(Math.max(-1, Math.min(1, event.deltaY * 0.002))));
  };
  onMount(() => {
    canvas.addEventListener("wheel", onWheel, { passive: false });
    addEventListener("keydown", onKey);
    onCleanup(() => {
      canvas.removeEventListener("wheel", onWheel);
      removeEventListener("keydown", onKey);
    });
  });

  return (
    <div class="time">
    <Overview explore={explore} history={history} theme={props.theme} />
    <div class="timeline" ref={host}>
      <canvas
        ref={canvas} role="application" tabindex="0"
        aria-label="Time line. Drag to select a range; comma and full stop shift it, minus and equals zoom."
        data-from={scale().span.from} data-until={scale().span.until} data-left={scale().left} data-width={scale().width}
        onPointerDown={onDown} onPointerMove={onMove} onPointerUp={onUp} onPointerCancel={onCancel}
        onPointerLeave={() => setPointer(undefined)}
        onDblClick={(event) => explore.setAnnotating(toTime(scale(), local(event)))}
        onContextMenu={(event) => {
          event.preventDefault();
          void copyTime(toTime(scale(), local(event)));
        }}
      />
      <EventLane
        explore={explore} history={history} events={events()} height={LANE}
      />
      <Annotate explore={explore} history={history} scale={scale()} />
      <Show when={pointer()}>
        {(at) => (
          <HoverCard x={at().clientX} y={at().clientY}>
            <ReadOut explore={explore} scale={scale()} x={at().x} dark={props.theme.dark()} />
          </HoverCard>
        )}
      </Show>
    </div>
    </div>
  );
}

/** Copies an instant as ISO 8601, to the millisecond. */
async function copyTime(ms: number): Promise<void> {
  try {
    await navigator.clipboard.writeText(iso(Math.round(ms)));
  } catch {
    // Browsers allow it only on https and localhost.
  }
}

/** Zooms the window around an instant; a brush stays as it is. */
export function zoomWindow(explore: Explore, anchor: number, factor: number, before = explore.window()): void {
  const wanted = wholeSeconds(zoomed(before, anchor, factor));
  const late = Math.max(0, wanted.until - explore.now());
  const window = shifted(wanted, -late);
  const brush = explore.brush();
  explore.setRange(brush ?? window, brush ? window : null, true);
}

/** Long windows start and end on whole seconds, so that their links are short. */
function wholeSeconds({ from, until }: Span): Span {
  if (until - from < 30_000) return { from: Math.round(from), until: Math.round(until) };
  return { from: Math.round(from / 1000) * 1000, until: Math.round(until / 1000) * 1000 };
}

function ReadOut(props: { explore: Explore; scale: Scale; x: number; dark: boolean }): JSX.Element {
  const draft = () => props.explore.draft();
  const series = () => props.explore.series();
  const bucket = () => {
    const lines = series();
    return lines && bucketAt(lines, toTime(props.scale, props.x));
  };
  return (
    <Show when={!draft()} fallback={<b>{spanText(draft()!)}</b>}>
      <b>{clock(Math.round(toTime(props.scale, props.x) / 1000) * 1000)}</b>
      <Show when={bucket() !== undefined && series()}>
        {(lines) => <BucketFigures lines={lines()} bucket={bucket()!} dark={props.dark} ranked={props.explore.ranked()} />}
      </Show>
    </Show>
  );
}

function BucketFigures(props: { lines: Series; bucket: number; dark: boolean; ranked: ReadonlySet<string> | undefined }): JSX.Element {
  const samples = () => props.lines.samples[props.bucket] as number;
  const rows = () =>
    props.lines.layers
      .filter((layer) => (layer.cores[props.bucket] as number) > 0)
      .sort((a, b) => (b.cores[props.bucket] as number) - (a.cores[props.bucket] as number))
      .slice(0, 5);
  return (
    <Show when={samples() > 0} fallback={<div class="quiet">No samples</div>}>
      <div class="figures two">
        <For each={rows()}>
          {(layer) => (
            <>
              <span>
                <Swatch value={layer.value} other={layer.other} dark={props.dark} ranked={props.ranked} />
                {layer.other ? `${count(props.lines.others, "other")}` : layer.value || "(none)"}
              </span>
              <span>{cores(layer.cores[props.bucket] as number)}</span>
            </>
          )}
        </For>
        <span class="quiet">All</span>
        <span>{cores(props.lines.total[props.bucket] as number)} cores</span>
        <span class="quiet">Complete</span>
        <span>{share((props.lines.complete[props.bucket] ?? 0) / samples())}</span>
      </div>
      <Show when={props.lines.lost[props.bucket]}>{(lost) => <div>{count(lost(), "sample")} lost</div>}</Show>
    </Show>
  );
}
