import { expect, test } from "vitest";
import { flameOf } from "../flame/fixture";
import { buildTree } from "../flame/tree";
import { topRows, sortRows } from "./table";

const tree = buildTree(
  flameOf({ "p;main;fib;fib;fib": 5, "p;main;fib": 2, "q;main;inlined:get@libx;read": 3, "q;get@libx": 4 }),
);
const table = (top = 0) =>
  Object.fromEntries(topRows(tree, "function", top).map(({ name, self, total }) => [name, [self, total]]));

test("recursion counts once in the total, and every time in the self", () => {
  expect(table().fib).toEqual([7, 7]);
  expect(table().main).toEqual([0, 10]);
});

test("a function inlined here and called there is one row", () => {
  expect(table().get).toEqual([4, 7]);
});

test("groups are no functions, and self time adds up to all samples", () => {
  expect(Object.keys(table()).sort()).toEqual(["fib", "get", "main", "read"]);
  expect(topRows(tree).reduce((sum, row) => sum + row.self, 0)).toBe(tree.total[0]);
});

test("a table can be cut to a subtree", () => {
  const q = tree.rows[1]!.findLast((node) => tree.total[node] === 7)!;
  expect(table(q)).toHaveProperty("main");
  const sum = topRows(tree, "function", q).reduce((all, row) => all + row.self, 0);
  expect(sum).toBe(7);
});

test("rows sort by any column, equal ones by name", () => {
  const names = (key: "self" | "total" | "name", down: boolean) =>
    sortRows(topRows(tree), key, down).map(({ name }) => name);
  expect(names("self", true)).toEqual(["fib", "get", "read", "main"]);
  expect(names("total", true)).toEqual(["main", "fib", "get", "read"]);
  expect(names("name", false)).toEqual(["fib", "get", "main", "read"]);
});

test("files, binaries and packages are rows of their own, and a stack counts once in each", () => {
  const answer = flameOf({ "p;main@/bin/p;f@/lib/libc.so.6;g@/lib/libc.so.6": 5, "p;main@/bin/p;kernel:read@[kernel]": 3 });
  const named = (by: "file" | "binary" | "package") =>
    Object.fromEntries(topRows(buildTree(answer), by).map(({ name, self, total }) => [name, [self, total]]));
  expect(named("binary")).toEqual({ "/bin/p": [0, 8], "/lib/libc.so.6": [5, 5], "[kernel]": [3, 3] });
  expect(named("package")).toEqual({ p: [0, 8], libc: [5, 5], "[kernel]": [3, 3] });
  expect(named("file")).toEqual({ "(no source file known)": [8, 8] });
});
