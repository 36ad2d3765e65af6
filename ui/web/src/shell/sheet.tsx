/** The details on a narrow screen: a sheet that comes up from below and stops at three heights. */

import { type JSX, createSignal } from "solid-js";
import { Icon } from "./icons";

const STOPS = ["peek", "half", "full"] as const;
type Stop = (typeof STOPS)[number];

/** Height of the lowest stop, and what the highest leaves free above and below, in pixels. */
const PEEK = 124;
const FREE = 84;
/** Less than this is a tap, not a drag. */
const TAP = 6;

const pixels = (stop: Stop): number => (stop === "peek" ? PEEK : stop === "half" ? innerHeight / 2 : innerHeight - FREE);

/** The stop nearest to a height. */
export function nearestStop(height: number, heightOf: (stop: Stop) => number): Stop {
  return STOPS.reduce((best, stop) => (Math.abs(heightOf(stop) - height) < Math.abs(heightOf(best) - height) ? stop : best));
}

/** The state of a sheet. */
export function createSheet() {
  const [stop, setStop] = createSignal<Stop>("peek");
  const [dragged, setDragged] = createSignal<number>();
  return {
    stop, setStop, dragged, setDragged,
    height: () => {
      const height = dragged();
      if (height !== undefined) return `${height}px`;
      return stop() === "peek" ? `${PEEK}px` : stop() === "half" ? "50dvh" : `calc(100dvh - ${FREE}px)`;
    },
  };
}

export type Sheet = ReturnType<typeof createSheet>;

/** What the sheet is held by: dragged, tapped, or moved by keys. */
export function SheetHandle(props: { sheet: Sheet; close: () => void }): JSX.Element {
  const step = (by: number) => {
    const at = STOPS.indexOf(props.sheet.stop()) + by;
    const to = STOPS[Math.min(STOPS.length - 1, at)];
    if (at < 0) props.close();
    else if (to) props.sheet.setStop(to);
  };
  let from: { y: number; height: number } | undefined;
  let moved = false;
  const end = () => {
    const height = props.sheet.dragged();
    from = undefined;
    props.sheet.setDragged(undefined);
    if (height === undefined) return;
    if (height < PEEK / 2) props.close();
    else props.sheet.setStop(nearestStop(height, pixels));
  };
  return (
    <div class="sheet-handle">
      <button
        type="button" class="grip" aria-label="Height of the details"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          from = { y: event.clientY, height: pixels(props.sheet.stop()) };
          moved = false;
        }}
        onPointerMove={(event) => {
          if (!from) return;
          const by = from.y - event.clientY;
          moved ||= Math.abs(by) > TAP;
          if (moved) props.sheet.setDragged(Math.max(0, Math.min(pixels("full"), from.height + by)));
        }}
        onPointerUp={end}
        onPointerCancel={end}
        onClick={() => {
          if (!moved) props.sheet.setStop(STOPS[(STOPS.indexOf(props.sheet.stop()) + 1) % STOPS.length] as Stop);
          moved = false;
        }}
        onKeyDown={(event) => {
          if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
          event.preventDefault();
          step(event.key === "ArrowUp" ? 1 : -1);
        }}
      />
      <button type="button" class="button ghost close" aria-label="Close the details" onClick={props.close}><Icon name="close" /></button>
    </div>
  );
}
