import { expect, test } from "vitest";
import { Grower, givenAway, received } from "./decode";
import { flameOf } from "./fixture";
import { DEFAULT_TRANSFORMS } from "./transform";
import { buildTree } from "./tree";

const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value)).buffer;
const stacks = { "p;_start;main;f": 3, "p;_start;main;g": 2, "q;h": 1 };

test("a tree that crosses to another thread is the same tree", () => {
  const { tree, facts, steps } = new Grower().load(bytes(flameOf(stacks)), []);
  const { frames, ...there } = received(structuredClone(tree), tree.columns!);
  const { frames: builtFrames, ...built } = buildTree(flameOf(stacks));
  expect(there).toEqual(built);
  expect(frames.at(2)).toEqual(builtFrames.at(2));
  expect(facts).toMatchObject({ samples: 6, period_ns: 10_101_010 });
  expect(facts).not.toHaveProperty("nodes");
  expect(steps).toEqual([]);
});

test("other transforms of the same answer send no frames again, but those that they made", () => {
  const grower = new Grower();
  const first = grower.load(bytes(flameOf(stacks)), []);
  const next = grower.apply(DEFAULT_TRANSFORMS);
  expect(next.tree.columns).toBeUndefined();
  const tree = received(structuredClone(next.tree), first.tree.columns!);
  expect([...tree.frame].map((frame) => tree.frames.name(frame))).toContain("2 start-up frames");
  expect(next.steps).toEqual([{ name: "start-up frames", found: true, samples: 6 }]);
});

test("what is given away with one tree is not missing in the next", () => {
  const grower = new Grower();
  const first = grower.load(bytes(flameOf(stacks)), []);
  const there = structuredClone(first, { transfer: givenAway(first) });
  expect(first.tree.nodes.parent).toHaveLength(0);
  for (const transforms of [[], DEFAULT_TRANSFORMS, []]) {
    const next = grower.apply(transforms);
    expect(received(structuredClone(next.tree, { transfer: givenAway(next) }), there.tree.columns!).total[0]).toBe(6);
  }
});

test("what is no tree is refused with a reason", () => {
  expect(() => new Grower().load(bytes("<html>"), [])).toThrow();
  expect(() => new Grower().load(bytes({ ...flameOf(stacks), nodes: { parent: [], frame: [], self: [], total: [] } }), [])).toThrow(/no root/);
  expect(() => new Grower().apply([])).toThrow(/no tree/);
});
