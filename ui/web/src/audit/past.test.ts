import { expect, test } from "vitest";
import type { BpfProgram, ProgramHistory } from "../api/types";
import { LOOK_BACK, notLoaded, pastOf, pastOfProgram, stepsOf } from "./past";

const MINUTE = 60_000;
const program = (tag: string, name: string): BpfProgram => ({
  id: 1, name, type: "kprobe", tag, loaded_ms: 0, uid: 0, runs: 0, run_ns: 0, memory_bytes: 0, instructions: 0, maps: [], attached: [], holders: [], own: false,
});
const answer: ProgramHistory = {
  from_ms: 0, until_ms: 3 * MINUTE, step_ms: MINUTE, other: 0, skipped: [],
  programs: [
    { host: "a", tag: "01", name: "x", run_ns: [0, 6e9, 3e9] },
    { host: "b", tag: "01", name: "x", run_ns: [3e9, 0, 0] },
    { host: "a", tag: "", name: "", run_ns: [0, 0, 1] },
  ],
};

test("steps are whole minutes around the last day", () => {
  expect(stepsOf(90_000, 10 * MINUTE + 1)).toEqual({ from: MINUTE, until: 11 * MINUTE, step: MINUTE });
  const { from, until, step } = stepsOf(0, 3 * LOOK_BACK + 5);
  expect([step % MINUTE, from % step, until % step]).toEqual([0, 0, 0]);
  expect((until - from) / step).toBeLessThanOrEqual(121);
  expect(from).toBeLessThanOrEqual(2 * LOOK_BACK + 5);
});

test("shares are of the time that was watched", () => {
  const [x] = pastOf(answer, { from: 0, until: 2.5 * MINUTE });
  expect(x?.shares).toEqual([0, 0.1, 0.1]);
  expect(x?.mean).toBeCloseTo(9 / 150);
  expect([x?.first, x?.last]).toEqual([MINUTE, 3 * MINUTE]);
});

test("programs are the same by host, code and name", () => {
  const all = pastOf(answer, { from: 0, until: 3 * MINUTE });
  expect(pastOfProgram(all, "a", program("01", "x"))).toBe(all[0]);
  expect(pastOfProgram(all, "a", program("02", "x"))).toBeUndefined();
  expect(notLoaded(all, "a", [program("01", "x")])).toEqual(all.slice(1));
  expect(notLoaded(all, "a", [])).toEqual(all);
});
