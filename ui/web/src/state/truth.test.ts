import { expect, test } from "vitest";
import type { Status } from "../api/types";
import { ownCores, truthOf } from "./truth";

test("reasons are ranked by count, with their share of all samples", () => {
  const truth = truthOf({
    samples: 1000, complete: 900, incomplete: { bad_read: 20, no_frame_pointer: 80, loop: 0 }, taken: 1010, lost: { ring_full: 10 },
  });
  expect(truth.share).toBeCloseTo(0.9);
  expect(truth.reasons.map(({ code, share }) => [code, share])).toEqual([["no_frame_pointer", 0.08], ["bad_read", 0.02]]);
  expect(truth.lost).toBe(10);
});

test("nothing sampled is nothing missed", () => {
  expect(truthOf({ samples: 0, complete: 0, incomplete: {}, taken: 0, lost: {} }).share).toBe(1);
});

const status = (now: number, cpu: number, started = 0) =>
  ({ now_ms: now, started_ms: started, agent: { agent_cpu_s: cpu } }) as unknown as Status;

test("own cost is measured between two looks, and since the start at first", () => {
  expect(ownCores(status(10_000, 0.2), undefined)).toBeCloseTo(0.02);
  expect(ownCores(status(10_000, 0.2), status(5000, 0.15))).toBeCloseTo(0.01);
});

test("a restart between two looks does not make it negative", () => {
  expect(ownCores(status(10_000, 0.05, 9000), status(5000, 3))).toBeCloseTo(0.05);
  expect(ownCores({ ...status(1, 1), agent: null }, undefined)).toBeUndefined();
});
