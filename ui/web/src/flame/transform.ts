/**
 * What a user does to a tree: an ordered list, which the URL carries (`fold:startup;drop:=swapper;focus:redact_pii`).
 * A target is a function's name; a group's row after `=`; after `~` the hash of a name that is too long for a URL; after
 * `@` the path hash of one node.
 */

import { fnv1a } from "../color/bands";
import type { FrameTable } from "./frames";

export const OPERATIONS = ["fold", "focus", "hide", "drop", "collapse", "merge", "invert"] as const;
export type Operation = (typeof OPERATIONS)[number];

/** One step; the target of `fold` is `startup`, an empty one means the whole tree. */
export interface Transform {
  readonly operation: Operation;
  readonly target: string;
}

/** What is done when a link does not say. */
export const DEFAULT_TRANSFORMS: readonly Transform[] = [{ operation: "fold", target: "startup" }];

/** More than anybody follows; a longer list is not ours. */
const MOST = 64;
/** Longer names stand in the URL as their hash. */
const LONGEST_NAME = 160;
/** Operations that may be asked for without a target. */
const WHOLE: ReadonlySet<Operation> = new Set(["merge", "invert"]);

/** The target that means all frames like this one. */
export function targetOf(frames: FrameTable, frame: number): string {
  const name = frames.name(frame);
  const group = frames.kind(frame) === "group" ? "=" : "";
  if (name.length > LONGEST_NAME) return `${group}~${fnv1a(name).toString(16)}`;
  return group + name.replace(/^[=~@]/, (sign) => `\\${sign}`);
}

/** The target that means one node. */
export const pathTarget = (hash: number): string => `@${hash.toString(16)}`;

/** The path hash of a node target. */
export function pathOf(target: string): number | undefined {
  const [, hash] = /^@([0-9a-f]{1,8})$/.exec(target) ?? [];
  return hash === undefined ? undefined : Number.parseInt(hash, 16);
}

/** 1 for each frame that a target means. */
export function matching(frames: FrameTable, target: string): Uint8Array {
  const found = new Uint8Array(frames.length);
  const group = target.startsWith("=");
  const rest = group ? target.slice(1) : target;
  const hash = /^~([0-9a-f]{1,8})$/.exec(rest)?.[1];
  const wanted = rest.replace(/^\\(?=[=~@])/, "");
  for (let i = 0; i < found.length; i++) {
    const kind = frames.kind(i);
    if (kind === "root" || (kind === "group") !== group) continue;
    const name = frames.name(i);
    if (hash === undefined ? name === wanted : fnv1a(name) === Number.parseInt(hash, 16)) found[i] = 1;
  }
  return found;
}

/** A target's name in words, without frames to look it up in. */
export function targetName(target: string): string {
  return target.replace(/^=/, "").replace(/^\\(?=[=~@])/, "");
}

const escaped = (target: string) => target.replace(/[%;]/g, (sign) => (sign === ";" ? "%3B" : "%25"));
const unescaped = (target: string) => target.replace(/%(3B|25)/g, (_, code) => (code === "3B" ? ";" : "%"));

/** A list as the URL has it; `none` for an empty one. */
export function formatTransforms(list: readonly Transform[]): string {
  if (list.length === 0) return "none";
  return list.map(({ operation, target }) => (target ? `${operation}:${escaped(target)}` : operation)).join(";");
}

/** Reads a list; what is unknown is left out. */
export function parseTransforms(text: string): readonly Transform[] {
  if (text === "none") return [];
  return text.split(";").slice(0, MOST).flatMap((part): Transform[] => {
    const at = part.indexOf(":");
    const operation = OPERATIONS.find((name) => name === (at < 0 ? part : part.slice(0, at)));
    const target = at < 0 ? "" : unescaped(part.slice(at + 1));
    if (!operation || (!target && !WHOLE.has(operation))) return [];
    if (operation === "fold" && target !== "startup") return [];
    return [{ operation, target }];
  });
}

/** Whether two lists are the same. */
export const sameTransforms = (a: readonly Transform[], b: readonly Transform[]): boolean =>
  a.length === b.length && a.every(({ operation, target }, i) => operation === b[i]?.operation && target === b[i]?.target);
