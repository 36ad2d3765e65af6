/** Reads answers and transforms trees: small ones here, large ones on a thread of their own. */

import { ApiError } from "../api/client";
import { type Step, applyTransforms, changesNothing } from "./apply";
import { type Answered, readAnswer } from "./columns";
import { type Sent, baseOf, received } from "./decode";
import type { Transform } from "./transform";
import type { FlameTree } from "./tree";
import type { Reply, Request } from "./worker";

/**
 * Up to so many nodes a transform is done at once: it takes a few frames at most, where another thread takes memory of its
 * own and a copy of the tree. The server sends 60,000 unless it is asked for more.
 */
const HERE = 120_000;

/** A tree with what is known about it. */
export interface Grown {
  answer: Answered["facts"];
  tree: FlameTree;
  steps: readonly Step[];
}

/** Makes the engine; its thread starts when a large tree is first transformed. */
export function createEngine() {
  let base: Answered | undefined;
  /** Whether the thread has `base`. */
  let sent = false;
  let thread: ReturnType<typeof createThread> | undefined;

  const apply = async (transforms: readonly Transform[]): Promise<Grown> => {
    if (!base) throw wrong("there is no tree yet");
    const { facts, tree } = base;
    if (tree.count <= HERE || changesNothing(tree, transforms)) return { answer: facts, ...applyTransforms(tree, transforms) };
    thread ??= createThread();
    const grown = thread({ base: sent ? undefined : baseOf(tree), transforms });
    sent = true;
    const { tree: grew, steps } = await grown;
    return { answer: facts, tree: received(grew, tree.frames), steps };
  };
  return {
    /** Reads an answer, whose bytes are the tree's from now on. */
    async load(bytes: ArrayBuffer, transforms: readonly Transform[]): Promise<Grown> {
      try {
        base = readAnswer(bytes);
        sent = false;
      } catch (error) {
        throw wrong(error instanceof Error ? error.message : String(error));
      }
      return apply(transforms);
    },
    /** Transforms the tree that was read last. */
    apply,
  };
}

const wrong = (why: string) => new ApiError("The server's answer is no stack tree", 200, why);

/** Starts the thread; the result asks it. */
function createThread(): (request: Omit<Request, "id">) => Promise<Sent> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const waiting = new Map<number, { done: (sent: Sent) => void; failed: (error: ApiError) => void }>();
  let last = 0;
  worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
    const { done, failed } = waiting.get(data.id) ?? {};
    waiting.delete(data.id);
    if ("error" in data) failed?.(wrong(data.error));
    else done?.(data.sent);
  });
  worker.addEventListener("error", ({ message }) => {
    for (const { failed } of waiting.values()) failed(wrong(message));
    waiting.clear();
  });
  return (request) => new Promise((done, failed) => {
    const id = ++last;
    waiting.set(id, { done, failed });
    worker.postMessage({ ...request, id });
  });
}
