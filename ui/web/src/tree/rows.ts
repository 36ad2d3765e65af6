/** Which rows of a call tree are in sight: pure arithmetic over the tree's columns. */

import { type FlameTree, childrenOf, pathTo } from "../flame/tree";

/** The open nodes, by path hash, so that they stay open in the next tree. */
export type Open = ReadonlySet<number>;

/** The nodes in sight, from top to bottom: those whose callers are all open. */
export function rowsOf(tree: FlameTree, open: Open, top = 0): number[] {
  const rows: number[] = [];
  const end = tree.end[top] as number;
  for (let node = top; node < end; ) {
    rows.push(node);
    node = open.has(tree.path[node] as number) ? node + 1 : (tree.end[node] as number);
  }
  return rows;
}

export const isLeaf = (tree: FlameTree, node: number): boolean => (tree.end[node] as number) === node + 1;

/** Opens all that leads to a node, which is then in sight. */
export function opened(tree: FlameTree, open: Open, node: number): Open {
  const path = pathTo(tree, node).slice(0, -1).map((at) => tree.path[at] as number);
  return path.every((hash) => open.has(hash)) ? open : new Set([...open, ...path]);
}

/** Where a child no longer holds this much of its caller, the way of the most samples ends. */
const HEAVY = 0.5;

/** Opens a node, and below it where most of its samples go, as long as that is one way. */
export function openedHeaviest(tree: FlameTree, open: Open, node: number): Open {
  const next = new Set(open);
  for (let at = node; !isLeaf(tree, at); ) {
    next.add(tree.path[at] as number);
    const [widest] = childrenOf(tree, at);
    if (widest === undefined || (tree.total[widest] as number) < (tree.total[at] as number) * HEAVY) break;
    at = widest;
  }
  return next;
}

/** Opens or closes a node. */
export function toggled(tree: FlameTree, open: Open, node: number, want?: boolean): Open {
  const hash = tree.path[node] as number;
  if (open.has(hash) === want) return open;
  const next = new Set(open);
  if (!next.delete(hash)) next.add(hash);
  return next;
}

/** What a key does in a tree: goes to a node, opens or closes one. */
export type Move = { to: number } | { open: Open } | undefined;

/** The keys of a tree, as the ARIA practices have them; `page` rows are a screen. */
export function moved(tree: FlameTree, rows: readonly number[], open: Open, node: number, key: string, page: number): Move {
  const at = Math.max(0, rows.indexOf(node));
  const go = (index: number): Move => ({ to: rows[Math.min(rows.length - 1, Math.max(0, index))] ?? node });
  const isOpen = open.has(tree.path[node] as number);
  switch (key) {
    case "ArrowDown":
      return go(at + 1);
    case "ArrowUp":
      return go(at - 1);
    case "PageDown":
      return go(at + page);
    case "PageUp":
      return go(at - page);
    case "Home":
      return go(0);
    case "End":
      return go(rows.length - 1);
    case "ArrowRight":
      if (isLeaf(tree, node)) return undefined;
      return isOpen ? { to: node + 1 } : { open: toggled(tree, open, node, true) };
    case "ArrowLeft":
      if (isOpen && !isLeaf(tree, node)) return { open: toggled(tree, open, node, false) };
      return node > (rows[0] as number) ? { to: tree.parent[node] as number } : undefined;
    case "*":
      return { open: openedHeaviest(tree, open, node) };
    default:
      return undefined;
  }
}
