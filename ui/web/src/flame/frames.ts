/** The functions of a tree, as columns: a tree has as many as a hundred thousand, of which a screen shows some. */

import type { Flame } from "../api/types";
import { fnv1a, fnv1aOn } from "../color/bands";

/**
 * What kind of code a frame is. `root` and `group` are rows of the tree, not code; `folded` stands for several frames
 * that a transform put into one.
 */
export const FRAME_KINDS = [
  "root", "group", "kernel", "native", "inlined", "jit", "interpreted", "truncated", "folded",
] as const;
export type FrameKind = (typeof FRAME_KINDS)[number];

/** A function at the place where it was found; frames are merged by (kind, function, binary). */
export interface Frame {
  kind: FrameKind;
  name: string;
  systemName: string;
  file: string;
  /** 0 when unknown. */
  line: number;
  binary: string;
  buildId: string;
  unwound: string;
}

/** What tells whose code a frame is. */
export type FrameOrigin = Pick<Frame, "kind" | "name" | "systemName" | "file" | "binary">;

/** What a frame is told apart by. */
export type FrameIdentity = Pick<Frame, "kind" | "name" | "binary">;

/**
 * Texts by number, in one string: another thread gets that at once, where a hundred thousand strings take it a noticeable while.
 */
export interface Strings {
  text: string;
  /** Where each text ends, in code units. */
  ends: Uint32Array;
}

/** Puts texts into one. */
export function packed(strings: readonly string[]): Strings {
  const ends = new Uint32Array(strings.length);
  let end = 0;
  strings.forEach((text, i) => {
    end += text.length;
    ends[i] = end;
  });
  return { text: strings.join(""), ends };
}

/** A text; empty for a number that is not there. */
export function textAt({ text, ends }: Strings, i: number): string {
  return i < ends.length ? text.slice(i > 0 ? ends[i - 1] : 0, ends[i]) : "";
}

/** The columns behind a table; all but `kind` and `line` are indexes into `strings`. They may be handed to another thread. */
export interface FrameColumns {
  strings: Strings;
  /** Indexes into `FRAME_KINDS`. */
  kind: Uint8Array;
  name: Uint32Array;
  systemName: Uint32Array;
  file: Uint32Array;
  line: Uint32Array;
  binary: Uint32Array;
  buildId: Uint32Array;
  unwound: Uint32Array;
  /** FNV-1a of each function's name, where the server sends it: a colour needs it of every frame that is drawn. */
  nameHash?: Uint32Array;
}

/** The kind that a name of the server's means; one that this page does not know yet is drawn as plain code. */
export const kindNumber = (name: string): number => {
  const index = (FRAME_KINDS as readonly string[]).indexOf(name);
  return index < 0 ? NATIVE : index;
};

const NATIVE = FRAME_KINDS.indexOf("native");

/** Where the hash of each kind begins. */
const KIND_HASHES = FRAME_KINDS.map((kind) => fnv1aOn(0x811c9dc5, `${kind}\0`));

/** The hash of a frame's identity, without putting a text together. */
const identityHash = (kind: number, name: string, binary: string): number =>
  fnv1aOn(fnv1aOn(fnv1aOn(KIND_HASHES[kind] as number, name), "\0"), binary);

/** The hash of a frame's identity. */
export const frameHash = ({ kind, name, binary }: FrameIdentity): number => identityHash(FRAME_KINDS.indexOf(kind), name, binary);

/** Reads the frames of an answer. */
export function readColumns({ frames, strings, kinds }: Flame): FrameColumns {
  const kindOf = kinds.map(kindNumber);
  return {
    strings: packed(strings),
    kind: Uint8Array.from(frames.kind, (kind) => kindOf[kind] ?? NATIVE),
    name: new Uint32Array(frames.function),
    systemName: new Uint32Array(frames.system_name),
    file: new Uint32Array(frames.file),
    line: new Uint32Array(frames.line),
    binary: new Uint32Array(frames.binary),
    buildId: new Uint32Array(frames.build_id),
    unwound: new Uint32Array(frames.unwound),
  };
}

const hashesByColumns = new WeakMap<FrameColumns, Uint32Array>();

