/** The end of a long table: its rows are put on the page some at a time. */

import { type Accessor, type JSX, Show, createSignal } from "solid-js";
import { thousands } from "../format/number";

/** Rows of a table that are on the page. */
export function createLimit(page: number): { limit: Accessor<number>; more: () => void; page: number } {
  const [limit, setLimit] = createSignal(page);
  return { limit, more: () => setLimit(limit() + page), page };
}

interface TableEndProps {
  rows: number;
  limited: ReturnType<typeof createLimit>;
  /** Whether there is an answer that may have no rows. */
  known: boolean;
}

export function TableEnd(props: TableEndProps): JSX.Element {
  const { limit, more, page } = props.limited;
  return (
    <>
      <Show when={props.rows > limit()}>
        <button type="button" class="link more" onClick={more}>Show {Math.min(page, props.rows - limit())} more of {thousands(props.rows)}</button>
      </Show>
      <Show when={props.rows === 0 && props.known}><p class="note">Nothing matches.</p></Show>
    </>
  );
}
