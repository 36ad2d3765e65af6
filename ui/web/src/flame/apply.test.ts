import { describe, expect, test } from "vitest";
import { applyTransforms } from "./apply";
import { flameOf } from "./fixture";
import { type Operation, pathTarget, targetOf } from "./transform";
import { type FlameTree, buildTree, pathTo } from "./tree";

/** A tree back to folded stacks, so that a test reads as what it means. */
function folded(tree: FlameTree): Record<string, number> {
  const stacks: Record<string, number> = {};
  for (let node = 0; node < tree.count; node++) {
    if (tree.self[node] === 0) continue;
    const names = pathTo(tree, node).slice(1).map((at) => tree.frames.name(tree.frame[at] as number));
    stacks[names.join(";")] = (stacks[names.join(";")] ?? 0) + (tree.self[node] as number);
  }
  return stacks;
}

const tree = (stacks: Record<string, number>) => buildTree(flameOf(stacks));
const doTo = (stacks: Record<string, number>, operation: Operation, target: string) =>
  folded(applyTransforms(tree(stacks), [{ operation, target }]).tree);

describe("each transform", () => {
  const stacks = { "p;main;f;g": 3, "p;main;g;f;h": 4, "q;main;f": 5, "q;main;h": 6 };

  test("focus keeps what a function calls, from all its callers", () => {
    expect(doTo(stacks, "focus", "f")).toEqual({ f: 5, "f;g": 3, "f;h": 4 });
    expect(doTo(stacks, "focus", "=q")).toEqual({ "q;main;f": 5, "q;main;h": 6 });
  });

  test("focus on one frame leaves its namesakes out", () => {
    const before = tree(stacks);
    const node = [...before.path.keys()].find((at) =>
      pathTo(before, at).map((n) => before.frames.name(before.frame[n]!)).join(";") === "all;q;main;f")!;
    const { tree: after, steps } = applyTransforms(before, [{ operation: "focus", target: pathTarget(before.path[node]!) }]);
    expect(folded(after)).toEqual({ f: 5 });
    expect(steps).toEqual([{ name: "f", samples: 5, found: true }]);
  });

  test("hide takes the frame out, and its samples are its caller's", () => {
    expect(doTo(stacks, "hide", "f")).toEqual({ "p;main;g": 3, "p;main;g;h": 4, "q;main": 5, "q;main;h": 6 });
  });

  test("drop takes whole stacks out", () => {
    expect(doTo(stacks, "drop", "f")).toEqual({ "q;main;h": 6 });
    expect(doTo(stacks, "drop", "=q")).toEqual({ "p;main;f;g": 3, "p;main;g;f;h": 4 });
  });

  test("collapse puts the innermost call in the place of the outermost", () => {
    const recursive = { "p;f;f;f;leaf": 2, "p;f;f": 1, "p;f;g;f;leaf": 4, "p;f;g": 8 };
    expect(doTo(recursive, "collapse", "f")).toEqual({ "p;f;leaf": 6, "p;f": 1, "p;f;g": 8 });
  });

  test("merge puts frames of one name together, whatever their binary and kind", () => {
    const twice = { "p;inlined:get@a;x": 1, "p;get@b;x": 4, "p;other@a": 2 };
    const { tree: after } = applyTransforms(tree(twice), [{ operation: "merge", target: "get" }]);
    expect(folded(after)).toEqual({ "p;get;x": 5, "p;other": 2 });
    expect(after.frames.binary(after.frame[2]!)).toBe("b");
    expect(applyTransforms(tree(twice), [{ operation: "merge", target: "" }]).tree.count).toBe(after.count);
  });

  test("invert starts with what was sampled", () => {
    expect(doTo(stacks, "invert", "")).toEqual({
      "g;f;main;p": 3, "h;f;g;main;p": 4, "f;main;q": 5, "h;main;q": 6,
    });
  });

  test("invert from a frame cuts what is above it", () => {
    const before = tree({ "p;a;b;c": 2, "p;a;d": 3, "q;x": 7 });
    const node = before.frame.findIndex((id) => before.frames.name(id) === "a");
    const { tree: after } = applyTransforms(before, [{ operation: "invert", target: pathTarget(before.path[node]!) }]);
    expect(folded(after)).toEqual({ "c;b;a": 2, "d;a": 3 });
  });

  test("a target that is not there changes nothing, and is said", () => {
    const before = tree(stacks);
    const { tree: after, steps } = applyTransforms(before, [{ operation: "drop", target: "nowhere" }]);
    expect(after).toBe(before);
    expect(steps[0]).toMatchObject({ found: false, name: "nowhere" });
  });
});

