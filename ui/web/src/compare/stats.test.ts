import { expect, test } from "vitest";
import { change, erfc, pValue, significant } from "./stats";

const equal = { a: 100, b: 100 };

test("the error function has the values of tables", () => {
  for (const [x, value] of [[0, 1], [0.5, 0.479500122], [1, 0.157299207], [2, 0.004677734981], [5, 1.537459794e-12]] as const) {
    expect(erfc(x) / value).toBeCloseTo(1, 6);
  }
});

test("few samples prove nothing, and many prove little changes", () => {
  expect(pValue(0, 3, equal)).toBeCloseTo(0.25, 9);
  expect(pValue(3, 0, equal)).toBeCloseTo(0.25, 9);
  expect(pValue(0, 0, equal)).toBe(1);
  expect(pValue(100, 120, equal)).toBeGreaterThan(0.15);
  expect(pValue(10_000, 10_500, equal)).toBeLessThan(0.001);
  // Twice the time, twice the samples: no change.
  expect(pValue(100, 200, { a: 100, b: 200 })).toBeGreaterThan(0.9);
});

test("the sum and the approximation meet", () => {
  for (const more of [0, 15, 30]) {
    expect(pValue(240 - more, 160 + more, { a: 3, b: 2 }) / pValue(241 - more, 160 + more, { a: 3, b: 2 })).toBeCloseTo(1, 0);
  }
});

test("of a thousand comparisons of the same hardly any is called a change", () => {
  // Poisson counts by a small generator: sums of many rare events.
  let state = 7;
  const next = () => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32);
  const poisson = (mean: number) => {
    let n = 0;
    for (let left = Math.exp(-mean), product = next(); product > left; product *= next()) n++;
    return n;
  };
  const p = Array.from({ length: 1000 }, (_, i) => pValue(poisson(1 + (i % 30)), poisson(1 + (i % 30)), equal));
  expect(significant(p).reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(2);
  const [found] = significant([pValue(10, 80, equal), ...p]);
  expect(found).toBe(1);
});

test("false discoveries are bounded as Benjamini and Hochberg say", () => {
  expect([...significant([0.001, 0.04, 0.5, 0.02])]).toEqual([1, 0, 0, 1]);
  expect([...significant([0.03, 0.032, 0.034])]).toEqual([1, 1, 1]);
  expect([...significant([])]).toEqual([]);
});

test("an interval holds the change, and is wider for fewer samples", () => {
  const few = change(10, 20, equal);
  const many = change(1000, 2000, { a: 10_000, b: 10_000 });
  expect(few.change).toBeCloseTo(0.1);
  expect(many.change).toBeCloseTo(0.1);
  expect(few.high - few.low).toBeGreaterThan(5 * (many.high - many.low));
  expect(change(0, 0, equal).low).toBeLessThan(0);
});
