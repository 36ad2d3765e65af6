import { expect, test } from "vitest";
import { NarrowLines, colorNumber } from "./narrow";

const pixels = (lines: NarrowLines, line: number) =>
  Array.from({ length: lines.width }, (_, x) => [...lines.pixels.subarray((line * lines.width + x) * 4, (line * lines.width + x + 1) * 4)]);

test("colours are numbers where they are written as such", () => {
  expect(colorNumber("#0a20ff")).toBe(0x0a20ff);
  expect([colorNumber("Canvas"), colorNumber("#fff"), colorNumber("#0a20ff80")]).toEqual([undefined, undefined, undefined]);
});

test("a pixel has the colours of what covers it, by how much of it they cover", () => {
  const lines = new NarrowLines();
  lines.begin(4);
  lines.add(0, 1, 8, 0xff0000, 1);
  lines.add(1, 0.5, 8, 0xff0000, 1);
  lines.add(1.5, 0.5, 8, 0x0000ff, 1);
  lines.add(2.25, 0.5, 8, 0x00ff00, 1);
  lines.end();
  expect(lines.lines).toEqual([{ from: 0, until: 3, y: 8 }]);
  expect(pixels(lines, 0)).toEqual([[255, 0, 0, 255], [128, 0, 128, 255], [0, 255, 0, 128], [0, 0, 0, 0]]);
});

test("what fades is as pale as it would be as a rectangle, and what covers a pixel twice is no brighter than its colour", () => {
  const lines = new NarrowLines();
  lines.begin(2);
  lines.add(0, 1, 8, 0x336699, 0.28);
  for (let i = 0; i < 3; i++) lines.add(1 + i / 4, 0.6, 8, 0x808080, 1);
  lines.end();
  expect(pixels(lines, 0)[0]).toEqual([0x33, 0x66, 0x99, 71]);
  expect(pixels(lines, 0)[1]).toEqual([128, 128, 128, 255]);
});

test("each row has a line of its own, cut at the edges, and the next picture begins empty", () => {
  const lines = new NarrowLines();
  lines.begin(3);
  for (let row = 0; row < 200; row++) lines.add(-1 + (row % 2) * 3, 2, row * 20, 0x010203, 1);
  lines.add(5, 2, 9000, 0xffffff, 1);
  lines.end();
  expect(lines.lines).toHaveLength(200);
  expect(lines.lines.slice(0, 2)).toEqual([{ from: 0, until: 1, y: 0 }, { from: 2, until: 3, y: 20 }]);
  expect(pixels(lines, 199)).toEqual([[0, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 255]]);
  lines.begin(2);
  lines.add(1, 1, 4, 0x0000ff, 1);
  lines.end();
  expect(lines.lines).toEqual([{ from: 1, until: 2, y: 4 }]);
  expect(pixels(lines, 0)[1]).toEqual([0, 0, 255, 255]);
});
