import { expect, test } from "vitest";
import type { Diff, Flame } from "../api/types";
import { childrenOf, frameOf } from "../flame/tree";
import { matching, targetOf } from "../flame/transform";
import { comparedHalves } from "./halves";
import { compare, fromDiff, functionRows, growth, unite } from "./union";

const KINDS = ["root", "group", "native", "truncated"];

/** A tree of folded stacks; the first part is the group. */
function flame(stacks: Record<string, number>): Flame {
  const strings = ["", "all"];
  const frames: Flame["frames"] = { kind: [0], function: [1], system_name: [0], file: [0], line: [0], binary: [0], build_id: [0], unwound: [0] };
  const nodes = { parent: [0], frame: [0], self: [0], total: [0] };
  const place = new Map([["", 0]]);
  for (const [stack, samples] of Object.entries(stacks)) {
    let path = "";
    let at = 0;
    nodes.total[0]! += samples;
    stack.split(";").forEach((name, depth) => {
      path += `;${name}`;
      if (!place.has(path)) {
        if (!strings.includes(name)) strings.push(name);
        const kind = depth === 0 ? 1 : name.startsWith("[") ? 3 : 2;
        const column = { kind, function: strings.indexOf(name), system_name: 0, file: 0, line: 0, binary: 0, build_id: 0, unwound: 0 };
        for (const [key, value] of Object.entries(column)) frames[key as keyof typeof frames].push(value);
        place.set(path, nodes.parent.push(nodes.parent.length - at) - 1);
        nodes.frame.push(frames.kind.length - 1);
        nodes.self.push(0);
        nodes.total.push(0);
      }
      at = place.get(path) as number;
      nodes.total[at]! += samples;
    });
    nodes.self[at]! += samples;
  }
  return { strings, frames, nodes, kinds: KINDS, period_ns: 1e7, pruned: 0, samples: nodes.total[0], complete: nodes.total[0], incomplete: {} } as unknown as Flame;
}

const calm = flame({ "web;main;serve": 400, "db;main;scan": 200 });
const burst = flame({ "db;main;scan": 210, "web;main;serve": 400, "web;main;redact;match": 300 });
const measure = { exposure: { a: 10, b: 10 }, unit: 0.01 };

test("the union counts every sample of both sides once", () => {
  const both = unite(calm, burst);
  const { tree, a, b } = compare(both, measure, "sum");
  expect([a[0], b[0]].map((v) => v!.toFixed(2))).toEqual(["0.60", "0.91"]);
  const sum = (counts: number[]) => counts.reduce((x, y) => x + y, 0);
  expect([sum(both.nodes.aSelf), sum(both.nodes.bSelf)]).toEqual([600, 910]);
  expect(childrenOf(tree, 0).map((node) => frameOf(tree, node).name)).toEqual(["web", "db"]);
});

test("widths are of the side that is asked for, and noise is told from change", () => {
  const both = unite(calm, burst);
  for (const width of ["a", "b", "sum"] as const) {
    const compared = compare(both, measure, width);
    const { tree, a, b } = compared;
    for (let node = 0; node < tree.count; node++) {
      const wanted = width === "a" ? a[node]! : width === "b" ? b[node]! : a[node]! + b[node]!;
      expect(tree.total[node]).toBeCloseTo(wanted);
    }
  }
  const { tree, real, most } = compare(both, measure, "b");
  const node = (name: string) => Array.from({ length: tree.count }, (_, i) => i).find((i) => frameOf(tree, i).name === name)!;
  expect([real[node("redact")], real[node("web")], real[node("db")], real[node("scan")]]).toEqual([1, 1, 0, 0]);
  expect(most).toBeCloseTo(0.3);
});

