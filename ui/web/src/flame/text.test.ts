import { beforeEach, expect, test } from "vitest";
import { fits, fitted, forgetWidths, roughWidth, textWidth } from "./text";

let measured = 0;
// Every sign is six pixels wide, the ellipsis ten.
const context = {
  font: "",
  measureText(text: string) {
    measured++;
    return { width: [...text].reduce((sum, sign) => sum + (sign === "…" ? 10 : 6), 0) };
  },
} as unknown as CanvasRenderingContext2D;

beforeEach(() => {
  forgetWidths();
  measured = 0;
});

test("a text that fits stays whole", () => {
  expect(fitted(context, "main", "frame", 24)).toBe("main");
});

test("a text that does not fit ends in an ellipsis, as long as possible", () => {
  expect(fitted(context, "redis_read_query", "frame", 46)).toBe("redis_…");
  expect(fitted(context, "redis_read_query", "frame", 45)).toBe("redis…");
  for (let room = 0; room < 100; room++) {
    expect(textWidth(context, fitted(context, "redis_read_query", "frame", room), "frame")).toBeLessThanOrEqual(room);
  }
});

test("one sign and an ellipsis say nothing", () => {
  expect(fitted(context, "redis", "frame", 20)).toBe("");
});

test("a width is measured once", () => {
  for (let i = 0; i < 10; i++) textWidth(context, "main", "frame");
  expect(measured).toBe(1);
  textWidth(context, "main", "group");
  expect(measured).toBe(2);
});

test("whether a text fits is measured only where that is close", () => {
  expect(roughWidth(context, "main", "frame")).toBe(24);
  const letters = measured;
  expect([fits(context, "iimm", "frame", 40), fits(context, "nnaa", "frame", 40)]).toEqual([true, true]);
  expect(measured).toBe(letters);
  expect([fits(context, "main", "frame", 24), fits(context, "main", "frame", 23)]).toEqual([true, false]);
  expect(measured).toBe(letters + 1);
  // Signs beyond ASCII are measured with their text.
  expect(roughWidth(context, "größe…", "frame")).toBe(40);
});
