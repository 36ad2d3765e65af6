import { expect, test } from "vitest";
import { disjoint, hullOf } from "./rectangles";
import type { Rectangle } from "./url";

const area = (all: readonly Rectangle[]) => all.reduce((sum, { from, until, low, high }) => sum + (until - from) * (high - low), 0);

test("what lies in several rectangles counts once", () => {
  const one = { from: 0, until: 5000, low: 100, high: 500 };
  expect(disjoint([one])).toEqual([one]);
  expect(disjoint([one, one])).toEqual([one]);
  const other = { from: 3000, until: 9000, low: 400, high: 800 };
  const parts = disjoint([one, other]);
  expect(area(parts)).toBe(area([one, other]) - 2000 * 100);
  // Every instant of either is in exactly one of the parts.
  for (let at = 0; at < 9000; at += 50) {
    const within = (all: readonly Rectangle[]) => all.filter(({ from, until, low, high }) => at >= from && at < until && at % 1000 >= low && at % 1000 < high).length;
    expect(within(parts)).toBe(Math.min(1, within([one, other])));
  }
  expect(hullOf([other, one])).toEqual({ from: 0, until: 9000 });
});

test("rectangles apart stay apart, and ones that touch are one", () => {
  const second = (from: number) => ({ from, until: from + 1000, low: 0, high: 1000 });
  expect(disjoint([second(5000), second(0)])).toEqual([second(0), second(5000)]);
  expect(disjoint([second(1000), second(0)])).toEqual([{ ...second(0), until: 2000 }]);
});
