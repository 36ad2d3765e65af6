/** A tree as a profile.proto, for what reads pprof. The format: https://github.com/google/pprof/blob/main/proto/profile.proto. */

import type { FlameFacts } from "../api/types";
import { frameLabel } from "./names";
import type { FlameTree } from "./tree";

/** Bytes of the wire format, as they come. */
class Message {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    larger.set(this.bytes);
    this.#bytes = larger;
  }

  /** Whole numbers from 0 to 2^53. */
  varint(value: number): this {
    this.#room(10);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
    return this;
  }

  /** A number; 0 is what is read where there is none. */
  number(field: number, value: number): this {
    return value > 0 ? this.varint(field * 8).varint(value) : this;
  }

  data(field: number, bytes: Uint8Array): this {
    this.varint(field * 8 + 2).varint(bytes.length);
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  packed(field: number, values: readonly number[]): this {
    const inner = new Message();
    for (const value of values) inner.varint(value);
    return this.data(field, inner.bytes);
  }
}

/**
 * The samples of a tree. Rows of groups become a label named `by`, whatever place transforms gave them; one that was folded
 * or truncated is a function of that name.
 */
export function pprofOf(tree: FlameTree, facts: Pick<FlameFacts, "from_ms" | "until_ms" | "period_ns" | "unit">, by: string): Uint8Array<ArrayBuffer> {
  const profile = new Message();
  const strings = new Map([["", 0]]);
  const text = (value: string) => {
    const known = strings.get(value);
    if (known !== undefined) return known;
    strings.set(value, strings.size);
    return strings.size - 1;
  };
  const counted = facts.unit && facts.unit !== "samples" ? facts.unit : "";
  // A size or the like is its own value; samples stand for CPU time.
  const types: [string, string][] = counted ? [["value", counted]] : [["samples", "count"], ["cpu", "nanoseconds"]];
  const typeOf = ([name, unit]: [string, string]) => new Message().number(1, text(name)).number(2, text(unit)).bytes;
  for (const type of types) profile.data(1, typeOf(type));
  const key = text(by);
  // The callers of the node at hand: the last one of each smaller depth.
  const path: number[] = [];
  const used = new Set<number>();
  for (let node = 1; node < tree.count; node++) {
    path.length = (tree.depth[node] as number) - 1;
    path.push(node);
    const samples = tree.self[node] as number;
    if (samples <= 0) continue;
    const sample = new Message();
    const labels: string[] = [];
    const locations: number[] = [];
    for (let i = path.length - 1; i >= 0; i--) {
      const frame = tree.frame[path[i] as number] as number;
      if (tree.frames.kind(frame) === "group") {
        labels.push(tree.frames.name(frame));
        continue;
      }
      used.add(frame);
      locations.push(frame + 1);
    }
    sample.packed(1, locations).packed(2, counted ? [samples] : [samples, samples * facts.period_ns]);
    for (const label of labels) sample.data(3, new Message().number(1, key).number(2, text(label)).bytes);
    profile.data(2, sample.bytes);
  }
  writeFrames(profile, tree, used, text);
  profile.number(9, facts.from_ms * 1e6).number(10, (facts.until_ms - facts.from_ms) * 1e6);
  const [period] = [...types].reverse();
  if (period && !counted) profile.data(11, typeOf(period)).number(12, facts.period_ns);
  const encoder = new TextEncoder();
  for (const value of strings.keys()) profile.data(6, encoder.encode(value));
  return profile.bytes;
}

/** Mappings, locations and functions of the frames that samples have; their numbers are the frames' and one. */
function writeFrames(profile: Message, tree: FlameTree, used: ReadonlySet<number>, text: (value: string) => number): void {
  const mappings = new Map<string, number>();
  for (const at of used) {
    const frame = tree.frames.at(at);
    let mapping = 0;
    if (frame.binary) {
      const key = `${frame.binary}\0${frame.buildId}`;
      mapping = mappings.get(key) ?? 0;
      if (!mapping) {
        mapping = mappings.size + 1;
        mappings.set(key, mapping);
        profile.data(3, new Message().number(1, mapping).number(5, text(frame.binary)).number(6, text(frame.buildId)).number(7, 1).bytes);
      }
    }
    const name = frameLabel(frame, "");
    const line = new Message().number(1, at + 1).number(2, frame.line).bytes;
    profile.data(4, new Message().number(1, at + 1).number(2, mapping).data(4, line).bytes);
    profile.data(5, new Message().number(1, at + 1).number(2, text(name)).number(3, text(frame.systemName || name)).number(4, text(frame.file)).bytes);
  }
}
