/** Which lines of a file the source view shows. */

import type { SourceAnswer } from "../api/types";

/** A line with its samples and, where the file could be read, its text. */
export interface SourceLine {
  line: number;
  self: number;
  total: number;
  text: string | undefined;
}

/** A gap between lines that are shown. */
export interface Skip {
  from: number;
  until: number;
}

/** Lines around a sampled one that explain it. */
const AROUND = 6;
/** A file that is not longer than this is shown whole. */
const WHOLE = 400;

export const isSkip = (row: SourceLine | Skip): row is Skip => "from" in row;

/** The rows of the view, in the order of lines; samples whose line is not known stand at line 0, first. */
export function sourceRows({ lines, text }: Pick<SourceAnswer, "lines" | "text">, whole = false): (SourceLine | Skip)[] {
  const texts = text?.replace(/\n$/, "").split("\n");
  const counted = new Map(lines.map((line) => [line.line, line]));
  const row = (line: number): SourceLine => ({
    line, self: counted.get(line)?.self ?? 0, total: counted.get(line)?.total ?? 0, text: line > 0 ? texts?.[line - 1] : undefined,
  });
  const sampled = [...counted.keys()].sort((a, b) => a - b);
  if (!texts) return sampled.map(row);
  const last = Math.max(texts.length, sampled.at(-1) ?? 0);
  const near = (line: number) => whole || last <= WHOLE || sampled.some((at) => at > 0 && Math.abs(at - line) <= AROUND);
  const rows: (SourceLine | Skip)[] = counted.has(0) ? [row(0)] : [];
  let skip: Skip | undefined;
  for (let line = 1; line <= last; line++) {
    if (near(line)) {
      skip = undefined;
      rows.push(row(line));
    } else if (skip) {
      skip.until = line;
    } else {
      rows.push((skip = { from: line, until: line }));
    }
  }
  return rows;
}
