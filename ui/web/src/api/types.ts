/** The answers of the server, as docs/api.md describes them. Times are Unix milliseconds. */

/** Samples that were lost or stacks that stayed incomplete, by reason. */
export type Counts = Record<string, number>;

/** A file of the store that could not be read. */
export interface Skipped {
  path: string;
  reason: string;
}

/** `GET /api/v1/status`. */
export interface Status {
  version: string;
  host: string;
  now_ms: number;
  started_ms: number;
  /** Null, like `event`, `window_ms` and `agent`, when no agent runs in the server's process. */
  frequency_hz: number | null;
  event: string | null;
  window_ms: number | null;
  /** CPUs sampled, where the server knows them. */
  cpus?: number | null;
  /** Pages of other origins that may read exports. */
  origins: string[];
  /** Whether annotations and pins are taken. */
  takes_marks: boolean;
  /** From when on times of samples are kept exactly; null without data. */
  exact_from_ms: number | null;
  data: {
    from_ms: number | null;
    until_ms: number | null;
    segments: number;
    bytes: number;
    skipped: Skipped[];
  };
  agent: {
    samples_taken: number;
    samples_stored: number;
    lost: Counts;
    user_stacks: number;
    complete: number;
    incomplete: Counts;
    agent_cpu_s: number;
    bpf_ns_per_sample: number | null;
    rss_bytes: number;
  } | null;
}

/** A group of the time line. */
export interface TimelineGroup {
  value: string;
  total: number;
  samples: number[];
}

/** `GET /api/v1/timeline`. */
export interface Timeline {
  from_ms: number;
  until_ms: number;
  step_ms: number;
  period_ns: number;
  by: string;
  groups: TimelineGroup[];
  other: { groups: number; total: number; samples: number[] };
  complete: number[];
  lost: number[];
  /** How often samples were taken, and from when on. */
  rates: { time_ms: number; period_ns: number }[];
  skipped: Skipped[];
}

/** `GET /api/v1/flame`: a merged stack tree as columns, in preorder. */
export interface Flame {
  from_ms: number;
  until_ms: number;
  period_ns: number;
  /** What nodes count: `samples`, or the unit of values that are not sampled by time. */
  unit?: string;
  samples: number;
  complete: number;
  incomplete: Counts;
  taken: number;
  lost: Counts;
  pruned: number;
  skipped: Skipped[];
  kinds: string[];
  strings: string[];
  frames: {
    kind: number[];
    function: number[];
    system_name: number[];
    file: number[];
    line: number[];
    binary: number[];
    build_id: number[];
    unwound: number[];
  };
  /** `parent` is the distance to the parent; `pruned` says how much of `self` are children too small to send. */
  nodes: { parent: number[]; frame: number[]; self: number[]; total: number[]; pruned?: number[] };
}

/** A thread, or a CPU, over time. */
export interface Lane {
  /** All but `cpu` of a thread; empty and 0 for a CPU. */
  process: string;
  thread: string;
  pid: number;
  tid: number;
  /** Null for a thread, and for samples whose CPU was not kept. */
  cpu: number | null;
  total: number;
  samples: number[];
}

/** `GET /api/v1/lanes`. */
export interface LanesAnswer {
  from_ms: number;
  until_ms: number;
  step_ms: number;
  period_ns: number;
  by: string;
  lanes: Lane[];
  other: { lanes: number; total: number };
  skipped: Skipped[];
}

/** `GET /api/v1/source`: samples by the lines of one file. */
export interface SourceAnswer {
  file: string;
  period_ns: number;
  samples: number;
  /** Samples with the file anywhere in their stack. */
  in_file: number;
  lines: { line: number; self: number; total: number }[];
  /** The file's text; null where it may not or cannot be read, with the reason. */
  text: string | null;
  reason: string;
  skipped: Skipped[];
}

/** What an answer says beside its tree. */
export type FlameFacts = Omit<Flame, "kinds" | "strings" | "frames" | "nodes">;

