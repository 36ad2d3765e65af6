import { expect, test } from "vitest";
import { changeText, bytes, cores, count, share, spokenShare, thousands } from "./number";

test("cores have two decimals, and zero is kept for none", () => {
  expect([0, 0.001, 0.0049, 0.005, 0.01, 1.234, 12].map(cores)).toEqual([
    "0", "<0.01", "<0.01", "0.01", "0.01", "1.23", "12.00",
  ]);
});

test("shares have one decimal and a narrow space", () => {
  expect([0, 0.0002, 0.0006, 0.313, 1].map(share)).toEqual([
    "0\u202f%", "<0.1\u202f%", "0.1\u202f%", "31.3\u202f%", "100.0\u202f%",
  ]);
});

test("a share short of the whole never reads as the whole", () => {
  expect(share(0.99999)).toBe("99.9\u202f%");
});

test("thousands stand apart", () => {
  expect([0, 999, 1000, 390282, 1234567].map(thousands)).toEqual([
    "0", "999", "1\u202f000", "390\u202f282", "1\u202f234\u202f567",
  ]);
});

test("bytes use powers of 1000", () => {
  expect([0, 999, 1000, 118_000_000, 2_345_000_000].map(bytes)).toEqual([
    "0 B", "999 B", "1.00 kB", "118 MB", "2.35 GB",
  ]);
});

test("a count agrees with its noun", () => {
  expect([count(1, "sample"), count(2000, "sample")]).toEqual(["1 sample", "2\u202f000 samples"]);
});

test("shares are spoken without signs", () => {
  expect([spokenShare(0.313), spokenShare(0.0001)]).toEqual(["31.3 percent", "below 0.1 percent"]);
});

test("changes are signed with a true minus, and never round to none", () => {
  expect([1.344, -0.12, 0.0042, -0.0001, 0].map(changeText)).toEqual(["+1.34", "−0.12", "+0.004", "<0.001", "0"]);
});
