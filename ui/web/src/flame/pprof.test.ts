import { expect, test } from "vitest";
import { applyTransforms } from "./apply";
import { flameOf } from "./fixture";
import { pprofOf } from "./pprof";
import { buildTree } from "./tree";

type Field = [number, number | Uint8Array];

/** The fields of a message; a reader of its own, by the specification of the wire format. */
function fields(bytes: Uint8Array): Field[] {
  const found: Field[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift++) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    if (tag % 8 === 0) found.push([tag >> 3, varint()]);
    else {
      expect(tag % 8).toBe(2);
      const length = varint();
      found.push([tag >> 3, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  expect(at).toBe(bytes.length);
  return found;
}

function packed(bytes: Uint8Array): number[] {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (const byte of bytes) {
    value += (byte & 0x7f) * 2 ** (7 * shift++);
    if (byte >= 0x80) continue;
    numbers.push(value);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/** Samples as `label|leaf < caller = values`. */
function read(bytes: Uint8Array): string[] {
  const all = fields(bytes);
  const of = (field: number) => all.filter(([at]) => at === field).map(([, value]) => value as Uint8Array);
  const strings = of(6).map((text) => new TextDecoder().decode(text));
  const get = (message: Field[], field: number) => message.find(([at]) => at === field)?.[1] ?? 0;
  const functions = new Map(of(5).map((message) => [get(fields(message), 1), strings[get(fields(message), 2) as number]]));
  const mappings = new Map(of(3).map((message) => [get(fields(message), 1), strings[get(fields(message), 5) as number]]));
  const locations = new Map(of(4).map((message) => {
    const location = fields(message);
    const name = functions.get(get(fields(get(location, 4) as Uint8Array), 1));
    const binary = mappings.get(get(location, 2));
    return [get(location, 1), binary ? `${name}@${binary}` : name];
  }));
  return of(2).map((message) => {
    const sample = fields(message);
    const label = fields(get(sample, 3) as Uint8Array);
    const path = packed(get(sample, 1) as Uint8Array).map((id) => locations.get(id));
    return `${strings[get(label, 1) as number]}=${strings[get(label, 2) as number]}|${path.join(" < ")} = ${packed(get(sample, 2) as Uint8Array)}`;
  }).sort();
}

const facts = { from_ms: 1_700_000_000_000, until_ms: 1_700_000_060_000, period_ns: 10_101_010, unit: "samples" };
const tree = buildTree(flameOf({ "p;main;größe@/bin/p": 3, "p;main": 2, "q;kernel:do_sys@[kernel]": 70_000 }));

test("each stack is a sample with its group as a label", () => {
  expect(read(pprofOf(tree, facts, "process"))).toEqual([
    "process=p|größe@/bin/p < main = 3,30303030",
    "process=p|main = 2,20202020",
    "process=q|do_sys@[kernel] = 70000,707070700000",
  ]);
});

test("what transforms made of the tree is what is written", () => {
  const { tree: focused } = applyTransforms(tree, [{ operation: "focus", target: "größe" }]);
  const all = fields(pprofOf(focused, facts, "process"));
  expect(all.filter(([at]) => at === 2)).toHaveLength(1);
  expect(all.find(([at]) => at === 9)?.[1]).toBe(1.7e18);
});

test("values that are no samples keep their unit", () => {
  const bytes = pprofOf(tree, { ...facts, unit: "bytes" }, "process");
  expect(fields(bytes).filter(([at]) => at === 1)).toHaveLength(1);
  expect(new TextDecoder().decode(bytes)).toContain("bytes");
});
