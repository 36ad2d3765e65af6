import { expect, test } from "vitest";
import type { Timeline } from "../api/types";
import { flameOf } from "../flame/fixture";
import { buildTree } from "../flame/tree";
import { inventoryOf } from "./rows";

const timeline: Timeline = {
  from_ms: 1000, until_ms: 5000, step_ms: 1000, period_ns: 1e7, by: "exe", other: { groups: 0, total: 0, samples: [] }, complete: [], lost: [], rates: [], skipped: [],
  groups: [
    { value: "/bin/a", total: 30, samples: [0, 10, 20, 0] }, { value: "/bin/b", total: 50, samples: [50, 0, 0, 0] },
    { value: "", total: 9, samples: [9, 0, 0, 0] },
  ],
};
const tree = buildTree(flameOf({
  "a;main@/bin/a;malloc@/lib/c.so": 10, "a;main@/bin/a": 20, "a;main@/bin/a;[a+0x12]@/bin/a": 10, "b;go@/bin/b;malloc@/lib/c.so": 50, "b;kernel:do_sys": 1,
}));

test("programs have their time line, other code what ended in it", () => {
  const rows = inventoryOf(timeline, tree, 1e7);
  expect(rows.map(({ path, program, seconds }) => [path, program, seconds])).toEqual([
    ["/bin/b", true, 0.5], ["/bin/a", true, 0.3], ["/lib/c.so", false, 0.6],
  ]);
  expect(rows.map(({ first, last }) => [first, last])).toEqual([[1000, 2000], [2000, 4000], [undefined, undefined]]);
});

test("a file is on the hosts that its code ran on", () => {
  const hosts = Object.fromEntries(inventoryOf(timeline, tree, 1e7).map((row) => [row.path, row.hosts]));
  expect(hosts).toEqual({ "/bin/a": ["a"], "/bin/b": ["b"], "/lib/c.so": ["a", "b"] });
});

test("symbols are the share of samples whose function has a name", () => {
  const named = Object.fromEntries(inventoryOf(timeline, tree, 1e7).map(({ path, named: share }) => [path, share]));
  expect(named["/bin/a"]).toBeCloseTo(2 / 3);
  expect(named["/lib/c.so"]).toBe(1);
  // Nothing ended in it: nothing is said.
  expect(named["/bin/b"]).toBeUndefined();
});
