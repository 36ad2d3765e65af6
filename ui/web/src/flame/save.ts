/** Saving what is on screen, with its transforms. */

import { convertTo } from "../api/client";
import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { range as rangeText } from "../format/time";
import type { Explore } from "../state/explore";
import { FillCache, drawFlame } from "./draw";
import { viewOf, visibleRects } from "./layout";
import { frameLabel } from "./names";
import { pprofOf } from "./pprof";
import { type Picture, pictureHeight, picturePort, pictureSvg } from "./svg";
import { FONTS } from "./text";
import { type FlameTree, frameOf } from "./tree";
import { rootLabelOf } from "./view";

/** Pixels of a picture for each of CSS, and its width in the latter. */
const RATIO = 2;
const WIDTH = 1600;
/** Browsers draw no canvas that is higher, in its own pixels. */
const HIGHEST = 16_000;

/** The picture of what is in view. */
export function pictureOf(explore: Explore, dark: boolean): Picture | undefined {
  const tree = explore.graph()?.tree;
  if (!tree) return undefined;
  const { from, until } = explore.range();
  const { query, orientation, coloring } = explore.view();
  const title = [rangeText(from, until, explore.now()), query, explore.view().transforms.length ? explore.transforms.text() : ""];
  return {
    tree, view: viewOf(tree, explore.zoomNode()), orientation, width: WIDTH, dark, coloring, ranked: explore.ranked(), rootLabel: rootLabelOf(explore),
    title: title.filter(Boolean),
  };
}

function save(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function nameOf(explore: Explore, ending: string): string {
  const { from, until } = explore.range();
  return `vesta-${Math.floor(from / 1000)}-${Math.floor(until / 1000)}.${ending}`;
}

export function saveSvg(explore: Explore, dark: boolean): void {
  const picture = pictureOf(explore, dark);
  if (picture) save(nameOf(explore, "svg"), new Blob([pictureSvg(picture)], { type: "image/svg+xml" }));
}

export function savePng(explore: Explore, dark: boolean): void {
  const picture = pictureOf(explore, dark);
  if (!picture) return;
  const height = pictureHeight(picture);
  const ratio = Math.min(RATIO, HIGHEST / height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  const port = picturePort(picture);
  const tone = tokens(dark);
  const above = height - port.height;
  context.setTransform(ratio, 0, 0, ratio, 0, above * ratio);
  const { tree, view, coloring, rootLabel } = picture;
  drawFlame(context, {
    tree, rects: visibleRects(tree, view, port), view, port, palette: ownPalette(dark, false, picture.ranked), tokens: tone, ratio, coloring, rootLabel,
    matches: explore.marked()?.frames, zoomed: explore.zoomNode(),
  }, new FillCache());
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 1;
  context.textAlign = "left";
  picture.title.forEach((line, i) => {
    context.font = i ? FONTS.frame : FONTS.group;
    context.fillStyle = i ? tone.ink2 : tone.ink;
    context.fillText(line, 16, 14 + i * 18, picture.width - 32);
  });
  // Behind all that is drawn, for a picture has no page behind it.
  context.globalCompositeOperation = "destination-over";
  context.fillStyle = tone.bg;
  context.fillRect(0, 0, picture.width, height);
  canvas.toBlob((blob) => blob && save(nameOf(explore, "png"), blob));
}

/** The stacks of a tree, one a line, as flamegraph.pl and others read them: `frame;frame count`. */
export function foldedStacks(tree: FlameTree): string {
  const lines: string[] = [];
  const names: string[] = [];
  for (let node = 1; node < tree.count; node++) {
    // Separators within names would make other stacks of them.
    names.length = (tree.depth[node] as number) - 1;
    names.push(frameLabel(frameOf(tree, node), "").replace(/[;\r\n]/g, (sign) => (sign === ";" ? ":" : " ")));
    if (tree.self[node]) lines.push(`${names.join(";")} ${tree.self[node]}`);
  }
  return lines.length ? `${lines.join("\n")}\n` : "";
}

export function saveFolded(explore: Explore): void {
  const tree = explore.graph()?.tree;
  if (tree) save(nameOf(explore, "folded.txt"), new Blob([foldedStacks(tree)], { type: "text/plain" }));
}

/** What is on screen as a profile.proto. */
export function pprofInView(explore: Explore): Uint8Array<ArrayBuffer> | undefined {
  const graph = explore.graph();
  return graph && pprofOf(graph.tree, graph.answer, explore.view().by);
}

export async function savePprof(explore: Explore): Promise<void> {
  const bytes = pprofInView(explore);
  if (!bytes) return;
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  save(nameOf(explore, "pb.gz"), await new Response(packed).blob());
}

/** In a format that the server writes: it converts what is on screen, and keeps nothing of it. */
export async function saveConverted(explore: Explore, format: string, ending: string): Promise<void> {
  const bytes = pprofInView(explore);
  if (bytes) save(nameOf(explore, ending), await convertTo(new Blob([bytes]), format, explore.view().by));
}
