/** Self and total time by function, source file, binary or package. */

import { binaryKey } from "../color/bands";
import { packageOf } from "../flame/package";
import { frameLabel } from "../flame/names";
import type { Frame, FlameTree } from "../flame/tree";
import type { TopRows } from "../state/url";

/** A function of one binary, or what `TopRows` names. Values are samples. */
export interface TopRow {
  name: string;
  binary: string;
  /** The kind its widest frame has. */
  frame: Frame;
  self: number;
  /** Samples with it anywhere in the stack; recursion counts once. */
  total: number;
  /** The widest node of it. */
  node: number;
}

/** What a table can be sorted by. */
export type SortKey = "self" | "total" | "name" | "binary";

/** What tells rows apart, and how they are called. */
function rowOf(frame: Frame, by: TopRows): { key: string; name: string } {
  if (frame.kind === "truncated" || frame.kind === "folded") {
    const name = frameLabel(frame, "");
    return { key: `${frame.kind}\0${name}`, name };
  }
  switch (by) {
    case "function":
      return { key: `\0${frame.name}\0${frame.binary}`, name: frameLabel(frame, "") };
    case "file":
      return { key: `\0${frame.file}`, name: frame.file || "(no source file known)" };
    case "binary":
      return { key: `\0${frame.binary}`, name: frame.binary || "(no binary)" };
    case "package": {
      const name = packageOf(frame) || binaryKey(frame.binary) || "(none)";
      return { key: `\0${name}`, name };
    }
  }
}

/** The rows below `top`, in no order. A function inlined here and called there is one row. */
export function topRows(tree: FlameTree, by: TopRows = "function", top = 0): TopRow[] {
  const rowOfFrame = new Int32Array(tree.frames.length).fill(-1);
  const byKey = new Map<string, number>();
  const rows: TopRow[] = [];
  const widest: number[] = [];
  // How many open nodes belong to a row: its total grows only at the outermost of them.
  const open: number[] = [];
  const stack: number[] = [];
  const end = tree.end[top] as number;
  for (let node = top; node < end; node++) {
    while (stack.length > 0 && (tree.end[stack[stack.length - 1] as number] as number) <= node) {
      open[rowOfFrame[tree.frame[stack.pop() as number] as number] as number]!--;
    }
    const id = tree.frame[node] as number;
    const kind = tree.frames.kind(id);
    if (kind === "root" || kind === "group") continue;
    let row = rowOfFrame[id] as number;
    if (row < 0) {
      const frame = tree.frames.at(id);
      const { key, name } = rowOf(frame, by);
      row = byKey.get(key) ?? -1;
      if (row < 0) {
        row = rows.push({ name, binary: frame.kind === "folded" ? "" : frame.binary, frame, self: 0, total: 0, node }) - 1;
        byKey.set(key, row);
        open.push(0);
        widest.push(-1);
      }
      rowOfFrame[id] = row;
    }
    const entry = rows[row] as TopRow;
    const total = tree.total[node] as number;
    entry.self += tree.self[node] as number;
    if (open[row] === 0) entry.total += total;
    if (total > (widest[row] as number)) {
      widest[row] = total;
      entry.node = node;
      entry.frame = tree.frames.at(id);
    }
    open[row]!++;
    stack.push(node);
  }
  return rows;
}

/** The rows in the order of a column; equal ones by name. */
export function sortRows(rows: readonly TopRow[], key: SortKey, descending: boolean): TopRow[] {
  const sign = descending ? -1 : 1;
  const by = (a: TopRow, b: TopRow) => {
    const x = a[key];
    const y = b[key];
    return x === y ? 0 : x < y ? -1 : 1;
  };
  return [...rows].sort((a, b) => sign * by(a, b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
