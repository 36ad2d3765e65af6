/** Self and total time by function. */

import type { Frame, FlameTree } from "../flame/tree";

/** One function of one binary. Values are samples. */
export interface FunctionRow {
  name: string;
  binary: string;
  /** The kind its widest frame has. */
  frame: Frame;
  self: number;
  /** Samples with the function anywhere in the stack; recursion counts once. */
  total: number;
  /** The widest node of the function. */
  node: number;
}

/** What a table can be sorted by. */
export type SortKey = "self" | "total" | "name" | "binary";

/** The functions below `top`, in no order. A function inlined here and called there is one row. */
export function functionRows(tree: FlameTree, top = 0): FunctionRow[] {
  const rowOf = new Int32Array(tree.frames.length).fill(-1);
  const byName = new Map<string, number>();
  const rows: FunctionRow[] = [];
  const widest: number[] = [];
  // How many open nodes belong to a row: its total grows only at the outermost of them.
  const open: number[] = [];
  const stack: number[] = [];
  const end = tree.end[top] as number;
  for (let node = top; node < end; node++) {
    while (stack.length > 0 && (tree.end[stack[stack.length - 1] as number] as number) <= node) {
      open[rowOf[tree.frame[stack.pop() as number] as number] as number]!--;
    }
    const id = tree.frame[node] as number;
    const frame = tree.frames[id] as Frame;
    if (frame.kind === "root" || frame.kind === "group") continue;
    let row = rowOf[id] as number;
    if (row < 0) {
      const key = `${frame.kind === "truncated"}\0${frame.name}\0${frame.binary}`;
      row = byName.get(key) ?? -1;
      if (row < 0) {
        row = rows.push({ name: frame.name, binary: frame.binary, frame, self: 0, total: 0, node }) - 1;
        byName.set(key, row);
        open.push(0);
        widest.push(-1);
      }
      rowOf[id] = row;
    }
    const entry = rows[row] as FunctionRow;
    const total = tree.total[node] as number;
    entry.self += tree.self[node] as number;
    if (open[row] === 0) entry.total += total;
    if (total > (widest[row] as number)) {
      widest[row] = total;
      entry.node = node;
      entry.frame = frame;
    }
    open[row]!++;
    stack.push(node);
  }
  return rows;
}

/** The rows in the order of a column; equal ones by name. */
export function sortRows(rows: readonly FunctionRow[], key: SortKey, descending: boolean): FunctionRow[] {
  const sign = descending ? -1 : 1;
  const by = (a: FunctionRow, b: FunctionRow) => {
    const x = a[key];
    const y = b[key];
    return x === y ? 0 : x < y ? -1 : 1;
  };
  return [...rows].sort((a, b) => sign * by(a, b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