/** A reason in words. */
export interface Reason {
  /** Its name in the label `status`, or among the losses. */
  reason: string;
  title: string;
  /** What happened; empty for a reason that the server does not know. */
  text: string;
  /** What helps, with code between backticks; empty where nothing does. */
  advice: string;
  samples: number;
}

/** A function or a process, and its samples. */
export interface Named {
  name: string;
  samples: number;
}

/** A binary behind incomplete stacks. */
export interface Behind {
  /** Its path; empty for code outside any file. */
  binary: string;
  /** `kernel`, `native`, `jit`, `interpreted`; empty where there was no frame at all. */
  kind: string;
  samples: number;
  functions: Named[];
  processes: Named[];
}

/** The incomplete stacks of one reason. */
export interface Incomplete extends Reason {
  binaries: Behind[];
  other: { binaries: number; samples: number };
}

/** `GET /api/v1/truth`. */
export interface Truth {
  from_ms: number;
  until_ms: number;
  period_ns: number;
  samples: number;
  complete: number;
  reasons: Incomplete[];
  taken: number;
  losses: Reason[];
  skipped: Skipped[];
}

/** `GET /api/v1/labels/{name}/values`. */
export interface LabelValues {
  values: { value: string; samples: number }[];
  truncated: boolean;
}

/** A range in figures. */
export interface HeadlineSide {
  from_ms: number;
  until_ms: number;
  watched_ms: number;
  samples: number;
  cores: number;
}

/** What explains most of a difference. */
export interface Cause {
  /** Empty where only the group stands out. */
  function: string;
  kind: string;
  binary: string;
  group: string;
  /** 0…1; more where others changed the other way. */
  share: number;
  before_cores: number;
  cores: number;
  first_seen_ms: number | null;
  deploy: { text: string; time_ms: number } | null;
}

/** `GET /api/v1/headline`. */
export interface Headline extends HeadlineSide {
  baseline: HeadlineSide | null;
  ratio: number | null;
  significant: boolean;
  cause: Cause | null;
}

/** A remark on a moment. */
export interface Annotation {
  id: string;
  time_ms: number;
  kind: "note" | "deploy";
  text: string;
}

/** A range that is kept beyond retention. */
export interface Pin {
  id: string;
  from_ms: number;
  until_ms: number;
  note: string;
}

/** `GET /api/v1/heatmap`. */
export interface HeatMap {
  from_ms: number;
  until_ms: number;
  column_ms: number;
  row_ms: number;
  columns: number[][];
  without_times: number;
}

/** `GET /api/v1/functions`. */
export interface FunctionHistory {
  from_ms: number;
  until_ms: number;
  step_ms: number;
  period_ns: number;
  samples: number[];
  found: number;
  functions: { function: string; kind: string; binary: string; self: number[]; total: number[] }[];
}

/** `GET /api/v1/diff`: a tree of two sides; `before_self` and `before_total` are those of A. */
export interface Diff extends Flame {
  before: { from_ms: number; until_ms: number; samples: number; complete: number };
  nodes: Flame["nodes"] & { before_self: number[]; before_total: number[] };
}

/** A BPF program, as the kernel tells of it; null is not known. */
export interface BpfProgram {
  id: number;
  name: string;
  type: string;
  tag: string;
  loaded_ms: number | null;
  uid: number | null;
  runs: number | null;
  run_ns: number | null;
  memory_bytes: number | null;
  instructions: number | null;
  maps: { id: number; name: string; bytes: number | null }[];
  attached: string[];
  holders: { pid: number; name: string }[];
  own: boolean;
}

/** `GET /api/v1/programs`; null where no agent runs. */
export interface ProgramsAnswer {
  now_ms: number;
  programs: BpfProgram[] | null;
}

/** `GET /api/v1/programs/history`: for how long programs of the same code and name ran on a host. */
export interface ProgramHistory {
  from_ms: number;
  until_ms: number;
  step_ms: number;
  programs: { host: string; tag: string; name: string; run_ns: number[] }[];
  other: number;
  skipped: Skipped[];
}

/** The labels a view can be grouped by, if the server does not name others. */
export const GROUPINGS = [
  "process", "thread", "pid", "tid", "exe", "cgroup", "host", "event", "status",
] as const;
