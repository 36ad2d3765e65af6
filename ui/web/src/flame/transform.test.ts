import { expect, test } from "vitest";
import { flameOf } from "./fixture";
import { DEFAULT_TRANSFORMS, type Transform, formatTransforms, matching, parseTransforms, pathOf, pathTarget, targetOf } from "./transform";
import { buildTree } from "./tree";

const roundTrip = (list: readonly Transform[]) => parseTransforms(formatTransforms(list));

test("a list reads as it is written", () => {
  const list: Transform[] = [
    ...DEFAULT_TRANSFORMS, { operation: "drop", target: "=swapper" }, { operation: "focus", target: "@1f" },
    { operation: "hide", target: "std::vec<a;b>::50%3B" }, { operation: "invert", target: "" }, { operation: "merge", target: "" },
  ];
  expect(roundTrip(list)).toEqual(list);
  expect(formatTransforms(list.slice(0, 3))).toBe("fold:startup;drop:=swapper;focus:@1f");
  expect(roundTrip([])).toEqual([]);
});

test("what is not ours is left out, and a list has an end", () => {
  expect(parseTransforms("fold:everything;focus;explode:x;;hide:f")).toEqual([{ operation: "hide", target: "f" }]);
  expect(parseTransforms(Array(500).fill("hide:f").join(";"))).toHaveLength(64);
});

test("names that look like another kind of target are themselves", () => {
  const odd = ["=p", "~ff", "@1f", "\\", "a;b", "x".repeat(10_000), "=~@"];
  const stacks = Object.fromEntries(odd.map((_, i) => [`p;f${i}`, 1]));
  const answer = flameOf({ ...stacks, "f0;p": 1 });
  odd.forEach((name, i) => {
    answer.strings[answer.strings.indexOf(`f${i}`)] = name;
  });
  const { frames } = buildTree(answer);
  for (let id = 1; id < frames.length; id++) {
    const target = targetOf(frames, id);
    expect(target.length).toBeLessThan(200);
    expect(pathOf(target)).toBeUndefined();
    const [read] = roundTrip([{ operation: "hide", target }]);
    const found = [...matching(frames, read!.target)].flatMap((is, at) => (is ? [at] : []));
    expect(found, target).toEqual([id]);
  }
  expect(pathOf(pathTarget(0xdeadbeef))).toBe(0xdeadbeef);
});

test("a process and a function of the same name are two targets", () => {
  const { frames } = buildTree(flameOf({ "main;main": 1 }));
  const hits = (target: string) => [...matching(frames, target)].map((is, i) => (is ? frames.kind(i) : "")).filter(Boolean);
  expect(hits("main")).toEqual(["native"]);
  expect(hits("=main")).toEqual(["group"]);
});
