import { expect, test } from "vitest";
import { formatSide, parseSide, settled } from "./sides";

const from = new Date(2024, 5, 14, 2, 12, 4).getTime();

test("a side survives the way into the URL and back", () => {
  for (const side of [
    { kind: "range", from, until: from + 60_000, query: "" },
    { kind: "range", from, until: from + 60_000, query: 'process="a;b", pid!~"1|2"' },
    { kind: "file", name: "build; of 2.7.folded" },
  ] as const) {
    expect(parseSide(formatSide(side))).toEqual(side);
  }
});

test("what is no side is none", () => {
  for (const text of ["", "yesterday", ";process=x", "2024-06-14T02:12:04Z"]) expect(parseSide(text)).toBeUndefined();
});

test("a range of a live page is settled on whole seconds", () => {
  expect(settled({ from: 1234, until: 9876 })).toEqual({ from: 1000, until: 9000 });
});
