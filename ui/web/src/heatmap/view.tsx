/** Time × offset in the second: bursts and beats that a mean hides. A rectangle of it is a selection. */

import { type JSX, Show, createEffect, createMemo, createSignal, on, onCleanup, onMount } from "solid-js";
import { ApiError, Latest, fetchHeatMap } from "../api/client";
import type { HeatMap } from "../api/types";
import { tokens } from "../color/tokens";
import { childrenOf, frameOf } from "../flame/tree";
import { cores, count, share, thousands } from "../format/number";
import { clock } from "../format/time";
import { formatSide, settled } from "../compare/sides";
import { createPainter, createSize, prepared } from "../shell/canvas";
import { ContextMenu, type Item } from "../shell/contextmenu";
import type { Explore } from "../state/explore";
import type { ThemeState } from "../state/theme";
import { MOST_RECTANGLES, disjoint, hullOf } from "../state/rectangles";
import type { Rectangle, Span } from "../state/url";
import { type Cell, columnsOf, cornersOf, fullCount, rectangleOf, rowsOf, samplesIn, timeOf, whyNot } from "./cells";
import { type Corners, type Grid, cellAt, drawHeatMap, imageOf, rampImage } from "./draw";

/** A live map is asked for this often. */
const LIVE_EVERY = 2000;
const AXIS = 20;

