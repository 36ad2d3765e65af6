import { expect, test } from "vitest";
import type { Timeline } from "../api/types";
import { dragged, gripAt } from "./brush";
import { aligned, bucketStep, roundStep, shifted, tickText, timeTicks, toTime, toX, valueTicks, zoomed } from "./scale";
import { bucketAt, buildSeries, layerMeans, losses, runs, watchedMs } from "./series";

const noon = new Date(2024, 5, 14, 12, 0, 0).getTime();
const scale = { span: { from: noon, until: noon + 600_000 }, left: 50, width: 1000 };

const answer: Timeline = {
  from_ms: 0, until_ms: 6000, step_ms: 1000, period_ns: 10_000_000, by: "process",
  groups: [
    { value: "spiky", total: 300, samples: [0, 100, 0, 0, 200, 0] },
    { value: "calm", total: 400, samples: [100, 100, 0, 0, 100, 100] },
  ],
  other: { groups: 3, total: 5, samples: [5, 0, 0, 0, 0, 0] },
  complete: [80, 150, 0, 0, 250, 90], lost: [0, 0, 7, 9, 0, 1], rates: [], skipped: [],
};

const all = { from: 0, until: 1e9 };

test("pixels and instants convert both ways", () => {
  expect(toX(scale, noon + 300_000)).toBe(550);
  expect(toTime(scale, 550)).toBe(noon + 300_000);
});

test("ticks are round on the local clock", () => {
  const { step, ticks } = timeTicks({ from: noon + 61_000, until: noon + 961_000 }, 8);
  expect(step).toBe(120_000);
  expect(ticks.map((at) => (at - noon) / 60_000)).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
});

test("long spans tick at local midnight", () => {
  const { ticks } = timeTicks({ from: noon, until: noon + 10 * 86_400_000 }, 5);
  expect(ticks.length).toBeGreaterThan(0);
  for (const at of ticks) expect(new Date(at).getHours()).toBe(0);
});

test("a span of any length has few ticks, and what stands there tells them apart", () => {
  const spans = [10_000, 60_000, 900_000, 86_400_000, 7 * 86_400_000, 400 * 86_400_000, 3660 * 86_400_000, 1e14];
  for (const length of spans) {
    // Midnight of a new year is in the middle.
    const start = new Date(2024, 0, 1).getTime();
    const { step, ticks } = timeTicks({ from: start - length / 2, until: start + length / 2 }, 8);
    expect(ticks.length).toBeGreaterThan(2);
    expect(ticks.length).toBeLessThan(11);
    expect(new Set(ticks.map((tick) => tickText(tick, step))).size).toBe(ticks.length);
  }
});

test("value axes end on a round number at or above the peak", () => {
  expect(valueTicks(7.2)).toEqual([0, 4, 8]);
  expect(valueTicks(0.013)).toEqual([0, 0.01, 0.02]);
  expect(valueTicks(4)).toEqual([0, 2, 4]);
  expect(valueTicks(0)).toEqual([0, 0.005, 0.01]);
});

test("buckets are round, and stay put while the window moves", () => {
  const step = bucketStep({ from: 0, until: 900_000 }, 1000);
  expect(step).toBe(3000);
  expect(aligned({ from: 901, until: 6001 }, step)).toEqual({ from: 0, until: 9000 });
  expect(roundStep(61_000)).toBe(120_000);
});

test("zooming keeps the instant under the pointer", () => {
  const before = { from: 0, until: 1_000_000 };
  const after = zoomed(before, 250_000, 0.5);
  expect(after).toEqual({ from: 125_000, until: 625_000 });
  expect(zoomed({ from: 0, until: 2000 }, 0, 0.01)).toEqual({ from: 0, until: 1000 });
  expect(shifted(before, 10.4)).toEqual({ from: 10, until: 1_000_010 });
});

test("a press takes an edge, the inside, or starts anew", () => {
  const brush = { from: noon + 120_000, until: noon + 240_000 };
  expect([246, 255, 300, 452, 500].map((x) => gripAt(scale, brush, x))).toEqual(["left", "left", "inside", "right", "new"]);
  expect(gripAt(scale, null, 250)).toBe("new");
});

test("dragging makes, resizes and moves a span inside the window", () => {
  const brush = { from: noon + 120_000, until: noon + 240_000 };
  expect(dragged(scale, null, "new", 450, 250)).toEqual(brush);
  expect(dragged(scale, brush, "right", 450, 550)).toEqual({ from: noon + 120_000, until: noon + 300_000 });
  expect(dragged(scale, brush, "left", 250, 550)).toEqual({ from: noon + 240_000, until: noon + 300_000 });
  expect(dragged(scale, brush, "inside", 300, 5000)).toEqual({ from: noon + 480_000, until: noon + 600_000 });
  expect(dragged(scale, null, "new", -90, 5000)).toEqual(scale.span);
  expect(dragged(scale, null, "new", 250, 250)).toEqual({ from: noon + 120_000, until: noon + 121_000 });
});

