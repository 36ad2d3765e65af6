/** Words for frames, kinds and reasons. */

import type { Frame, FrameKind } from "./tree";

const KINDS: Record<FrameKind, string> = {
  root: "all",
  group: "group",
  kernel: "kernel",
  native: "native",
  inlined: "inlined",
  jit: "JIT",
  interpreted: "interpreted",
  truncated: "truncated",
};

/** A kind in words. */
export const kindName = (kind: FrameKind): string => KINDS[kind];

const REASONS: Record<string, string> = {
  no_frame_pointer: "No frame pointer",
  no_unwind_row: "No unwind row",
  no_mapping: "Address outside every mapping",
  unknown_process: "Process not known yet",
  table_missing: "Unwind table missing",
  depth_limit: "Deeper than the limit",
  bad_read: "Stack memory could not be read",
  unsupported_rule: "Unwind rule not supported",
  loop: "Frames go in a circle",
};

/** A reason's code (`no_frame_pointer`) in words; codes this page does not know lose their underscores. */
export function reasonName(code: string): string {
  const bare = code.replace(/^\[|\]$/g, "");
  const words = REASONS[bare] ?? bare.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The text on a frame. */
export function frameLabel(frame: Frame, rootLabel: string): string {
  if (frame.kind === "root") return rootLabel;
  if (frame.kind === "truncated") return `[${reasonName(frame.name).toLowerCase()}]`;
  return frame.name || "(none)";
}

/** The file name of a path. */
export function baseName(path: string): string {
  return path.replace(/^.*\/(?=.)/, "");
}

/** Where the code stands: source line if known, else the binary. */
export function sourceOf(frame: Frame): string {
  if (frame.file) return frame.line ? `${frame.file}, line ${frame.line}` : frame.file;
  return frame.binary;
}
