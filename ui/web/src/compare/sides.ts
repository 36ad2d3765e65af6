/** The two sides of a comparison as the URL has them. Pure. */

import { isoRange, parseIsoRange } from "../format/time";
import type { Span } from "../state/url";

/** A selection of the store, or a file of another profiler that is in the page's memory only. */
export type Side = ({ kind: "range"; query: string } & Span) | { kind: "file"; name: string };

/** How the URL writes a side: `RANGE;SELECTOR`, or `file:NAME`. */
export function formatSide(side: Side): string {
  if (side.kind === "file") return `file:${side.name}`;
  return `${isoRange(side.from, side.until)}${side.query ? `;${side.query}` : ""}`;
}

/** Reads a side; undefined where it is none. */
export function parseSide(text: string): Side | undefined {
  if (text.startsWith("file:")) return { kind: "file", name: text.slice(5) };
  const at = text.indexOf(";");
  const span = parseIsoRange(at < 0 ? text : text.slice(0, at));
  return span && { kind: "range", ...span, query: at < 0 ? "" : text.slice(at + 1) };
}

/** Whole seconds around a span: a live range moves under a comparison otherwise. */
export const settled = ({ from, until }: Span): Span => ({ from: Math.floor(from / 1000) * 1000, until: Math.floor(until / 1000) * 1000 });
