/** What BPF programs cost between two looks at them. */

import type { BpfProgram, ProgramsAnswer } from "../api/types";

/** A program with its costs. */
export interface Rated {
  program: BpfProgram;
  /** Runs a second, nanoseconds a run, and the share of one CPU: between two looks, else since it was loaded. */
  runsPerSecond: number | undefined;
  nsPerRun: number | undefined;
  cpu: number | undefined;
  /** The share of one CPU at each look. */
  history: readonly number[];
  /** Memory of its maps; those that programs share count for each. */
  mapBytes: number;
}

/** Looks kept: two minutes of them. */
const KEPT = 60;

/** Costs of the programs of `now`, with what is known of them from the look before. */
export function rated(now: ProgramsAnswer, before: ProgramsAnswer | undefined, known: ReadonlyMap<number, Rated>): Rated[] {
  const earlier = new Map((before?.programs ?? []).map((program) => [program.id, program]));
  return (now.programs ?? []).map((program) => {
    const last = earlier.get(program.id);
    const since = last ? before?.now_ms : program.loaded_ms;
    const seconds = since == null ? 0 : (now.now_ms - since) / 1000;
    // Counters start with the first who measures: a program that is older has more runs than are counted.
    const runs = program.runs === null ? undefined : program.runs - (last?.runs ?? 0);
    const ns = program.run_ns === null ? undefined : program.run_ns - (last?.run_ns ?? 0);
    const counted = seconds > 0 && runs !== undefined && ns !== undefined && runs >= 0 && ns >= 0;
    const cpu = counted ? ns / (seconds * 1e9) : undefined;
    return {
      program, runsPerSecond: counted ? runs / seconds : undefined, nsPerRun: counted && runs > 0 ? ns / runs : undefined, cpu,
      history: last && cpu !== undefined ? [...(known.get(program.id)?.history ?? []), cpu].slice(-KEPT) : [],
      mapBytes: program.maps.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    };
  });
}
