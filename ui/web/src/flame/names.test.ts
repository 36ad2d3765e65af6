import { expect, test } from "vitest";
import { baseName, frameLabel, reasonCode, shortName, sourceOf } from "./names";
import type { Frame } from "./tree";

const frame = (change: Partial<Frame>): Frame => ({
  kind: "native", name: "f", systemName: "", file: "", line: 0, binary: "", buildId: "", unwound: "", ...change,
});

test("the code of a reason is read from a code and from a label", () => {
  expect(reasonCode("no_frame_pointer")).toBe("no_frame_pointer");
  expect(reasonCode("[no frame pointer]")).toBe("no_frame_pointer");
});

test("the label of a truncated frame is its reason in brackets", () => {
  expect(frameLabel(frame({ kind: "truncated", name: "[depth limit]" }), "")).toBe("[depth limit]");
  expect(frameLabel(frame({ kind: "truncated", name: "depth_limit" }), "")).toBe("[depth limit]");
  expect(frameLabel(frame({ kind: "group", name: "" }), "")).toBe("(none)");
  expect(frameLabel(frame({ kind: "root", name: "all" }), "web-01")).toBe("web-01");
});

test("the source is the line if known, else the binary", () => {
  expect(sourceOf(frame({ file: "a.c", line: 3, binary: "/bin/a" }))).toBe("a.c, line 3");
  expect(sourceOf(frame({ file: "a.c" }))).toBe("a.c");
  expect(sourceOf(frame({ binary: "/bin/a" }))).toBe("/bin/a");
  expect(["/usr/bin/a", "[kernel]", "/"].map(baseName)).toEqual(["a", "[kernel]", "/"]);
});

test("code without a name is told apart by its offset", () => {
  expect(shortName("[chromium+0x3fa2c]")).toBe("+0x3fa2c");
  expect(shortName("operator[](int)")).toBe("operator[](int)");
});
