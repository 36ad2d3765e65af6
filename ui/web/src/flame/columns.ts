/**
 * The server's tree in columns (docs/api.md): typed arrays laid over the answer as it came. Nothing is parsed but a short
 * header, and nothing sorted.
 */

import type { FlameFacts } from "../api/types";
import { type FrameColumns, FrameTable, kindNumber } from "./frames";
import { type FlameTree, TreeError, type Values, finished } from "./tree";

const MAGIC = "VESTAFL1";
const ALIGN = 8;

/** What stands before the columns. */
interface Header extends FlameFacts {
  kinds: string[];
  /** The span of all data when the tree was asked for. */
  data: { from_ms: number | null; until_ms: number | null };
  nodes: number;
  frames: number;
  strings: number;
  text_bytes: number;
  value_bytes: number;
}

/** A tree with what the server said about it. */
export interface Answered {
  facts: FlameFacts & Pick<Header, "data">;
  tree: FlameTree;
}

/** Hands out the columns of an answer, one after the other. */
class Reader {
  #at = 0;
  readonly #bytes: ArrayBuffer;

  constructor(bytes: ArrayBuffer) {
    this.#bytes = bytes;
  }

  #take(length: number): number {
    const from = this.#at;
    if (!(length >= 0 && from + length <= this.#bytes.byteLength)) throw new TreeError("the stack tree is cut off");
    this.#at = from + length;
    return from;
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#bytes, this.#take(length), length);
  }

  text(length: number): string {
    return new TextDecoder().decode(this.bytes(length));
  }

  /** A column, and the zeros up to the next one. */
  #column<T>(make: new (bytes: ArrayBuffer, from: number, length: number) => T, width: number, length: number): T {
    const from = this.#take(Math.ceil((length * width) / ALIGN) * ALIGN);
    return new make(this.#bytes, from, length);
  }

  small = (length: number) => this.#column(Uint8Array, 1, length);
  numbers = (length: number) => this.#column(Uint32Array, 4, length);
  signed = (length: number) => this.#column(Int32Array, 4, length);
  values = (length: number, width: number): Values => (width === 4 ? this.numbers(length) : this.#column(Float64Array, 8, length));
}

const COUNTS = ["nodes", "frames", "strings", "text_bytes", "value_bytes"] as const;

function readHeader(reader: Reader): Header {
  const head = reader.bytes(12);
  if (String.fromCharCode(...head.subarray(0, 8)) !== MAGIC) throw new TreeError("the answer does not begin like a stack tree");
  const length = new DataView(head.buffer, head.byteOffset).getUint32(8, true);
  let header: Header;
  try {
    header = JSON.parse(reader.text(length)) as Header;
  } catch {
    throw new TreeError("the stack tree has no header");
  }
  for (const name of COUNTS) {
    if (!Number.isSafeInteger(header[name]) || header[name] < 0) throw new TreeError(`the stack tree does not say its ${name}`);
  }
  if ((length + 12) % ALIGN !== 0 || (header.value_bytes !== 4 && header.value_bytes !== 8)) throw new TreeError("the columns are no columns");
  return header;
}

/** Reads an answer. Its bytes belong to the tree from now on: parents, as distances in them, become places. */
export function readAnswer(bytes: ArrayBuffer): Answered {
  const reader = new Reader(bytes);
  const { kinds, nodes: count, frames, strings, text_bytes, value_bytes, ...facts } = readHeader(reader);
  if (count === 0) throw new TreeError("the stack tree has no root");
  const self = reader.values(count, value_bytes);
  const total = reader.values(count, value_bytes);
  const parent = reader.signed(count);
  const frame = reader.numbers(count);
  const kindOf = kinds.map(kindNumber);
  const kind = reader.small(frames).map((of) => kindOf[of] ?? kindNumber("native"));
  const next = () => reader.numbers(frames);
  const [name, systemName, file, line, binary, buildId, unwound, nameHash] = [next(), next(), next(), next(), next(), next(), next(), next()];
  const ends = reader.numbers(strings);
  const text = reader.text(text_bytes);
  const columns: FrameColumns = { strings: { text, ends }, kind, name, systemName, file, line, binary, buildId, unwound, nameHash };
  place(parent, frame, frames);
  return { facts, tree: finished(new FrameTable(columns), { count, parent, frame, self, total }) };
}

function place(parent: Int32Array, frame: Uint32Array, frames: number): void {
  parent[0] = -1;
  for (let i = 0; i < parent.length; i++) {
    if ((frame[i] as number) >= frames) throw new TreeError(`node ${i} has no frame`);
    if (i === 0) continue;
    const distance = parent[i] as number;
    if (!(distance >= 1 && distance <= i)) throw new TreeError(`node ${i} has no parent`);
    parent[i] = i - distance;
  }
}
