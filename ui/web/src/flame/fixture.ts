/** Small trees for tests, written as folded stacks. */

import type { Flame } from "../api/types";

/** The kinds that the server knows. */
const KINDS = ["root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated"];

/** `{"redis;main;poll": 3}` as an answer of the server; `name@binary` sets a binary, `kind:name` a kind. */
export function flameOf(folded: Record<string, number>): Flame {
  const strings = [""];
  const text = (value: string) => {
    const at = strings.indexOf(value);
    return at >= 0 ? at : strings.push(value) - 1;
  };
  interface Node { name: string; self: number; children: Map<string, Node> }
  const node = (name: string): Node => ({ name, self: 0, children: new Map() });
  const root = node("root:all");
  for (const [stack, samples] of Object.entries(folded)) {
    let at = root;
    stack.split(";").forEach((name, depth) => {
      const key = depth === 0 ? `group:${name}` : name;
      const child = at.children.get(key) ?? node(key);
      at.children.set(key, child);
      at = child;
    });
    at.self += samples;
  }
  const frames: Flame["frames"] = {
    kind: [], function: [], system_name: [], file: [], line: [], binary: [], build_id: [], unwound: [],
  };
  const ids = new Map<string, number>();
  const frameId = (key: string) => {
    const known = ids.get(key);
    if (known !== undefined) return known;
    const [, kind = "native", rest = ""] = /^(?:([a-z]+):)?(.*)$/.exec(key) ?? [];
    const [name = "", binary = ""] = rest.split("@");
    frames.kind.push(KINDS.indexOf(kind));
    frames.function.push(text(name));
    frames.binary.push(text(binary));
    for (const column of ["system_name", "file", "line", "build_id", "unwound"] as const) frames[column].push(0);
    ids.set(key, ids.size);
    return ids.size - 1;
  };
  const nodes: Flame["nodes"] = { parent: [], frame: [], self: [], total: [] };
  const walk = (at: Node, parent: number): number => {
    const index = nodes.parent.length;
    nodes.parent.push(index - parent);
    nodes.frame.push(frameId(at.name));
    nodes.self.push(at.self);
    nodes.total.push(0);
    let total = at.self;
    for (const child of at.children.values()) total += walk(child, index);
    nodes.total[index] = total;
    return total;
  };
  const samples = walk(root, 0);
  return {
    from_ms: 0, until_ms: 60_000, period_ns: 10_101_010, samples, complete: samples, incomplete: {}, taken: samples,
    lost: {}, pruned: 0, skipped: [], kinds: KINDS, strings, frames, nodes,
  };
}