test("buckets become cores", () => {
  const series = buildSeries(answer, all);
  expect([...series.total]).toEqual([1.05, 2, 0, 0, 3, 1]);
  expect(series.peak).toBe(3);
});

test("the calmest layer lies at the bottom, the rest below it", () => {
  expect(buildSeries(answer, all).layers.map(({ value }) => value)).toEqual(["other", "calm", "spiky"]);
});

test("the newest bucket is left out while it fills", () => {
  const series = buildSeries(answer, { from: 0, until: 5500 });
  expect([...series.total]).toEqual([1.05, 2, 0, 0, 3, 0]);
  expect(runs(series)).toEqual([[0, 2], [4, 5]]);
});

test("wide buckets at the ends of the data are measured by what they hold", () => {
  const wide = { ...answer, until_ms: 6 * 60_000, step_ms: 60_000 };
  const series = buildSeries(wide, { from: 30_000, until: 5 * 60_000 + 20_000 });
  expect(series.total[0]).toBeCloseTo(1.05 / 30);
  expect(series.total[1]).toBeCloseTo(2 / 60);
  expect(series.total[5]).toBeCloseTo(1 / 20);
});

test("an end of the data that is out of date makes no spike", () => {
  const series = buildSeries(answer, { from: 0, until: 2000 });
  expect([...series.total]).toEqual([1.05, 2, 0, 0, 3, 0]);
});

test("buckets without samples are gaps", () => {
  expect(runs(buildSeries(answer, all))).toEqual([[0, 2], [4, 6]]);
});

test("neighbouring losses are one", () => {
  expect(losses(buildSeries(answer, all))).toEqual([
    { from: 2000, until: 4000, lost: 16 }, { from: 5000, until: 6000, lost: 1 },
  ]);
});

const sparse = (samples: number[], step: number): Timeline => ({
  ...answer, until_ms: samples.length * step, step_ms: step, complete: samples, lost: samples.map(() => 0),
  groups: [{ value: "p", total: 1, samples }], other: { groups: 0, total: 0, samples: samples.map(() => 0) },
});

test("what a selector leaves out is silence, not absence", () => {
  const everything = sparse([9, 9, 9, 0, 0, 0, 9, 9], 10_000);
  const series = buildSeries(sparse([5, 0, 0, 0, 0, 0, 0, 5], 10_000), all, everything);
  expect(runs(series)).toEqual([[0, 3], [6, 8]]);
  expect(series.gaps).toEqual([{ from: 30_000, until: 60_000 }]);
});

test("a short silence of everything is an idle machine, a long one nobody watching", () => {
  expect(buildSeries(sparse([5, 0, 5, 5], 10_000), all).gaps).toEqual([]);
  expect(buildSeries(sparse([0, 0, 0, 5, 0, 0, 5, 0, 0, 0], 10_000), all).gaps).toEqual([{ from: 40_000, until: 60_000 }]);
});

test("means are over the watched time", () => {
  const series = buildSeries(sparse([1000, 1000, 0, 0, 1000, 0, 1000, 1000], 10_000), all);
  expect(layerMeans(series, { from: 0, until: 80_000 }).get("p")).toBeCloseTo(5 / 6);
  expect(layerMeans(series, { from: 5000, until: 15_000 }).get("p")).toBeCloseTo(1);
  expect(layerMeans(series, { from: 0, until: 900_000 }).get("p")).toBeCloseTo(5 / 6);
  expect(watchedMs({ from: 0, until: 80_000 }, { from: 10_000, until: 70_000 }, series.gaps)).toBe(40_000);
});

test("an instant has its bucket", () => {
  const series = buildSeries(answer, all);
  expect(bucketAt(series, 4500)).toBe(4);
  expect(bucketAt(series, 6000)).toBeUndefined();
});

test("cores do not jump where samples are taken twice as often", () => {
  const rates = [{ time_ms: 0, period_ns: 20_000_000 }, { time_ms: 3000, period_ns: 10_000_000 }];
  const groups = [{ value: "steady", total: 90, samples: [10, 10, 10, 20, 20, 20] }];
  const series = buildSeries({ ...answer, groups, other: { groups: 0, total: 0, samples: [] }, rates }, { from: 0, until: 6000 });
  expect([...series.total].map((cores) => cores.toFixed(2))).toEqual(Array(6).fill("0.20"));
});
