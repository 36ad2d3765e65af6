import { expect, test } from "vitest";
import { flameOf } from "../flame/fixture";
import { buildTree } from "../flame/tree";
import { type Open, moved, opened, openedHeaviest, rowsOf, toggled } from "./rows";

const tree = buildTree(flameOf({ "p;main;f;deep": 8, "p;main;g": 1, "q;x": 2 }));
// 0 all · 1 p · 2 main · 3 f · 4 deep · 5 g · 6 q · 7 x
const none: Open = new Set();
const root = toggled(tree, none, 0);

test("only what is below open nodes is in sight", () => {
  expect(rowsOf(tree, none)).toEqual([0]);
  expect(rowsOf(tree, root)).toEqual([0, 1, 6]);
  expect(rowsOf(tree, opened(tree, none, 4))).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(rowsOf(tree, opened(tree, none, 4), 2)).toEqual([2, 3, 4, 5]);
});

test("opening the heaviest way goes as long as it is one", () => {
  expect(rowsOf(tree, openedHeaviest(tree, root, 1))).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test("arrows walk, open and close", () => {
  const all = opened(tree, none, 4);
  const press = (node: number, key: string, open = all) => moved(tree, rowsOf(tree, open), open, node, key, 3);
  expect(press(3, "ArrowDown")).toEqual({ to: 4 });
  expect(press(5, "ArrowDown")).toEqual({ to: 6 });
  expect(press(0, "ArrowUp")).toEqual({ to: 0 });
  expect(press(0, "PageDown")).toEqual({ to: 3 });
  expect(press(4, "End")).toEqual({ to: 6 });
  expect(press(2, "ArrowRight")).toEqual({ to: 3 });
  expect(press(4, "ArrowRight")).toBeUndefined();
  expect(press(4, "ArrowLeft")).toEqual({ to: 3 });
  expect(press(0, "ArrowLeft", none)).toBeUndefined();
  const closed = press(1, "ArrowLeft") as { open: Open };
  expect(rowsOf(tree, closed.open)).toEqual([0, 1, 6]);
  const again = moved(tree, [0, 1, 6], closed.open, 1, "ArrowRight", 3) as { open: Open };
  expect(again.open).toEqual(all);
});
