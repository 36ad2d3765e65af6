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
  folded: "folded",
};

/** A kind in words. */
export const kindName = (kind: FrameKind): string => KINDS[kind];

/** The code (`no_frame_pointer`) of a reason's label (`[no frame pointer]`). */
export const reasonCode = (label: string): string => label.replace(/^\[|\]$/g, "").replace(/ /g, "_");

/** The text on a frame. */
export function frameLabel(frame: Frame, rootLabel: string): string {
  if (frame.kind === "root") return rootLabel;
  if (frame.kind === "truncated") return `[${reasonCode(frame.name).replace(/_/g, " ")}]`;
  return frame.name || "(none)";
}

/** What to write where a name does not fit: of code without a name its offset, for the file is told by the colour. */
export function shortName(name: string): string {
  return /^\[[^\]]*(\+0x[0-9a-f]+)\]$/.exec(name)?.[1] ?? name;
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
