/** Threads or CPUs over the range, a lane for each. */

import { For, type JSX, Show, createEffect, createMemo, createSignal } from "solid-js";
import { fetchLanes } from "../api/client";
import type { Lane } from "../api/types";
import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { cores, count, share } from "../format/number";
import { clock } from "../format/time";
import { createSize, prepared } from "../shell/canvas";
import { HoverCard } from "../shell/hovercard";
import { createAsked } from "../state/asked";
import type { Explore } from "../state/explore";
import { equalityOf } from "../state/selector";
import type { ThemeState } from "../state/theme";
import { LANES } from "../state/url";
import { bucketStep, tickText, timeTicks, toX } from "../timeline/scale";
import { drawStrip } from "./draw";

/** Lanes asked for: more do not fit on any screen, the rest is told of. */
const MOST = 100;
const HEIGHT = 24;

export function Lanes(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  let strip!: HTMLDivElement;
  const size = createSize(() => strip);
  const by = () => explore.view().lanes;
  const { answer, error } = createAsked(explore, () => {
    const { query } = explore.view();
    const graph = explore.graph();
    if (!graph) return undefined;
    // What the graph shows: in live mode the range is ahead of it.
    const span = { from: graph.answer.from_ms, until: graph.answer.until_ms };
    const { parts } = explore.picked();
    const step = bucketStep(span, Math.max(300, size().width));
    return { key: by(), ask: (signal: AbortSignal) => fetchLanes({ query, ...span, parts }, by(), step, MOST, signal) };
  });
  const span = createMemo(() => {
    const found = answer();
    return found ? { from: found.from_ms, until: found.until_ms } : explore.range();
  });
  const axis = createMemo(() => timeTicks(span(), Math.max(2, size().width / 110)));
  const [hover, setHover] = createSignal<{ lane: Lane; x: number; y: number; bucket: number }>();
  const all = () => answer()?.lanes.reduce((sum, lane) => sum + lane.total, answer()?.other.total ?? 0) || 1;
  const name = (lane: Lane) => (by() === "cpu" ? (lane.cpu === null ? "CPU not kept" : `CPU ${lane.cpu}`) : lane.thread || "(no name)");
  return (
    <div class="lanes" id="graph">
      <div class="segments words" role="group" aria-label="A lane is a">
        <For each={LANES}>
          {(kind) => (
            <button type="button" aria-pressed={by() === kind} onClick={() => explore.update({ lanes: kind }, true)}>
              {kind === "cpu" ? "CPUs" : "Threads"}
            </button>
          )}
        </For>
      </div>
      <table>
        <caption class="unseen">Load of each {by() === "cpu" ? "CPU" : "thread"} over the range</caption>
        <thead>
          <tr>
            <th scope="col">{by() === "cpu" ? "CPU" : "Thread"}</th>
            <th scope="col">
              <div class="axis" ref={strip} aria-hidden="true">
                <For each={axis().ticks}>
                  {(at) => <span style={{ left: `${toX({ span: span(), left: 0, width: size().width }, at)}px` }}>{tickText(at, axis().step)}</span>}
                </For>
              </div>
              <span class="unseen">Load over time</span>
            </th>
            <th scope="col" class="figure">Cores</th>
            <th scope="col" class="figure">Share</th>
          </tr>
        </thead>
        <tbody>
          <For each={answer()?.lanes}>
            {(lane) => (
              <tr data-lane={by() === "cpu" ? `${lane.cpu}` : `${lane.tid}`} data-total={lane.total}>
                <th scope="row" title={`${lane.process} ${name(lane)} ${lane.tid || ""}`}>
                  <Show when={by() === "thread"} fallback={name(lane)}>
                    <button
                      type="button" aria-pressed={equalityOf(explore.view().query, "tid") === String(lane.tid)}
                      title="Show only this thread" onClick={() => explore.toggleFilter("tid", String(lane.tid))}
                    >
                      {name(lane)}
                    </button>
                    <span class="quiet"> {lane.process === lane.thread ? "" : lane.process} {lane.tid}</span>
                  </Show>
                </th>
                <td
                  onPointerMove={(event) => {
                    const box = event.currentTarget.getBoundingClientRect();
                    const bucket = Math.floor(((event.clientX - box.left) / box.width) * lane.samples.length);
                    setHover({ lane, x: event.clientX, y: event.clientY, bucket });
                  }}
                  onPointerLeave={() => setHover(undefined)}
                >
                  <LaneStrip lane={lane} theme={props.theme} width={size().width} step={answer()!.step_ms} period={answer()!.period_ns} by={by()} />
                </td>
                <td class="figure">{cores(explore.coresOf(lane.total))}</td>
                <td class="figure quiet">{share(lane.total / all())}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
      <Show when={(answer()?.other.lanes ?? 0) > 0}>
        <p class="note">{count(answer()!.other.lanes, "more lane")} with {count(answer()!.other.total, "sample")} together.</p>
      </Show>
      <Show when={answer()?.lanes.length === 0}><p class="note">No samples match.</p></Show>
      <Show when={error()}>{(why) => <p class="note" role="alert">{why()}</p>}</Show>
      <Show when={hover()}>
        {(at) => (
          <HoverCard x={at().x} y={at().y}>
            <b>{name(at().lane)}</b>
            <div class="quiet">{clock(span().from + at().bucket * (answer()?.step_ms ?? 0))}</div>
            <div>{cores(((at().lane.samples[at().bucket] ?? 0) * (answer()?.period_ns ?? 0)) / ((answer()?.step_ms ?? 1) * 1e6))} cores</div>
          </HoverCard>
        )}
      </Show>
    </div>
  );
}

function LaneStrip(props: { lane: Lane; theme: ThemeState; width: number; step: number; period: number; by: string }): JSX.Element {
  let canvas!: HTMLCanvasElement;
  createEffect(() => {
    const { lane, width, step, period } = props;
    const dark = props.theme.dark();
    const context = prepared(canvas, { width, height: HEIGHT, ratio: devicePixelRatio || 1 });
    if (!context) return;
    const colors = ownPalette(dark);
    drawStrip(context, {
      samples: lane.samples, coresPerSample: period / (step * 1e6), width, height: HEIGHT,
      fill: props.by === "cpu" ? tokens(dark).ink3 : colors.area(lane.process), line: tokens(dark).line,
    });
  });
  return <canvas ref={canvas} class="strip" aria-hidden="true" style={{ width: `${props.width}px` }} />;
}
