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
  // Why callers are missing from a stack.
  no_frame_pointer: "No frame pointer",
  end_not_proven: "End of the stack not proven",
  depth_limit: "Deeper than the limit",
  unreadable_stack: "Stack memory not readable",
  not_ascending: "Frame pointer out of order",
  bad_return_address: "Return address outside code",
  address_space_gone: "Process was ending",
  no_registers: "No user registers",
  kernel_stack_failed: "Kernel stack not readable",
  kernel_depth_limit: "Kernel stack deeper than the limit",
  no_unwind_row: "No unwind row",
  unsupported_rule: "Unwind rule not supported",
  // Why a sample was lost.
  ring_full: "Ring buffer full",
  no_scratch: "No scratch space in the kernel",
  queue_full: "Queue of the agent full",
  malformed: "Record not readable",
  store_failed: "Could not be stored",
};

/** The code (`no_frame_pointer`) of a reason's label (`[no frame pointer]`). */
export const reasonCode = (label: string): string => label.replace(/^\[|\]$/g, "").replace(/ /g, "_");

/** A reason's code or label in words. */
export function reasonName(code: string): string {
  const bare = reasonCode(code);
  const words = REASONS[bare] ?? bare.replace(/_/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The text on a frame. */
export function frameLabel(frame: Frame, rootLabel: string): string {
  if (frame.kind === "root") return rootLabel;
  if (frame.kind === "truncated") return `[${reasonName(frame.name).toLowerCase()}]`;
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
