import { expect, test } from "vitest";
import { flameOf } from "./fixture";
import { viewOf } from "./layout";
import { type Picture, pictureSvg, xml } from "./svg";
import { buildTree } from "./tree";

const picture = (folded: Record<string, number>, change: Partial<Picture> = {}): string => {
  const tree = buildTree(flameOf(folded));
  return pictureSvg({
    tree, view: viewOf(tree, 0), orientation: "icicle", width: 1000, dark: false, coloring: "package", rootLabel: "web-01",
    title: ["Today", "two"], ...change,
  });
};

test("frames have their names, shares and textures", () => {
  const svg = picture({ "p;main;kernel:read": 25, "p;main": 75 });
  expect(svg).toContain(">main</text>");
  expect(svg).toContain(">25.0\u202f%</text>");
  expect(svg).toContain('fill="url(#hatch)"');
  expect(svg).toContain("<title>read: 25 samples, 25.0\u202f%</title>");
});

test("hostile names are text, and the document stays XML", () => {
  const svg = picture({ 'p;</text><script>alert("1")</script>': 1, "p;\u0000\u001b[31m\ud800": 1, [`p;${"x".repeat(10_000)}`]: 1 });
  expect(svg).not.toMatch(/<script/);
  expect(svg).not.toMatch(/[\u0000-\u0008\u001b\ud800]/u);
  expect(svg.length).toBeLessThan(10_000);
  expect(xml("a\u202eb")).toBe("a\u202eb");
});

test("the height is that of all rows and the title", () => {
  expect(picture({ "p;a;b;c": 1 })).toContain(`height="${5 * 20 + 32 + 36}"`);
});
