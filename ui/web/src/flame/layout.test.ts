import { expect, test } from "vitest";
import { flameOf } from "./fixture";
import { type Viewport, between, fromParts, hit, panned, rowTop, toParts, viewOf, visibleRects, zoomedAt } from "./layout";
import { buildTree, frameOf } from "./tree";

const port: Viewport = {
  width: 1020, height: 400, padLeft: 10, padRight: 10, padTop: 8, rowHeight: 20, scroll: 0, orientation: "icicle",
};
const tree = buildTree(flameOf({ "a;main;read": 25, "a;main;write": 50, "b;main": 25 }));
const whole = viewOf(tree, 0);
const boxes = (view = whole, viewport = port, of = tree) => {
  const rects = visibleRects(of, view, viewport);
  return Array.from({ length: rects.count }, (_, i) => ({
    name: frameOf(of, rects.node[i]!).name, x: rects.x[i]!, y: rects.y[i]!, w: rects.w[i]!, sliver: rects.sliver[i]!,
  }));
};

test("width is the share of samples", () => {
  const row = boxes().filter((box) => box.y === 28);
  expect(row.map(({ name, x, w }) => [name, x, w])).toEqual([["a", 10, 750], ["b", 760, 250]]);
});

test("a zoomed node and its callers fill the width, its siblings are gone", () => {
  const write = boxes(viewOf(tree, 3));
  expect(frameOf(tree, 3).name).toBe("write");
  expect(write.map(({ name, x, w }) => [name, x, w])).toEqual([
    ["all", 10, 1000], ["a", 10, 1000], ["main", 10, 1000], ["write", 10, 1000],
  ]);
});

test("rows outside the viewport are left out", () => {
  expect(boxes(whole, { ...port, scroll: 30, height: 10 }).map(({ name }) => name)).toEqual(["a", "b"]);
});

test("the flame orientation has the root at the bottom", () => {
  const flame = { ...port, orientation: "flame" as const };
  expect(rowTop(0, flame)).toBe(372);
  expect(rowTop(1, flame)).toBe(352);
  expect(frameOf(tree, hit(tree, whole, flame, 500, 380)).name).toBe("all");
});

test("every rectangle is hit at its centre, and the gaps are not", () => {
  for (const orientation of ["icicle", "flame"] as const) {
    const viewport = { ...port, orientation };
    const rects = visibleRects(tree, whole, viewport);
    for (let i = 0; i < rects.count; i++) {
      expect(hit(tree, whole, viewport, rects.x[i]! + rects.w[i]! / 2, rects.y[i]! + 10)).toBe(rects.node[i]);
    }
  }
  expect(hit(tree, whole, port, 5, 15)).toBe(-1);
  expect(hit(tree, whole, port, 900, 75)).toBe(-1);
  expect(hit(tree, whole, port, 500, 300)).toBe(-1);
});

test("siblings too narrow to see become one sliver", () => {
  const many = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`p;f${i}`, 1]));
  const crowded = buildTree(flameOf({ ...many, "p;wide": 9600 }));
  const row = boxes(viewOf(crowded, 0), port, crowded).filter(({ y }) => y === 48);
  expect(row.map(({ name, sliver }) => [name, sliver])).toEqual([["wide", 0], ["f0", 1]]);
  expect(row[1]!.w).toBeCloseTo(40, 1);
});

test("60,000 nodes stay within what can be drawn", () => {
  const stacks: Record<string, number> = {};
  for (let i = 0; i < 20_000; i++) stacks[`p${i % 40};f${i % 400};g${i}`] = 1 + (i % 7);
  const large = buildTree(flameOf(stacks));
  const rects = visibleRects(large, viewOf(large, 0), port);
  expect(rects.count).toBeLessThan(4 * 1000 / 0.45);
  expect(rects.count).toBeGreaterThan(40);
});

test("a zoom starts fast, ends exactly", () => {
  const from = { x0: 0, x1: 100 };
  const to = { x0: 50, x1: 60 };
  expect(between(from, to, 0)).toEqual(from);
  expect(between(from, to, 1)).toEqual(to);
  expect(between(from, to, 0.5).x0).toBeCloseTo(43.75);
});

test("zooming keeps what is under the pointer there, and stays within the whole", () => {
  const all = { x0: 0, x1: 1000 };
  const closer = zoomedAt(all, all, 250, 0.5);
  expect(closer).toEqual({ x0: 125, x1: 625 });
  expect(zoomedAt(closer, all, 250, 2)).toEqual(all);
  expect(zoomedAt({ x0: 900, x1: 1000 }, all, 1000, 3)).toEqual({ x0: 700, x1: 1000 });
  const closest = Array.from({ length: 200 }).reduce<typeof all>((at) => zoomedAt(at, all, 500, 0.5), all);
  expect(closest.x1 - closest.x0).toBeCloseTo(1e-4);
  expect(zoomedAt(all, all, 3, 50)).toEqual(all);
});

test("panning ends at the edges", () => {
  const all = { x0: 0, x1: 1000 };
  expect(panned({ x0: 100, x1: 200 }, all, 50)).toEqual({ x0: 150, x1: 250 });
  expect(panned({ x0: 100, x1: 200 }, all, 5000)).toEqual({ x0: 900, x1: 1000 });
  expect(panned(all, all, -7)).toEqual(all);
});

test("a view survives the way through parts of the whole", () => {
  const all = { x0: 0, x1: 640 };
  expect(fromParts(toParts({ x0: 160, x1: 320 }, all), all)).toEqual({ x0: 160, x1: 320 });
  expect(fromParts({ x0: 0.9, x1: 3 }, all)).toEqual(all);
});
