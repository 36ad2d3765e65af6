import { expect, test } from "vitest";
import type { BpfProgram } from "../api/types";
import { rated } from "./rates";

const program = (id: number, runs: number | null, run_ns: number | null): BpfProgram => ({
  id, name: "p", type: "kprobe", tag: "00", loaded_ms: 0, uid: 0, runs, run_ns, memory_bytes: 4096, instructions: 5,
  maps: [{ id: 1, name: "m", bytes: 100 }, { id: 2, name: "n", bytes: null }], attached: [], holders: [], own: false,
});

test("the first look tells of the time since a program was loaded", () => {
  const [only] = rated({ now_ms: 10_000, programs: [program(1, 500, 5_000_000)] }, undefined, new Map());
  expect(only).toMatchObject({ runsPerSecond: 50, nsPerRun: 10_000, cpu: 5e-4, history: [], mapBytes: 100 });
});

test("later looks tell of the time between them", () => {
  const before = { now_ms: 10_000, programs: [program(1, 500, 5_000_000)] };
  const now = { now_ms: 12_000, programs: [program(1, 600, 7_000_000), program(2, 0, 0)] };
  const [first, second] = rated(now, before, new Map(rated(before, undefined, new Map()).map((row) => [row.program.id, row])));
  expect(first).toMatchObject({ runsPerSecond: 50, nsPerRun: 20_000, cpu: 1e-3, history: [1e-3] });
  expect(second).toMatchObject({ runsPerSecond: 0, nsPerRun: undefined, cpu: 0 });
});

test("what the kernel does not measure is not made up", () => {
  const [only] = rated({ now_ms: 10_000, programs: [program(1, null, null)] }, undefined, new Map());
  expect(only).toMatchObject({ runsPerSecond: undefined, nsPerRun: undefined, cpu: undefined });
  // A number that was given to another program meanwhile.
  const [fresh] = rated({ now_ms: 12_000, programs: [program(1, 3, 30)] }, { now_ms: 10_000, programs: [program(1, 500, 5000)] }, new Map());
  expect(fresh?.cpu).toBeUndefined();
});
