/** What a sandwich is, whatever is drawn in its halves: callers above, what is called below. */

import { type Accessor, type JSX, Show } from "solid-js";
import type { HalfProps } from "../flame/halfcanvas";

/** Where a half stands and what it is called; what it does is its own. */
export type HalfPlace = Omit<HalfProps, "onPick">;

const CALLERS: HalfPlace = { orientation: "flame", rootless: false, label: "Callers of the function, the function at the bottom" };
const CALLEES: HalfPlace = { orientation: "icicle", rootless: true, label: "What the function calls" };

interface SandwichFrameProps<T> {
  /** Undefined until a function is selected. */
  halves: { callers: T; callees: T } | undefined;
  /** Makes a half, once: what it is of changes under it. */
  half: (of: Accessor<T>, place: HalfPlace) => JSX.Element;
  /** What is told beside the pictures. */
  beside?: (halves: Accessor<{ callers: T; callees: T }>) => JSX.Element;
}

export function SandwichFrame<T>(props: SandwichFrameProps<T>): JSX.Element {
  return (
    <div class="sandwich" id="graph">
      <Show when={props.halves} fallback={<p class="note">Select a function, in the graph or in a table: this is where its callers and what it calls will stand.</p>}>
        {(found) => (
          <>
            <p class="caption" aria-hidden="true">callers ↑</p>
            {props.half(() => found().callers, CALLERS)}
            {props.half(() => found().callees, CALLEES)}
            <p class="caption below" aria-hidden="true">callees ↓</p>
            {props.beside?.(found)}
          </>
        )}
      </Show>
    </div>
  );
}