export function HeatMapRow(props: { explore: Explore; theme: ThemeState }): JSX.Element {
  const { explore } = props;
  let host!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  const size = createSize(() => host);
  const [map, setMap] = createSignal<HeatMap>();
  const [refused, setRefused] = createSignal("");
  const [draft, setDraft] = createSignal<Corners>();
  const [cursor, setCursor] = createSignal<Cell>();
  const [focused, setFocused] = createSignal(false);
  let press: { at: Cell; moved: boolean; adds: boolean } | undefined;
  /** Whether what is being drawn joins what is selected. */
  const [adds, setAdds] = createSignal(false);

  const span = createMemo(() => explore.range());
  const reason = () => whyNot(span()) || refused() || (map() && silent(map()!));
  const requests = new Latest();
  const load = async () => {
    if (whyNot(span())) return setMap(undefined);
    try {
      const { query } = explore.view();
      const answer = await requests.run((signal) => fetchHeatMap({ query, ...span() }, signal));
      if (!answer) return;
      setMap(answer);
      setRefused("");
    } catch (error) {
      setRefused(error instanceof ApiError ? error.message : String(error));
    }
  };
  const key = createMemo(() => {
    const { from, until } = span();
    return JSON.stringify([explore.view().query, explore.live() ? "live" : from, until - from]);
  });
  createEffect(on(key, () => void load()));
  const timer = setInterval(() => explore.live() && !requests.busy && !press && !document.hidden && void load(), LIVE_EVERY);
  onCleanup(() => clearInterval(timer));

  const chosen = explore.rectangles;
  const rectangles = createMemo((): readonly Rectangle[] => {
    const shown = map();
    const drawn = draft();
    if (!shown || !drawn) return chosen();
    return [...(adds() ? chosen() : []), rectangleOf(shown, drawn[0], drawn[1])];
  });
  const cornersIn = (all: readonly Rectangle[]) => {
    const shown = map();
    return shown ? all.map((one) => cornersOf(shown, one)).filter((found) => found !== undefined) : [];
  };
  const corners = createMemo(() => cornersIn(rectangles()));
  const pieces = createMemo(() => cornersIn(disjoint(rectangles())));
  const grid = createMemo((): Grid => {
    const narrow = size().width < 720;
    const left = (narrow ? 34 : 56) + (narrow ? 14 : 16);
    return {
      left, width: Math.max(1, size().width - left - (narrow ? 14 : 12)), top: 2, height: Math.max(20, size().height - AXIS - 10),
      span: span(), narrow,
    };
  });

  const image = createMemo(() => {
    const shown = map();
    return shown && imageOf(shown, props.theme.dark());
  });
  const paint = createPainter(() => {
    const context = prepared(canvas, size());
    if (context) {
      drawHeatMap(context, {
        map: reason() ? undefined : map(), image: image(), grid: grid(), size: size(), tokens: tokens(props.theme.dark()), corners: corners(), pieces: pieces(),
        cursor: focused() || press ? cursor() : undefined, why: reason() ?? "",
      });
    }
  });
  createEffect(on([map, image, grid, size, corners, cursor, focused, reason, props.theme.dark], paint));
  onMount(() => void document.fonts.load("400 11px Inter").then(paint));

  const at = (event: PointerEvent | MouseEvent): Cell | undefined => {
    const shown = map();
    if (!shown || reason()) return undefined;
    const box = canvas.getBoundingClientRect();
    return cellAt(shown, grid(), event.clientX - box.left, event.clientY - box.top);
  };
  const choose = (a: Cell, b: Cell, more = false) => {
    const shown = map();
    if (!shown) return;
    const rectangle = rectangleOf(shown, a, b);
    // What lies outside the range has no cells.
    const { from, until } = span();
    explore.pause();
    const within = { ...rectangle, from: Math.max(rectangle.from, floorSecond(from)), until: Math.min(rectangle.until, ceilSecond(until)) };
    explore.update({ heatMap: [...(more ? chosen() : []), within].slice(-MOST_RECTANGLES), zoom: 0 });
  };
  const clear = () => chosen().length > 0 && explore.update({ heatMap: true, zoom: 0 });

  /** The menu of a cell, while it is open. */
  const [menu, setMenu] = createSignal<{ cell: Cell; x: number; y: number }>();
  const openMenu = (cell: Cell | undefined, x: number, y: number) => cell && setMenu({ cell, x, y });
  /** The second that a cell is of, or what is selected where it lies in that. */
  const meant = (shown: HeatMap, { column }: Cell): Span => {
    const second = rectangleOf(shown, { column, row: 0 }, { column, row: rowsOf(shown) - 1 });
    return chosen().some(({ from, until }) => second.from >= from && second.from < until) ? hullOf(chosen()) : second;
  };
  const actions = (shown: HeatMap, cell: Cell): Item[] => {
    const { column, row } = cell;
    const last = columnsOf(shown) - 1;
    const compare = () => {
      const { query } = explore.view();
      const side = ({ from, until }: Span) => formatSide({ kind: "range", from, until, query });
      explore.pause();
      explore.update({ page: "compare", a: side(settled(span())), b: side(meant(shown, cell)), zoom: 0, selected: 0, search: "" });
    };
    return [
      { name: "Flame graph of this second", run: () => choose({ column, row: 0 }, { column, row: rowsOf(shown) - 1 }) },
      { name: "Flame graph of this part of every second", run: () => choose({ column: 0, row }, { column: last, row }) },
      ...(chosen().length > 0 ? [{ name: "Flame graph of the whole range", key: "ESC", run: clear }] : []),
      null,
      { name: "Compare with the whole range", run: compare },
    ];
  };

  const onKey = (event: KeyboardEvent) => {
    const shown = map();
    if (!shown || reason()) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (step) {
      const before = cursor() ?? { column: Math.floor(columnsOf(shown) / 2), row: Math.floor(rowsOf(shown) / 2) };
      const far = event.ctrlKey ? 10 : 1;
      const next = {
        column: Math.max(0, Math.min(columnsOf(shown) - 1, before.column + (step[0] as number) * far)),
        row: Math.max(0, Math.min(rowsOf(shown) - 1, before.row + (step[1] as number) * far)),
      };
      setAdds(false);
      setDraft(event.shiftKey ? [draft()?.[0] ?? before, next] : undefined);
      setCursor(next);
    } else if (event.key === "Enter" && cursor()) {
      const [a, b] = draft() ?? [cursor()!, cursor()!];
      setDraft(undefined);
      choose(a, b, event.shiftKey);
    } else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      const box = canvas.getBoundingClientRect();
      openMenu(cursor() ?? { column: 0, row: 0 }, box.left + grid().left + 20, box.top + 20);
    } else if (event.key === "Escape" && (draft() || chosen().length > 0)) {
      if (draft()) setDraft(undefined);
      else clear();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <>
      <div class="heatmap" ref={host}>
        <canvas
          ref={canvas} tabindex="0" role="application" aria-describedby="heat-reading"
          aria-label="Heat map: samples by second and by place in the second. Arrow keys move, with Shift they select, Enter takes the selection, with Shift beside what is selected."
          data-columns={map() ? columnsOf(map()!) : 0} data-left={grid().left} data-width={grid().width} data-top={grid().top} data-height={grid().height}
          onKeyDown={onKey} onFocus={() => setFocused(true)} onBlur={() => setFocused(false)}
          onPointerDown={(event) => {
            const cell = at(event);
            if (event.button !== 0 || !cell) return;
            press = { at: cell, moved: false, adds: event.shiftKey };
            setAdds(event.shiftKey);
            canvas.setPointerCapture(event.pointerId);
          }}
          onPointerMove={(event) => {
            const cell = at(event);
            if (cell) setCursor(cell);
            if (!press || !cell) return;
            if (cell.column !== press.at.column || cell.row !== press.at.row) press.moved = true;
            if (press.moved) setDraft([press.at, cell]);
          }}
          onPointerUp={() => {
            const done = press;
            const rectangle = draft();
            press = undefined;
            setDraft(undefined);
            if (!done) return;
            if (done.moved && rectangle) choose(rectangle[0], rectangle[1], done.adds);
            else if (!done.adds) clear();
          }}
          onPointerCancel={() => {
            press = undefined;
            setDraft(undefined);
          }}
          onContextMenu={(event) => {
            event.preventDefault();
            press = undefined;
            setDraft(undefined);
            openMenu(at(event), event.clientX, event.clientY);
          }}
          onDblClick={(event) => {
            const cell = at(event);
            const shown = map();
            if (cell && shown) choose({ column: cell.column, row: 0 }, { column: cell.column, row: rowsOf(shown) - 1 });
          }}
        />
      </div>
      <Show when={map() && menu()} keyed>
        {(open) => (
          <ContextMenu x={open.x} y={open.y} title={clock(timeOf(map()!, open.cell))} items={actions(map()!, open.cell)} close={() => setMenu(undefined)} />
        )}
      </Show>
      <Reading
        explore={explore} theme={props.theme} map={reason() ? undefined : map()} draft={draft()} cursor={cursor()} chosen={chosen()}
        apply={() => draft() && choose(draft()![0], draft()![1])} clear={clear} why={reason() ?? ""}
      />
    </>
  );
}

