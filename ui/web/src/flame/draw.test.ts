import { beforeEach, expect, test, vi } from "vitest";
import { palette } from "../color/bands";
import { tokens } from "../color/tokens";
import { FillCache, type Scene, drawFlame } from "./draw";
import { flameOf } from "./fixture";
import { type Viewport, viewOf, visibleRects } from "./layout";
import { outlineOf } from "./outlines";
import { foldStartup } from "./startup";
import { forgetWidths } from "./text";
import { buildTree } from "./tree";

const textures: string[] = [];
vi.mock("./texture", () => ({ texture: (_: unknown, name: string) => void textures.push(name) }));

/** Notes what is drawn; text is six pixels a sign. */
function recorder() {
  const texts: { text: string; font: string; alpha: number }[] = [];
  const fills: { style: string; alpha: number; w: number }[] = [];
  const outlines: number[] = [];
  const state = { globalAlpha: 1, fillStyle: "", font: "", lineWidth: 0 };
  const calls: Record<string, (...args: never[]) => unknown> = {
    measureText: (text: string) => ({ width: text.length * 6 }),
    fillText: (text: string) => texts.push({ text, font: state.font, alpha: state.globalAlpha }),
    fillRect: (_x: number, _y: number, w: number) => fills.push({ style: state.fillStyle, alpha: state.globalAlpha, w }),
    roundRect: (_x: number, _y: number, w: number) => outlines.push(w),
  };
  const context = new Proxy(state, {
    get: (target, key) => (key in target ? target[key as keyof typeof state] : (calls[key as string] ?? (() => {}))),
    set: (target, key, value) => Reflect.set(target, key, value),
  });
  return { context: context as unknown as CanvasRenderingContext2D, texts, fills, outlines };
}

const port: Viewport = {
  width: 1000, height: 400, padLeft: 0, padRight: 0, padTop: 0, rowHeight: 20, scroll: 0, orientation: "icicle",
};
const scene = (folded: Record<string, number>, change: Partial<Scene> = {}): Scene => {
  const tree = buildTree(flameOf(folded));
  const view = viewOf(tree, 0);
  return {
    tree, view, port, rects: visibleRects(tree, view, port), palette: palette(false), tokens: tokens(false), ratio: 1, coloring: "package",
    rootLabel: "web-01", matches: undefined, zoomed: 0, ...change,
  };
};
const draw = (what: Scene) => {
  const paper = recorder();
  drawFlame(paper.context, what, new FillCache());
  return paper;
};

beforeEach(() => {
  forgetWidths();
  textures.length = 0;
});

test("frames have names, wide ones their share, and inlined ones stand in italics", () => {
  const { texts } = draw(scene({ "p;main;inlined:get": 30, "p;main": 70 }));
  expect(texts.map(({ text }) => text)).toEqual([
    "web-01", "100.0\u202f%", "p", "100.0\u202f%", "main", "100.0\u202f%", "get", "30.0\u202f%",
  ]);
  expect(texts.find(({ text }) => text === "get")?.font).toMatch(/^italic/);
  expect(texts.find(({ text }) => text === "p")?.font).toMatch(/^600/);
});

test("each kind of frame has its texture", () => {
  draw(scene({ "p;kernel:read": 1, "p;jit:f": 1, "p;interpreted:g": 1, "p;truncated:[bad read]": 1, "p;main": 1 }));
  expect(textures.sort()).toEqual(["cross", "dots", "dots", "hatch"]);
});

test("a folded frame has a double rule above and below", () => {
  const folded = scene({ "p;_start;main;f": 1 });
  const tree = foldStartup(folded.tree);
  const paper = draw({ ...folded, tree, rects: visibleRects(tree, folded.view, port) });
  expect(paper.texts.map(({ text }) => text)).toContain("2 start-up frames");
  expect(paper.fills.filter(({ w }) => w > 900)).toHaveLength(4);
});

test("many small frames are not given the name of one of them", () => {
  const many = Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`p;f${i}`, 1]));
  const { texts } = draw(scene(many));
  expect(texts.map(({ text }) => text)).toContain("many small frames");
  expect(texts.some(({ text }) => /^f\d/.test(text))).toBe(false);
});

test("what a search does not find fades", () => {
  const matches = new Uint8Array(10);
  const found = scene({ "p;hit": 50, "p;miss": 50 });
  for (let i = 0; i < found.tree.frames.length; i++) if (found.tree.frames.name(i) === "hit") matches[i] = 1;
  const { texts } = draw({ ...found, matches });
  expect(texts.find(({ text }) => text === "hit")?.alpha).toBe(1);
  expect(texts.find(({ text }) => text === "miss")?.alpha).toBe(0.5);
});

test("outlines stand around a node as far as it is in sight", () => {
  const { tree, view } = scene({ "p;main": 60, "p;other": 40 });
  expect(outlineOf(tree, view, port, 2)).toEqual({ left: -1.5, top: 38.5, width: 602, height: 22 });
  expect(outlineOf(tree, view, port, 3)).toMatchObject({ left: 598.5, width: 402 });
  expect(outlineOf(tree, viewOf(tree, 2), port, 3)).toBeUndefined();
  expect([outlineOf(tree, view, port, -1), outlineOf(tree, view, port, 99)]).toEqual([undefined, undefined]);
});
