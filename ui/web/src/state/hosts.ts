/** Which hosts have data in the range: where a store has those of a fleet, one that has gone silent leaves no gap in the sum of the others. */

import { createEffect, createMemo, createSignal, on } from "solid-js";
import { Latest, fetchValues } from "../api/client";
import type { Explore } from "./explore";

/** A host that had data so long before the end of the range is expected to have some in it. */
const EXPECTED = 86_400_000;
/** Which hosts are expected is asked again when so much time has passed, and who of them is there in a live range. */
const KNOWN_FOR = 3_600_000;
const LIVE_EVERY = 60_000;
/** A silent host is named; more of them than this are counted. */
const MOST_NAMED = 50;

export interface Hosts {
  known: number;
  /** Those without data in the range, at most so many that a list has room for them. */
  silent: string[];
  /** How many have none. */
  missing: number;
}

/** What of the hosts that are expected is not among those that are here. */
export function hostsOf(expected: readonly string[], here: readonly string[]): Hosts | undefined {
  const present = new Set(here);
  const silent = expected.filter((host) => !present.has(host)).sort();
  return silent.length === 0 ? undefined : { known: expected.length, silent: silent.slice(0, MOST_NAMED), missing: silent.length };
}

/** Starts asking; call it inside a root, once. Undefined where all hosts have data, and where there is but one. */
export function createHosts(explore: Explore): () => Hosts | undefined {
  const [expected, setExpected] = createSignal<readonly string[]>([]);
  const [hosts, setHosts] = createSignal<Hosts>();
  const hostsWithin = async (from: number, until: number, signal: AbortSignal) => {
    const { values, truncated } = await fetchValues("host", { query: "", from, until }, signal);
    // Of a thousand and more hosts nobody knows which are left out.
    return truncated ? [] : values.filter(({ samples }) => samples > 0).map(({ value }) => value);
  };
  /** Asks behind the graph; what fails tells nothing. */
  const asks = (latest: Latest, ask: (signal: AbortSignal) => Promise<readonly string[]>, take: (found: readonly string[]) => void) =>
    void explore.graphFirst().then(() => latest.run(ask)).then((found) => found && take(found), () => {});
  const shown = () => explore.graph() !== undefined && explore.view().page === "explore";

  const days = new Latest();
  const dayKey = createMemo(() => shown() && Math.ceil(explore.range().until / KNOWN_FOR) * KNOWN_FOR);
  createEffect(on(dayKey, (until) => until && asks(days, (signal) => hostsWithin(until - EXPECTED - KNOWN_FOR, until, signal), setExpected)));

  const ranges = new Latest();
  const rangeKey = createMemo(() => {
    // One host, as most have, is not asked about.
    if (!shown() || expected().length < 2) return "";
    const { from, until } = explore.range();
    const end = explore.live() ? Math.floor(until / LIVE_EVERY) * LIVE_EVERY : until;
    return JSON.stringify([expected(), end, explore.live() ? until - from : from]);
  });
  createEffect(on(rangeKey, (key) => {
    if (!key) return void setHosts(undefined);
    const { from, until } = explore.range();
    asks(ranges, (signal) => hostsWithin(from, until, signal), (here) => setHosts(hostsOf(expected(), here)));
  }));
  return hosts;
}