const floorSecond = (ms: number) => Math.floor(ms / 1000) * 1000;
const ceilSecond = (ms: number) => Math.ceil(ms / 1000) * 1000;

/** Why a map has nothing to show. */
function silent(map: HeatMap): string {
  if (map.columns.some((cells) => cells.some((samples) => samples > 0))) return "";
  return map.without_times > 0 ? "Exact times of this range are not kept any more." : "No samples in this range.";
}

interface ReadingProps {
  explore: Explore;
  theme: ThemeState;
  map: HeatMap | undefined;
  draft: Corners | undefined;
  cursor: Cell | undefined;
  chosen: readonly Rectangle[];
  apply: () => void;
  clear: () => void;
  why: string;
}

/** The side column: the ramp, and what is selected or pointed at. */
function Reading(props: ReadingProps): JSX.Element {
  const part = ({ low, high }: Rectangle) => (low === 0 && high === 1000 ? "" : `, ${low} – ${high} ms of each second`);
  const parts = () => (props.chosen.length > 1 ? `, ${props.chosen.length} rectangles` : part(props.chosen[0]!));
  const exact = (ms: number) => {
    const text = clock(ms);
    return text.includes(".") ? text : `${text}.000`;
  };
  const top = () => {
    const graph = props.explore.graph();
    const widest = graph && childrenOf(graph.tree, 0)[0];
    if (!graph || widest === undefined || !graph.answer.samples) return "";
    return `, ${share((graph.tree.total[widest] as number) / graph.answer.samples)} ${frameOf(graph.tree, widest).name}`;
  };
  const pointed = () => {
    const { map, cursor } = props;
    return map && cursor ? { time: timeOf(map, cursor), samples: map.columns[cursor.column]?.[cursor.row] ?? 0 } : undefined;
  };
  return (
    <div class="heat-reading" id="heat-reading" aria-live="polite">
      {/* The map itself says why it is none; those who hear the page do so here. */}
      <Show when={!props.why} fallback={<p class="unseen">{props.why}</p>}>
        <div class="ramp">
          <Strip dark={props.theme.dark()} />
          <p class="caption"><span>0</span><span>samples per {props.map?.row_ms ?? 20} ms</span><span>{props.map ? thousands(fullCount(props.map)) : ""}</span></p>
        </div>
        <Show
          when={props.draft && props.map}
          fallback={
            <Show when={props.chosen.length > 0} fallback={<PointedAt pointed={pointed()} exact={exact} without={props.map?.without_times ?? 0} />}>
              <>
                  <p><b>{clock(hullOf(props.chosen).from)} – {clock(hullOf(props.chosen).until)}</b>{parts()}</p>
                  <p class="quiet" data-rectangle={props.explore.graph()?.answer.samples}>
                    {count(props.explore.graph()?.answer.samples ?? 0, "sample")}, {cores(props.explore.coresOf(props.explore.graph()?.answer.samples ?? 0))} cores{top()}
                  </p>
                  <p><button type="button" class="link" onClick={props.clear}>Whole range again</button> <kbd>Esc</kbd> <span class="quiet">or <kbd>Shift</kbd>-drag another</span></p>
              </>
            </Show>
          }
        >
          {(map) => {
            const rectangle = () => rectangleOf(map(), props.draft![0], props.draft![1]);
            return (
              <>
                <p><b>{clock(rectangle().from)} – {clock(rectangle().until)}</b>{part(rectangle())}</p>
                <p class="quiet">{count(samplesIn(map(), props.draft![0], props.draft![1]), "sample")}</p>
                <p><button type="button" class="link" onClick={props.apply}>Flame graph of this rectangle</button> <kbd>Enter</kbd></p>
              </>
            );
          }}
        </Show>
      </Show>
    </div>
  );
}

function Strip(props: { dark: boolean }): JSX.Element {
  let strip!: HTMLCanvasElement;
  createEffect(() => rampImage(strip, props.dark));
  return <canvas ref={strip} width="256" height="1" aria-hidden="true" />;
}

function PointedAt(props: { pointed: { time: number; samples: number } | undefined; exact: (ms: number) => string; without: number }): JSX.Element {
  return (
    <>
      <Show when={props.pointed} fallback={<p class="quiet">Drag a rectangle for the flame graph of exactly its samples.</p>}>
        {(cell) => <><p><b>{props.exact(cell().time)}</b></p><p class="quiet">{count(cell().samples, "sample")}</p></>}
      </Show>
      <Show when={props.without}>{(samples) => <p class="caption">{count(samples(), "sample")} without an exact time.</p>}</Show>
    </>
  );
}
