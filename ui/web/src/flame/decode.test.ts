import { expect, test } from "vitest";
import { columnsOf } from "../../e2e/columns.mjs";
import { fnv1a } from "../color/bands";
import { readAnswer } from "./columns";
import { Grower, baseOf, givenAway, received } from "./decode";
import { flameOf } from "./fixture";
import { DEFAULT_TRANSFORMS } from "./transform";
import { type FlameTree, buildTree } from "./tree";

const bytes = (stacks: Record<string, number>, change = {}) => columnsOf({ ...flameOf(stacks), ...change }).buffer;
const stacks = { "p;_start;main;f": 3, "p;_start;main;größe😀": 2, "q;h@/bin/q": 9 };

/** A tree as plain values, whatever their types are. */
const plain = ({ frames, rows, path, parent, frame, depth, end, self, total, start }: FlameTree) => ({
  names: [...frame].map((at) => frames.name(at)), hashes: [...frames.hashes], rows: rows.map((row) => [...row]), path: [...path],
  parent: [...parent], depth: [...depth], end: [...end], self: [...self], total: [...total], start: [...start],
});

test("a tree in columns is the tree of the JSON, in the order of drawing", () => {
  const { tree, facts } = readAnswer(bytes(stacks));
  expect(plain(tree)).toEqual(plain(buildTree(flameOf(stacks))));
  expect(tree.frames.at(2)).toEqual(buildTree(flameOf(stacks)).frames.at(2));
  expect([...tree.frame].map((at) => tree.frames.nameHash(at))).toEqual([...tree.frame].map((at) => fnv1a(tree.frames.name(at))));
  expect(facts).toMatchObject({ samples: 14, period_ns: 10_101_010, data: { from_ms: null } });
  expect(facts).not.toHaveProperty("nodes");
  expect(tree.total).toBeInstanceOf(Uint32Array);
});

test("samples beyond four bytes are read as well", () => {
  const { tree } = readAnswer(bytes({ "p;main": 5e9, "p;other": 1 }));
  expect([...tree.total]).toEqual([5e9 + 1, 5e9 + 1, 5e9, 1]);
  expect([...tree.start]).toEqual([0, 0, 0, 5e9]);
});

test("a tree that crosses to another thread and back is transformed as here", () => {
  const { tree } = readAnswer(bytes(stacks));
  const grower = new Grower();
  grower.load(structuredClone(baseOf(tree)));
  for (const transforms of [[], DEFAULT_TRANSFORMS, []]) {
    const sent = grower.apply(transforms);
    const there = received(structuredClone(sent, { transfer: givenAway(sent) }).tree, tree.frames);
    expect(there.total[0]).toBe(14);
    expect([...there.frame].map((at) => there.frames.name(at)).includes("2 start-up frames")).toBe(transforms.length > 0);
    if (transforms.length === 0) expect(plain(there)).toEqual(plain(tree));
    else expect(sent.steps).toEqual([{ name: "start-up frames", found: true, samples: 14 }]);
  }
});

test("what is no tree is refused with a reason", () => {
  expect(() => readAnswer(new TextEncoder().encode("<html>").buffer)).toThrow(/cut off/);
  expect(() => readAnswer(new TextEncoder().encode("<html><body></body></html>").buffer)).toThrow(/begin like/);
  expect(() => readAnswer(bytes(stacks).slice(0, 300))).toThrow();
  expect(() => readAnswer(bytes(stacks, { nodes: { parent: [], frame: [], self: [], total: [] } }))).toThrow(/no root/);
  expect(() => readAnswer(bytes({ p: 1 }, { nodes: { parent: [0, 1], frame: [0, 77], self: [0, 1], total: [1, 1] } }))).toThrow("node 1 has no frame");
  const cut = bytes(stacks);
  for (let length = 0; length < cut.byteLength; length += 7) expect(() => readAnswer(cut.slice(0, length))).toThrow();
  expect(() => new Grower().apply([])).toThrow(/no tree/);
});
