/** What ran on the machine, file by file: from a time line by program, and a tree of all code. */

import type { Timeline } from "../api/types";
import { packageOf } from "../flame/package";
import { type FlameTree, frameOf } from "../flame/tree";

/** A file that code ran from. */
export interface InventoryRow {
  path: string;
  /** Programs have a time line; libraries, the kernel and other code are known by their own samples. */
  program: boolean;
  /** Package of most of its functions, where their names tell it. */
  package: string;
  /** Of a program all samples of its processes, of other code those that ended in it; in seconds of CPU time. */
  seconds: number;
  /** Samples in each bucket of the time line; empty of other code. */
  presence: readonly number[];
  first: number | undefined;
  last: number | undefined;
  buildIds: readonly string[];
  /** Share of the file's samples whose function has a name, 0…1; undefined where none ended in it. */
  named: number | undefined;
  /** Hosts on which its code ran, in the order of their names. */
  hosts: readonly string[];
}

interface Code {
  samples: number;
  named: number;
  buildIds: Set<string>;
  packages: Map<string, number>;
  hosts: Set<string>;
}

/** A function without a name is called by its place. */
const UNNAMED = /^\[[^\]]*\+0x[0-9a-f]+\]$/;

/** Files by path, with the samples that ended in them and the groups of the tree, its hosts, that they are in. */
export function codeOf(tree: FlameTree): Map<string, Code> {
  const files = new Map<string, Code>();
  const byFrame = new Float64Array(tree.frames.length);
  for (let node = 0; node < tree.count; node++) byFrame[tree.frame[node] as number]! += tree.self[node] as number;
  const used = new Uint8Array(tree.frames.length);
  const paths: string[] = [];
  for (let node = 1; node < tree.count; node++) {
    const at = tree.frame[node] as number;
    if (used[at]) continue;
    used[at] = 1;
    const frame = frameOf(tree, node);
    if (!frame.binary) continue;
    paths[at] = frame.binary;
    const file = files.get(frame.binary) ?? { samples: 0, named: 0, buildIds: new Set<string>(), packages: new Map<string, number>(), hosts: new Set<string>() };
    files.set(frame.binary, file);
    const samples = byFrame[at] as number;
    file.samples += samples;
    if (!UNNAMED.test(frame.name)) file.named += samples;
    if (frame.buildId) file.buildIds.add(frame.buildId);
    const name = packageOf(frame);
    if (name) file.packages.set(name, (file.packages.get(name) ?? 0) + samples);
  }
  let host = "";
  for (let node = 1; node < tree.count; node++) {
    if (tree.parent[node] === 0) host = frameOf(tree, node).name;
    files.get(paths[tree.frame[node] as number] ?? "")?.hosts.add(host);
  }
  return files;
}

const widest = (packages: ReadonlyMap<string, number>) => [...packages].sort((a, b) => b[1] - a[1])[0]?.[0] ?? "";

/** Programs, then other code, each with most CPU time first. */
export function inventoryOf(timeline: Timeline, tree: FlameTree, periodNs: number): InventoryRow[] {
  const files = codeOf(tree);
  const known = (path: string) => {
    const file = files.get(path);
    return {
      package: file ? widest(file.packages) : "", buildIds: [...(file?.buildIds ?? [])],
      named: file && file.samples > 0 ? file.named / file.samples : undefined,
      hosts: [...(file?.hosts ?? [])].filter(Boolean).sort(),
    };
  };
  const programs = timeline.groups.filter(({ value }) => value).map(({ value, total, samples }): InventoryRow => {
    const first = samples.findIndex((n) => n > 0);
    const last = samples.findLastIndex((n) => n > 0);
    const at = (bucket: number) => timeline.from_ms + bucket * timeline.step_ms;
    return {
      path: value, program: true, seconds: (total * timeline.period_ns) / 1e9, presence: samples,
      first: first < 0 ? undefined : at(first), last: last < 0 ? undefined : at(last + 1), ...known(value),
    };
  });
  const own = new Set(programs.map(({ path }) => path));
  const others = [...files].filter(([path, { samples }]) => !own.has(path) && samples > 0).map(([path, { samples }]): InventoryRow => ({
    path, program: false, seconds: (samples * periodNs) / 1e9, presence: [], first: undefined, last: undefined, ...known(path),
  }));
  const most = (a: InventoryRow, b: InventoryRow) => b.seconds - a.seconds || a.path.localeCompare(b.path);
  return [...programs.sort(most), ...others.sort(most)];
}
