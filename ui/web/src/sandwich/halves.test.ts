import { expect, test } from "vitest";
import { flameOf } from "../flame/fixture";
import { matching } from "../flame/transform";
import { type FlameTree, buildTree, pathTo } from "../flame/tree";
import { halvesOf, totalsOf } from "./halves";

const named = (tree: FlameTree) =>
  Object.fromEntries([...tree.self.keys()].filter((node) => tree.self[node]).map((node) =>
    [pathTo(tree, node).map((at) => tree.frames.name(tree.frame[at]!)).join(";"), tree.self[node]]));

const tree = buildTree(flameOf({
  "nginx;main;write": 3, "nginx;main;write;send": 4, "python;run;write;send": 2, "python;run;write;write;lock": 1, "python;other": 9,
}));
const halves = (name: string) => halvesOf(tree, matching(tree.frames, name));

test("callers stand in the order from the function outwards", () => {
  expect(named(halves("write")!.callers)).toEqual({ "write;main;nginx": 7, "write;run;python": 3 });
});

test("callees are put together from all callers, and recursion starts at the outermost call", () => {
  expect(named(halves("write")!.callees)).toEqual({ write: 3, "write;send": 6, "write;write;lock": 1 });
});

test("both halves count each sample with the function in its stack once", () => {
  const { callers, callees } = halves("write")!;
  expect(callers.total[0]).toBe(10);
  expect(callees.total[0]).toBe(10);
});

test("a function that is not there has none", () => {
  expect(halves("nowhere")).toBeUndefined();
});

test("a function's totals are those of its halves", () => {
  expect(totalsOf(tree, matching(tree.frames, "write"))).toEqual({ self: 3, total: 10 });
  expect(totalsOf(tree, matching(tree.frames, "nowhere"))).toEqual({ self: 0, total: 0 });
});
