import { expect, test } from "vitest";
import { neighbours } from "./ahead";

const data = { from: 1000, until: 10_000 };

const HOUR = 3_600_000;

test("what is asked for ahead is as long as the range, has data, and has ended", () => {
  expect(neighbours({ from: 4000, until: 5000 }, data, 10_000)).toEqual([{ from: 3000, until: 4000 }, { from: 5000, until: 6000 }]);
  expect(neighbours({ from: 1000, until: 4000 }, data, 10_000)).toEqual([{ from: 4000, until: 7000 }]);
  expect(neighbours({ from: 6000, until: 9000 }, data, 11_000)).toEqual([{ from: 3000, until: 6000 }]);
  expect(neighbours({ from: 0, until: 20_000 }, data, 30_000)).toEqual([]);
  const days = { from: 0, until: 72 * HOUR };
  expect(neighbours({ from: 24 * HOUR, until: 30 * HOUR }, days, 80 * HOUR)).toHaveLength(2);
  expect(neighbours({ from: 24 * HOUR, until: 48 * HOUR }, days, 80 * HOUR)).toEqual([]);
});
