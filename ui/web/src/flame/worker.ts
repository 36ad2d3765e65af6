/** The thread that reads answers and transforms trees, so that a large one does not stop the page. */

import { Grower, type Sent, givenAway } from "./decode";
import type { Transform } from "./transform";

/** What the page asks: `bytes` for a new answer, none for other transforms of the last one. */
export interface Request {
  id: number;
  bytes?: ArrayBuffer;
  transforms: readonly Transform[];
}

export type Reply = { id: number } & ({ sent: Sent } | { error: string });

const grower = new Grower();
const port = self as unknown as { postMessage(reply: Reply, give?: ArrayBuffer[]): void };

addEventListener("message", ({ data: { id, bytes, transforms } }: MessageEvent<Request>) => {
  try {
    const sent = bytes ? grower.load(bytes, transforms) : grower.apply(transforms);
    port.postMessage({ id, sent }, givenAway(sent));
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
