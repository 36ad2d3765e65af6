/** How complete a selection is, in numbers: pure, from the server's counts. */

import type { Counts, Flame, Status } from "../api/types";

/** One reason with its count. */
export interface Reason {
  code: string;
  samples: number;
  /** Share of all samples, 0…1. */
  share: number;
}

/** Completeness of a selection. */
export interface Truth {
  samples: number;
  complete: number;
  /** Share of complete stacks, 0…1; 1 when there are no samples. */
  share: number;
  reasons: Reason[];
  lost: number;
  losses: Reason[];
}

function ranked(counts: Counts, all: number): Reason[] {
  return Object.entries(counts)
    .filter(([, samples]) => samples > 0)
    .map(([code, samples]) => ({ code, samples, share: samples / (all || 1) }))
    .sort((a, b) => b.samples - a.samples || (a.code < b.code ? -1 : 1));
}

/** Sums up an answer. */
export function truthOf(flame: Pick<Flame, "samples" | "complete" | "incomplete" | "taken" | "lost">): Truth {
  const { samples, complete } = flame;
  const losses = ranked(flame.lost, flame.taken);
  return {
    samples, complete, share: samples ? complete / samples : 1, reasons: ranked(flame.incomplete, samples),
    lost: losses.reduce((sum, { samples: n }) => sum + n, 0), losses,
  };
}

/** Vesta's own CPU use in cores: since an earlier status of the same run where there is one, else since the start. */
export function ownCores(status: Status, earlier: Status | undefined): number | undefined {
  if (!status.agent) return undefined;
  const same = earlier?.agent && earlier.started_ms === status.started_ms && earlier.now_ms < status.now_ms;
  const since = same ? earlier.now_ms : status.started_ms;
  const before = same ? (earlier.agent?.agent_cpu_s ?? 0) : 0;
  const seconds = (status.now_ms - since) / 1000;
  return seconds > 0 ? Math.max(0, status.agent.agent_cpu_s - before) / seconds : undefined;
}