describe("start-up frames", () => {
  const fold = (stacks: Record<string, number>) => doTo(stacks, "fold", "startup");

  test("become one frame for each length", () => {
    expect(fold({ "p;_start;__libc_start_main;main;run": 3, "p;_start;__libc_start_main;main;stop": 1, "p;clone3;start_thread;work": 2 }))
      .toEqual({ "p;3 start-up frames;run": 3, "p;3 start-up frames;stop": 1, "p;2 start-up frames;work": 2 });
  });

  test("a main that works itself stays in sight", () => {
    expect(fold({ "p;_start;__libc_start_main;main": 50, "p;_start;__libc_start_main;main;f": 50 }))
      .toEqual({ "p;2 start-up frames;main": 50, "p;2 start-up frames;main;f": 50 });
  });

  test("one alone is no shorter folded, and the same names elsewhere are code like any other", () => {
    const stays = { "p;main;f": 1, "p;f;_start;main": 2, "q;work": 3 };
    expect(fold(stays)).toEqual(stays);
  });

  test("libc's unnamed frames belong to them", () => {
    expect(fold({ "p;_start@/usr/bin/p;[libc.so.6+0x2724a]@/lib/libc.so.6;main@/usr/bin/p;f@/usr/bin/p": 4 }))
      .toEqual({ "p;3 start-up frames;f": 4 });
  });
});

/** Random stacks of few names: recursion, namesakes and shared prefixes are common. */
function randomStacks(seed: number): Record<string, number> {
  let state = seed;
  const next = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const stacks: Record<string, number> = {};
  for (let i = 0; i < 60; i++) {
    const frames = Array.from({ length: next(12) }, () => ["_start", "main", "f", "g", "inlined:f", "g@lib", "kernel:read"][next(7)]);
    stacks[[`p${next(3)}`, ...frames].join(";")] = 1 + next(20);
  }
  return stacks;
}

/** Samples with a matching frame in their stack, counted from the folded stacks. */
const holding = (stacks: Record<string, number>, test: (frame: string, depth: number) => boolean) =>
  Object.entries(stacks).reduce((sum, [stack, samples]) => sum + (stack.split(";").some(test) ? samples : 0), 0);

describe("no sample is counted twice, and none is lost", () => {
  const sound = (after: FlameTree) => {
    let own = 0;
    for (let node = 0; node < after.count; node++) {
      own += after.self[node]!;
      let below = after.self[node]!;
      for (let child = node + 1; child < after.end[node]!; child = after.end[child]!) below += after.total[child]!;
      expect(after.total[node]).toBe(below);
      if (node > 0) expect(after.total[node]).toBeGreaterThan(0);
    }
    expect(own).toBe(after.total[0]);
  };

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))("seed %i", (seed) => {
    const stacks = randomStacks(seed);
    const before = tree(stacks);
    const all = before.total[0]!;
    const isF = (frame: string, depth: number) => depth > 0 && /^(?:\w+:)?f$/.test(frame);
    const withF = holding(stacks, isF);
    const expected: [Operation, string, number][] = [
      ["fold", "startup", all], ["hide", "f", all], ["collapse", "f", all], ["merge", "f", all], ["merge", "", all],
      ["invert", "", all], ["drop", "f", all - withF], ["focus", "f", withF || all],
      ["drop", "=p1", all - holding(stacks, (frame, depth) => depth === 0 && frame === "p1")],
    ];
    for (const [operation, target, samples] of expected) {
      const { tree: after, steps } = applyTransforms(before, [{ operation, target }]);
      expect(after.total[0], `${operation} ${target}`).toBe(samples);
      expect(steps[0]!.samples).toBe(samples);
      sound(after);
    }
  });

  test.each([3, 7, 11])("chains of them, seed %i", (seed) => {
    const before = tree(randomStacks(seed));
    const target = targetOf(before.frames, before.frame[before.count - 1]!);
    const { tree: after, steps } = applyTransforms(before, [
      { operation: "fold", target: "startup" }, { operation: "collapse", target: "f" }, { operation: "hide", target },
      { operation: "merge", target: "" }, { operation: "invert", target: "" },
    ]);
    expect(after.total[0]).toBe(before.total[0]);
    expect(steps.map(({ samples }) => samples)).toEqual(Array(5).fill(before.total[0]));
    sound(after);
  });

  test("turning a tree around twice gives the samples of each function back", () => {
    const before = tree(randomStacks(99));
    const selfOf = (of: FlameTree) => {
      const sums = new Map<string, number>();
      for (let node = 0; node < of.count; node++) {
        const name = of.frames.name(of.frame[node]!);
        sums.set(name, (sums.get(name) ?? 0) + of.self[node]!);
      }
      return [...sums].filter(([, samples]) => samples).sort();
    };
    const twice = applyTransforms(before, [{ operation: "invert", target: "" }, { operation: "invert", target: "" }]).tree;
    expect(selfOf(twice)).toEqual(selfOf(before));
    expect(twice.total[0]).toBe(before.total[0]);
  });
});
