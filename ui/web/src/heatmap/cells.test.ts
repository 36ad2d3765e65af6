import { expect, test } from "vitest";
import type { HeatMap } from "../api/types";
import { cornersOf, fullCount, ramp, rectangleOf, samplesIn, shadeOf, timeOf, whyNot } from "./cells";

const noon = 1_700_000_000_000;
const map: HeatMap = {
  from_ms: noon, until_ms: noon + 10_000, column_ms: 1000, row_ms: 20, without_times: 0,
  columns: Array.from({ length: 10 }, (_, column) => Array.from({ length: 50 }, (_, row) => (row === column ? 4 : 1))),
};

test("a drag selects whole cells, in whatever direction it goes", () => {
  const expected = { from: noon + 2000, until: noon + 5000, low: 140, high: 580 };
  const corners = [{ column: 2, row: 7 }, { column: 4, row: 28 }] as const;
  expect(rectangleOf(map, corners[0], corners[1])).toEqual(expected);
  expect(rectangleOf(map, corners[1], corners[0])).toEqual(expected);
  expect(rectangleOf(map, { column: 4, row: 7 }, { column: 2, row: 28 })).toEqual(expected);
  expect(cornersOf(map, expected)).toEqual([...corners]);
});

test("a whole second is all of its rows, and the last row ends with the second", () => {
  expect(rectangleOf(map, { column: 3, row: 0 }, { column: 3, row: 49 })).toEqual({ from: noon + 3000, until: noon + 4000, low: 0, high: 1000 });
});

test("a rectangle outside the map has no corners", () => {
  expect(cornersOf(map, { from: noon + 60_000, until: noon + 61_000, low: 0, high: 1000 })).toBeUndefined();
  expect(cornersOf(map, { from: noon - 5000, until: noon + 1500, low: 0, high: 1000 })).toEqual([{ column: 0, row: 0 }, { column: 1, row: 49 }]);
});

test("samples of a rectangle are those of its cells", () => {
  expect(samplesIn(map, { column: 0, row: 0 }, { column: 9, row: 49 })).toBe(500 + 30);
  expect(samplesIn(map, { column: 4, row: 4 }, { column: 4, row: 4 })).toBe(4);
  expect(timeOf(map, { column: 1, row: 7 })).toBe(noon + 1140);
});

test("longer columns than a second have no offsets", () => {
  expect(rectangleOf({ ...map, column_ms: 2000 }, { column: 1, row: 3 }, { column: 1, row: 4 })).toMatchObject({ low: 0, high: 1000 });
});

test("an outlier does not pale the rest, and one sample is not none", () => {
  const columns = [...map.columns.map((cells) => [...cells]), [9000]];
  expect(fullCount({ ...map, columns })).toBe(4);
  expect(fullCount({ ...map, columns: [] })).toBe(1);
  expect(shadeOf(1, 400)).toBeGreaterThan(shadeOf(0, 400));
  expect(shadeOf(9000, 4)).toBe(255);
  for (const dark of [false, true]) expect(new Set(ramp(dark)).size).toBeGreaterThan(200);
});

test("a long range has no map", () => {
  expect(whyNot({ from: noon, until: noon + 1_800_000 })).toBe("");
  expect(whyNot({ from: noon, until: noon + 1_900_000 })).toMatch(/30 minutes/);
});
