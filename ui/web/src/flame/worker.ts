/** The thread that transforms large trees, so that they do not stop the page. */

import { type Base, Grower, type Sent, givenAway } from "./decode";
import type { Transform } from "./transform";

/** What the page asks: of another tree, or of the last one where there is no `base`. */
export interface Request {
  id: number;
  base?: Base | undefined;
  transforms: readonly Transform[];
}

export type Reply = { id: number } & ({ sent: Sent } | { error: string });

const grower = new Grower();
const port = self as unknown as { postMessage(reply: Reply, give?: ArrayBuffer[]): void };

addEventListener("message", ({ data: { id, base, transforms } }: MessageEvent<Request>) => {
  try {
    if (base) grower.load(base);
    const sent = grower.apply(transforms);
    port.postMessage({ id, sent }, givenAway(sent));
  } catch (error) {
    port.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
