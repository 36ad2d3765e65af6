import { expect, test } from "vitest";
import type { Behind, Incomplete, Status, Truth } from "../api/types";
import {
  behindName, behindPlaces, completeShare, isShown, largestGap, lostSamples, ownCores, parts, shownReason, toggled, wholeQuery,
} from "./truth";

const behind = (change: Partial<Behind>): Behind => ({
  binary: "/usr/lib/libfoo.so", kind: "native", samples: 1, functions: [{ name: "step", samples: 1 }],
  processes: [{ name: "app", samples: 1 }], ...change,
});
const reason = (code: string, binaries: Behind[]) => ({ reason: code, binaries }) as Incomplete;

test("nothing sampled is nothing missed", () => {
  expect(completeShare({ samples: 0, complete: 0 })).toBe(1);
  expect(completeShare({ samples: 8, complete: 6 })).toBe(0.75);
  expect(lostSamples({})).toBe(0);
  expect(lostSamples({ ring_full: 2, unread: 3 })).toBe(5);
});

test("code behind a gap has a name even where it has no file", () => {
  expect(behindName(behind({}))).toBe("libfoo.so");
  expect(behindName(behind({ binary: "[kernel]", kind: "kernel" }))).toBe("[kernel]");
  expect(behindName(behind({ binary: "", kind: "jit" }))).toBe("Code made at run time");
  expect(behindName(behind({ binary: "" }))).toBe("Code outside any file");
  expect(behindName(behind({ binary: "", kind: "" }))).toBe("No frame at all");
  expect(behindPlaces(behind({ functions: [{ name: "step", samples: 2 }, { name: "leap", samples: 1 }] }))).toBe("app · step, leap");
  expect(behindPlaces(behind({ binary: "", kind: "jit", functions: [{ name: "[jit]", samples: 2 }] }))).toBe("app");
  expect(behindPlaces(behind({ functions: [], processes: [] }))).toBe("");
});

test("the largest gap is one binary's, whatever its reason's place", () => {
  const most = behind({ samples: 7 });
  const reasons = [reason("a", [behind({ samples: 5 }), behind({ samples: 4 })]), reason("b", [most])];
  expect(largestGap({ reasons } as Truth)).toEqual({ reason: reasons[1], behind: most });
  expect(largestGap({ reasons: [] as Incomplete[] } as Truth)).toBeUndefined();
});

test("a binary behind a gap is shown by status and search, and a second click takes both back", () => {
  const foo = behind({});
  const view = { query: 'process="app"', search: "main" };
  const shown = toggled(view, "no_unwind_row", foo);
  expect(shown).toEqual({ query: 'process="app", status="no_unwind_row"', search: "/usr/lib/libfoo.so" });
  expect(isShown(shown, "no_unwind_row", foo)).toBe(true);
  expect(isShown(shown, "no_unwind_row")).toBe(false);
  expect(isShown(shown, "depth_limit", foo)).toBe(false);
  expect([shownReason(shown.query), shownReason(view.query)]).toEqual(["no_unwind_row", undefined]);
  expect(wholeQuery(shown.query)).toBe('process="app"');
  expect(toggled(shown, "no_unwind_row", foo)).toEqual({ query: 'process="app"', search: "" });
  // Another reason takes its place; code without a file is found by its name.
  const jit = behind({ binary: "", kind: "jit", functions: [{ name: "[jit]", samples: 1 }] });
  expect(toggled(shown, "bad_return_address", jit)).toEqual({ query: 'process="app", status="bad_return_address"', search: "[jit]" });
  expect(toggled(shown, "no_unwind_row")).toEqual({ query: 'process="app", status="no_unwind_row"', search: "" });
});

test("a selector that is not narrowed to a reason stays as it was typed", () => {
  for (const query of ["", '{process="a" or process="b"}', 'status!="complete"']) expect(wholeQuery(query)).toBe(query);
});

test("code between backticks is told apart", () => {
  expect(parts("Use `-g`, please.")).toEqual([
    { text: "Use ", code: false }, { text: "-g", code: true }, { text: ", please.", code: false },
  ]);
  expect(parts("")).toEqual([]);
});

const status = (now: number, cpu: number, started = 0) =>
  ({ now_ms: now, started_ms: started, agent: { agent_cpu_s: cpu } }) as unknown as Status;

test("own cost is measured between two looks, and since the start at first", () => {
  expect(ownCores(status(10_000, 0.2), undefined)).toBeCloseTo(0.02);
  expect(ownCores(status(10_000, 0.2), status(5000, 0.15))).toBeCloseTo(0.01);
});

test("a restart between two looks does not make it negative", () => {
  expect(ownCores(status(10_000, 0.05, 9000), status(5000, 3))).toBeCloseTo(0.05);
  expect(ownCores({ ...status(1, 1), agent: null }, undefined)).toBeUndefined();
});
