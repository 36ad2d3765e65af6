import { expect, test } from "vitest";
import { isSkip, sourceRows } from "./lines";

const lines = [{ line: 500, self: 3, total: 9 }, { line: 2, self: 1, total: 1 }];
const text = Array.from({ length: 600 }, (_, i) => `text ${i + 1}`).join("\n");

test("without the text only sampled lines stand there, in their order", () => {
  expect(sourceRows({ lines, text: null })).toEqual([
    { line: 2, self: 1, total: 1, text: undefined }, { line: 500, self: 3, total: 9, text: undefined },
  ]);
});

test("of a long file what is near sampled lines is shown, and what is left out is told", () => {
  const rows = sourceRows({ lines, text });
  expect(rows.filter(isSkip)).toEqual([{ from: 9, until: 493 }, { from: 507, until: 600 }]);
  expect(rows).toContainEqual({ line: 500, self: 3, total: 9, text: "text 500" });
  expect(rows).toContainEqual({ line: 494, self: 0, total: 0, text: "text 494" });
  expect(sourceRows({ lines, text }, true)).toHaveLength(600);
});

test("a file that is shorter than the lines that were sampled of it is another version; nothing is made up", () => {
  const rows = sourceRows({ lines: [{ line: 9, self: 1, total: 1 }, { line: 0, self: 2, total: 2 }], text: "a\nb\n" });
  expect(rows).toHaveLength(10);
  expect(rows[0]).toEqual({ line: 0, self: 2, total: 2, text: undefined });
  expect(rows[9]).toEqual({ line: 9, self: 1, total: 1, text: undefined });
});
