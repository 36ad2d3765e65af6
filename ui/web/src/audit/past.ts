/** What BPF programs have cost over time, as the store has it. Pure. */

import type { BpfProgram, ProgramHistory } from "../api/types";

/** Columns of a strip. */
const COLUMNS = 120;
const MINUTE = 60_000;
/** How far back an audit looks. */
export const LOOK_BACK = 24 * 60 * MINUTE;

/** Programs of the same code and name on one host. */
export interface Past {
  host: string;
  /** Empty, like the name, for programs that were counted together. */
  tag: string;
  name: string;
  /** The share of one CPU in each step, and in the mean. */
  shares: readonly number[];
  mean: number;
  /** Start and end of what is known of it: the first and the last step in which it ran. */
  first: number;
  last: number;
}

/** Whole steps around what there is of the last day. */
export function stepsOf(from: number, until: number): { from: number; until: number; step: number } {
  const start = Math.max(from, until - LOOK_BACK);
  // Windows are told of where they begin: shorter steps than some of these would be empty in turn.
  const step = Math.max(1, Math.ceil((until - start) / COLUMNS / MINUTE)) * MINUTE;
  return { from: Math.floor(start / step) * step, until: Math.ceil(until / step) * step, step };
}

/** The programs of an answer; `watched`: from and until when there is data, which the first and last step may exceed. */
export function pastOf(answer: ProgramHistory, watched: { from: number; until: number }): Past[] {
  const { from_ms: from, step_ms: step } = answer;
  const length = (i: number) =>
    Math.min(watched.until, from + (i + 1) * step, answer.until_ms) - Math.max(watched.from, from + i * step);
  return answer.programs.map(({ host, tag, name, run_ns }) => {
    const shares = run_ns.map((ns, i) => (length(i) > 0 ? ns / (length(i) * 1e6) : 0));
    const all = run_ns.reduce((ms, _, i) => ms + Math.max(0, length(i)), 0);
    const first = run_ns.findIndex((ns) => ns > 0);
    const last = run_ns.findLastIndex((ns) => ns > 0);
    return {
      host, tag, name, shares, mean: all > 0 ? run_ns.reduce((sum, ns) => sum + ns, 0) / (all * 1e6) : 0,
      first: from + first * step, last: from + (last + 1) * step,
    };
  });
}

const isOf = (past: Past, host: string, program: BpfProgram) => past.host === host && past.tag === program.tag && past.name === program.name;

/** What a program of a host has cost. */
export const pastOfProgram = (all: readonly Past[], host: string, program: BpfProgram): Past | undefined =>
  all.find((past) => isOf(past, host, program));

/** What ran and is not among the programs of `host` now. */
export const notLoaded = (all: readonly Past[], host: string, programs: readonly BpfProgram[]): Past[] =>
  all.filter((past) => !programs.some((program) => isOf(past, host, program)));
