import { expect, test } from "vitest";
import { type TimeEvent, arrivals, placed, rateChanges } from "./events";
import type { Series } from "./series";

const scale = { span: { from: 0, until: 1000 }, left: 50, width: 1000 };
const note = (time: number, text = "twelve chars"): TimeEvent => ({ kind: "note", time, text });
const width = (text: string) => text.length * 6;

test("an event's text stands right of its mark, or left where there is no room", () => {
  const [near, far] = placed([note(10), note(990)], scale, width);
  expect([near!.x, near!.left, near!.room >= 72]).toEqual([60, false, true]);
  expect([far!.x, far!.left, far!.room >= 72]).toEqual([1040, true, true]);
});

test("texts never lie on each other, and the first event wins", () => {
  const events = Array.from({ length: 200 }, (_, i) => note((i * 397) % 1000));
  const found = placed(events, scale, width);
  const boxes = found.filter(({ room }) => room > 0).map(({ x, left, room }) => (left ? [x - 6 - room, x] : [x, x + 6 + room]) as [number, number]);
  boxes.sort((a, b) => a[0] - b[0]);
  boxes.forEach(([low], i) => i > 0 && expect(low).toBeGreaterThanOrEqual(boxes[i - 1]![1] - 0.001));
  expect(found[0]!.time).toBe(events[0]!.time);
  expect(found.length).toBeLessThanOrEqual(84);
});

test("what lies outside the window is not there", () => {
  expect(placed([note(-1), note(1001)], scale, width)).toEqual([]);
});

const series = (cores: Record<string, number[]>): Series => ({
  by: "process", from: 0, step: 1000, buckets: 100, observed: new Uint8Array(100).fill(1), periodNs: 1e7, gaps: [], complete: [], lost: [],
  layers: Object.entries(cores).map(([value, list]) => ({ value, other: value === "other", cores: Float64Array.from(list), total: 0 })),
} as unknown as Series);

test("a process that was silent for a while comes, and one that falls silent goes", () => {
  const part = (from: number, until: number) => Array.from({ length: 100 }, (_, i) => (i >= from && i < until ? 0.5 : 0));
  expect(arrivals(series({ steady: part(0, 100), late: part(40, 100), early: part(0, 60), brief: part(97, 99), other: part(40, 100) }))).toEqual([
    { kind: "start", time: 40_000, text: "late starts" },
    { kind: "end", time: 60_000, text: "early ends" },
  ]);
});

test("a change of how often samples are taken is told in Hz, and what is no change is not", () => {
  const rates = [{ time_ms: 0, period_ns: 20_408_163 }, { time_ms: 5000, period_ns: 10_101_010 }, { time_ms: 7000, period_ns: 10_101_011 }];
  expect(rateChanges({ rates })).toEqual([{ kind: "rate", time: 5000, text: "49 → 99 Hz" }]);
  expect(rateChanges({ rates: rates.slice(0, 1) })).toEqual([]);
});

test("few samples say nothing about coming and going", () => {
  const rare = Array.from({ length: 100 }, (_, i) => (i === 70 ? 0.5 : 0));
  expect(arrivals(series({ rare }))).toEqual([]);
});
