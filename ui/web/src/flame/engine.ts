/** The page's end of the thread that reads answers and transforms trees. */

import { ApiError } from "../api/client";
import type { FlameFacts } from "../api/types";
import type { Step } from "./apply";
import { type Sent, received } from "./decode";
import type { FrameColumns } from "./frames";
import type { Transform } from "./transform";
import type { FlameTree } from "./tree";
import type { Reply, Request } from "./worker";

/** A tree with what is known about it. */
export interface Grown {
  answer: FlameFacts;
  tree: FlameTree;
  steps: readonly Step[];
}

/** Starts the thread. */
export function createEngine() {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const waiting = new Map<number, { done: (sent: Sent) => void; failed: (error: ApiError) => void }>();
  let last = 0;
  let columns: FrameColumns | undefined;
  const wrong = (why: string) => new ApiError("The server's answer is no stack tree", 200, why);
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

  const ask = async (request: Omit<Request, "id">): Promise<Grown> => {
    const id = ++last;
    const sent = await new Promise<Sent>((done, failed) => {
      waiting.set(id, { done, failed });
      worker.postMessage({ ...request, id }, request.bytes ? [request.bytes] : []);
    });
    columns = sent.tree.columns ?? columns;
    if (!columns) throw wrong("there is no tree yet");
    return { answer: sent.facts, tree: received(sent.tree, columns), steps: sent.steps };
  };
  return {
    /** Reads an answer, whose bytes are given away. */
    load: (bytes: ArrayBuffer, transforms: readonly Transform[]) => ask({ bytes, transforms }),
    /** Transforms the tree that was read last. */
    apply: (transforms: readonly Transform[]) => ask({ transforms }),
  };
}