test("functions are ranked by how much they surely changed", () => {
  const rows = growth(unite(calm, burst), measure);
  expect(rows.map(({ name, real }) => [name, real])).toEqual([["match", true], ["scan", false], ["serve", false]]);
  expect(rows[0]).toMatchObject({ a: 0, kind: "native" });
  expect(rows[0]!.b).toBeCloseTo(0.3);
  expect(rows[0]!.low).toBeGreaterThan(0.25);
  const back = growth(unite(burst, calm), measure);
  expect(back[0]!.change).toBeCloseTo(-0.3);
});

test("functions that did not change at all are ranked by what they use", () => {
  const rows = growth(unite(calm, calm), measure);
  expect(rows.map(({ name }) => name)).toEqual(["serve", "scan"]);
});

test("a file that does not tell which stacks are complete is not taken for one of broken stacks", () => {
  const folded = { ...calm, complete: 0, incomplete: { imported: 600 } };
  expect(unite(folded, burst).complete).toEqual({ a: undefined, b: 910 });
});

const exposure = { a: 1000, b: 1000 };

test("functions of both sides have their self and total times, and noise is no change", () => {
  const rows = functionRows(compare(unite(calm, burst), measure, "b"), exposure);
  const row = (name: string) => rows.find(({ frame }) => frame.name === name)!;
  expect(row("redact")).toMatchObject({ selfA: 0, selfB: 0, totalA: 0, selfReal: false, totalReal: true });
  expect([row("redact").totalB, row("match").selfB, row("main").totalA, row("main").totalB].map((value) => value.toFixed(2))).toEqual(["0.30", "0.30", "0.60", "0.91"]);
  expect([row("scan").selfReal, row("scan").totalReal, row("match").selfReal]).toEqual([false, false, true]);
  const twice = functionRows(compare(unite(flame({ "p;f;g;f": 10 }), flame({ "p;f;g;f": 10 })), measure, "b"), exposure);
  expect(twice.find(({ frame }) => frame.name === "f")).toMatchObject({ totalA: 0.01, totalB: 0.01 });
});

test("a sandwich has the samples of both sides above and below its function", () => {
  const compared = compare(unite(calm, burst), measure, "sum");
  const main = Array.from({ length: compared.tree.count }, (_, i) => i).find((i) => frameOf(compared.tree, i).name === "main")!;
  const { frames, frame } = compared.tree;
  const { callers, callees } = comparedHalves(compared, matching(frames, targetOf(frames, frame[main] as number)), exposure)!;
  const sides = ({ tree, a, b, real }: typeof callers) =>
    childrenOf(tree, 0).map((node) => [frameOf(tree, node).name, a[node]!.toFixed(2), b[node]!.toFixed(2), real[node]]);
  expect([callers.a[0]!.toFixed(2), callers.b[0]!.toFixed(2)]).toEqual(["0.60", "0.91"]);
  expect(sides(callers)).toEqual([["web", "0.40", "0.70", 1], ["db", "0.20", "0.21", 0]]);
  expect(sides(callees)).toEqual([["serve", "0.40", "0.40", 0], ["scan", "0.20", "0.21", 0], ["redact", "0.00", "0.30", 1]]);
});

test("shares of all samples take the load out of a comparison", () => {
  const twice = flame({ "web;main;serve": 800, "db;main;scan": 400 });
  const both = unite(calm, twice);
  expect(growth(both, { exposure: { a: 600, b: 1200 }, unit: 1 }).every(({ real }) => !real)).toBe(true);
  expect(growth(both, measure).every(({ real }) => real)).toBe(true);
});

test("a server's comparison is the same as the union of its two sides", () => {
  const both = unite(calm, burst);
  const add = (x: number[], y: number[]) => x.map((value, i) => value + y[i]!);
  const { nodes } = both;
  const diff = { ...both, complete: both.complete.a! + both.complete.b!, before: { complete: both.complete.a }, nodes: {
    parent: nodes.parent, frame: nodes.frame, total: add(nodes.a, nodes.b), self: add(nodes.aSelf, nodes.bSelf),
    before_total: nodes.a, before_self: nodes.aSelf,
  } } as unknown as Diff;
  expect(fromDiff(diff)).toEqual(both);
});
