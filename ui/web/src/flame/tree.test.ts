import { packed, textAt } from "./frames";
import { expect, test } from "vitest";
import { flameOf } from "./fixture";
import { TreeError, buildTree, childrenOf, findPath, frameOf, pathTo, within } from "./tree";

const names = (tree: ReturnType<typeof buildTree>, nodes: number[]) => nodes.map((node) => frameOf(tree, node).name);
const tree = buildTree(flameOf({ "a;main;read": 2, "a;main;write": 5, "b;main": 10, "a;main": 1 }));

test("children stand from wide to narrow", () => {
  expect(names(tree, childrenOf(tree, 0))).toEqual(["b", "a"]);
  expect(names(tree, Array.from({ length: tree.count }, (_, i) => i))).toEqual([
    "all", "b", "main", "a", "main", "write", "read",
  ]);
});

test("every node spans its total, and children lie inside their parent", () => {
  for (let node = 1; node < tree.count; node++) {
    const parent = tree.parent[node]!;
    expect(tree.start[node]).toBeGreaterThanOrEqual(tree.start[parent]!);
    expect(tree.start[node]! + tree.total[node]!).toBeLessThanOrEqual(tree.start[parent]! + tree.total[parent]!);
  }
  expect(tree.total[0]).toBe(18);
});

test("subtrees are contiguous", () => {
  const [, a] = childrenOf(tree, 0) as [number, number];
  expect(tree.end[a]).toBe(tree.count);
  expect(within(tree, tree.count - 1, a)).toBe(true);
  expect(within(tree, 1, a)).toBe(false);
});

test("rows hold the nodes of a depth from left to right", () => {
  expect(tree.rows.map((row) => names(tree, [...row]))).toEqual([["all"], ["b", "a"], ["main", "main"], ["write", "read"]]);
});

test("a node is found again in another tree, and else its nearest caller", () => {
  const write = 5;
  const hashes = pathTo(tree, write).map((node) => tree.path[node]!);
  const other = buildTree(flameOf({ "b;main": 1, "a;main;write": 7, "a;main;open": 9 }));
  expect(frameOf(other, findPath(other, hashes)).name).toBe("write");
  const without = buildTree(flameOf({ "a;main;open": 9 }));
  expect(frameOf(without, findPath(without, hashes)).name).toBe("main");
  const foreign = buildTree(flameOf({ "c;x": 1 }));
  expect(findPath(foreign, hashes)).toBe(0);
});

test("equal names on different paths have different hashes", () => {
  expect(new Set(tree.path).size).toBe(tree.count);
});

test("columns that are no tree are refused with the reason", () => {
  const broken = (change: (flame: ReturnType<typeof flameOf>) => void) => () => {
    const flame = flameOf({ "a;main": 1 });
    change(flame);
    buildTree(flame);
  };
  expect(broken((flame) => flame.nodes.parent.splice(0))).toThrow(TreeError);
  expect(broken((flame) => flame.nodes.self.pop())).toThrow("differ in length");
  expect(broken((flame) => (flame.nodes.parent[2] = 9))).toThrow("node 2 has no parent");
  expect(broken((flame) => (flame.nodes.parent[1] = 0))).toThrow("node 1 has no parent");
  expect(broken((flame) => (flame.nodes.frame[1] = 99))).toThrow("node 1 has no frame");
});

test("a deep recursion does not overflow", () => {
  const stack = ["p", ...Array.from({ length: 1500 }, () => "f")].join(";");
  const deep = buildTree(flameOf({ [stack]: 3 }));
  expect(deep.rows.length).toBe(1502);
  expect(deep.end[0]).toBe(1502);
});

test("texts in one string are told apart, whatever they hold", () => {
  const texts = ["", "a", "", "日本 🔥", "x".repeat(1000), "\u0000;"];
  const table = packed(texts);
  expect(texts.map((_, i) => textAt(table, i))).toEqual(texts);
  expect(textAt(table, 99)).toBe("");
});