/** Hash of kind, name and binary of each frame: the same in every answer. Only paths and targets need them. */
function hashesOf(columns: FrameColumns): Uint32Array {
  const known = hashesByColumns.get(columns);
  if (known) return known;
  const { kind, name, binary, strings } = columns;
  const made = new Uint32Array(kind.length);
  for (let i = 0; i < made.length; i++) {
    made[i] = identityHash(kind[i] as number, textAt(strings, name[i] as number), textAt(strings, binary[i] as number));
  }
  hashesByColumns.set(columns, made);
  return made;
}

/** A frame's origin, each text of it taken when it is asked for. */
class Origin implements FrameOrigin {
  i = 0;
  readonly #table: FrameTable;

  constructor(table: FrameTable) {
    this.#table = table;
  }

  get kind(): FrameKind {
    return this.#table.kind(this.i);
  }

  get name(): string {
    return this.#table.name(this.i);
  }

  get systemName(): string {
    return this.#table.systemName(this.i);
  }

  get file(): string {
    return this.#table.file(this.i);
  }

  get binary(): string {
    return this.#table.binary(this.i);
  }
}

/** Frames by number: those of the answer, then those that transforms made. */
export class FrameTable {
  readonly columns: FrameColumns;
  readonly extra: readonly Frame[];
  readonly length: number;
  readonly #known: (Frame | undefined)[] = [];
  readonly #binaries: Record<number, string> = {};
  readonly #origin = new Origin(this);
  #hashes: Uint32Array | undefined;

  constructor(columns: FrameColumns, extra: readonly Frame[] = []) {
    this.columns = columns;
    this.extra = extra;
    this.length = columns.kind.length + extra.length;
  }

  /** The hash of each frame. */
  get hashes(): Uint32Array {
    if (this.#hashes) return this.#hashes;
    const own = hashesOf(this.columns);
    if (this.extra.length === 0) return (this.#hashes = own);
    const all = new Uint32Array(this.length);
    all.set(own);
    all.set(this.extra.map(frameHash), own.length);
    return (this.#hashes = all);
  }

  /** The same frames and more; the new ones follow the ones there are. */
  with(frames: readonly Frame[]): FrameTable {
    return frames.length ? new FrameTable(this.columns, [...this.extra, ...frames]) : this;
  }

  kind(i: number): FrameKind {
    const { kind } = this.columns;
    return i < kind.length ? (FRAME_KINDS[kind[i] as number] as FrameKind) : (this.extra[i - kind.length] as Frame).kind;
  }

  name(i: number): string {
    const { name, strings } = this.columns;
    return i < name.length ? textAt(strings, name[i] as number) : (this.extra[i - name.length] as Frame).name;
  }

  binary(i: number): string {
    const { binary, strings } = this.columns;
    if (i >= binary.length) return (this.extra[i - binary.length] as Frame).binary;
    // There are few, and they are looked up by: one text each, which knows its hash.
    const at = binary[i] as number;
    return (this.#binaries[at] ??= textAt(strings, at));
  }

  /** FNV-1a of the name. */
  nameHash(i: number): number {
    return this.columns.nameHash?.[i] ?? fnv1a(this.name(i));
  }

  file(i: number): string {
    const { file, strings } = this.columns;
    return i < file.length ? textAt(strings, file[i] as number) : (this.extra[i - file.length] as Frame).file;
  }

  hash(i: number): number {
    return this.hashes[i] as number;
  }

  systemName(i: number): string {
    const { systemName, strings } = this.columns;
    return i < systemName.length ? textAt(strings, systemName[i] as number) : (this.extra[i - systemName.length] as Frame).systemName;
  }

  /**
   * What tells whose code a frame is, until it is asked for another one's. Of thousands of frames that a picture shows most are too narrow
   * for more than a colour, and need no object of their own.
   */
  origin(i: number): FrameOrigin {
    this.#origin.i = i;
    return this.#origin;
  }

  /** A whole frame; made when it is asked for, and kept. */
  at(i: number): Frame {
    const known = this.#known[i];
    if (known) return known;
    const { columns } = this;
    const made = columns.kind[i] === undefined ? (this.extra[i - columns.kind.length] as Frame) : this.#made(i);
    this.#known[i] = made;
    return made;
  }

  #made(i: number): Frame {
    const { strings, line, buildId, unwound } = this.columns;
    const text = (column: Uint32Array) => textAt(strings, column[i] as number);
    return {
      kind: this.kind(i), name: this.name(i), systemName: this.systemName(i), file: this.file(i), line: line[i] as number,
      binary: this.binary(i), buildId: text(buildId), unwound: text(unwound),
    };
  }
}
