/** A flame graph as an SVG document: a picture that stays sharp, prints, and can be searched for names. */

import { ownPalette } from "../color/chosen";
import { tokens } from "../color/tokens";
import { share } from "../format/number";
import type { Coloring } from "../state/url";
import { type View, type Viewport, rowTop, visibleRects } from "./layout";
import { frameLabel, shortName } from "./names";
import { frameBand, frameFill } from "./paint";
import { type FlameTree, frameOf } from "./tree";

/** What a picture shows, beside the tree. */
export interface Picture {
  tree: FlameTree;
  view: View;
  orientation: Viewport["orientation"];
  /** In CSS pixels. */
  width: number;
  dark: boolean;
  coloring: Coloring;
  /** Groups that have a colour, where not all do. */
  ranked?: ReadonlySet<string> | undefined;
  rootLabel: string;
  /** Lines above the graph: the range, the selector, what was done to the tree. */
  title: readonly string[];
}

const ROW = 20;
const PAD = 16;
const TITLE_LINE = 18;
/** Mean width of a character of the frames' font, in pixels: a picture is made without measuring. */
const CHARACTER = 6.6;
/** Longer names are cut in the text that shows on pointing, too. */
const LONGEST = 400;

/** Text that no reader of XML takes for markup; characters that XML cannot hold are replaced. */
export function xml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ud800-\udfff\ufffe\uffff]/gu, "\ufffd")
    .replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

/** `text`, or its beginning with an ellipsis, in so many characters. */
const cut = (text: string, room: number) => {
  const signs = [...text.slice(0, Math.max(0, room) * 2 + 2)];
  return text.length <= room ? text : room < 3 ? "" : `${signs.slice(0, room - 1).join("")}…`;
};

/** The height of a picture of all rows. */
export const pictureHeight = ({ tree, title }: Pick<Picture, "tree" | "title">): number =>
  tree.rows.length * ROW + PAD * 2 + title.length * TITLE_LINE;

/** The viewport of a picture of all rows. */
export function picturePort(picture: Picture): Viewport {
  return {
    width: picture.width, height: pictureHeight(picture) - picture.title.length * TITLE_LINE, padLeft: PAD, padRight: PAD,
    padTop: PAD, rowHeight: ROW, scroll: 0, orientation: picture.orientation,
  };
}

const PATTERNS = (ink: string) => `<defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-1 7 7-1M-1 1 1-1M5 7 7 5" stroke="${ink}" stroke-opacity=".14"/></pattern>
<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse"><g fill="${ink}" fill-opacity=".2"><circle cx="1.25" cy="1.25" r=".72"/><circle cx="3.75" cy="3.75" r=".72"/></g></pattern>
<pattern id="cross" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-1-1 7 7M7-1-1 7" stroke="${ink}" stroke-opacity=".2"/></pattern>
</defs>`;

const TEXTURES: Partial<Record<string, string>> = { kernel: "hatch", jit: "dots", interpreted: "dots", truncated: "cross" };

/** The document. */
export function pictureSvg(picture: Picture): string {
  const { tree, view, dark, coloring, rootLabel, title, width } = picture;
  const colors = ownPalette(dark, false, picture.ranked);
  const tone = tokens(dark);
  const port = picturePort(picture);
  const rects = visibleRects(tree, view, port);
  const top = title.length * TITLE_LINE;
  const all = tree.total[0] || 1;
  const parts: string[] = [];
  const n = (value: number) => String(Math.round(value * 100) / 100);
  for (let i = 0; i < rects.count; i++) {
    const node = rects.node[i] as number;
    const frame = frameOf(tree, node);
    const w = Math.max(0.4, (rects.w[i] as number) - ((rects.w[i] as number) > 3 ? 1 : 0));
    const x = rects.x[i] as number;
    const y = rowTop(tree.depth[node] as number, port) + top;
    const at = `x="${n(x)}" y="${n(y)}" width="${n(w)}" height="${ROW - 1}"`;
    const fill = frameFill(frame, colors, coloring);
    if (rects.sliver[i]) {
      parts.push(`<rect ${at} fill="${fill}"/>`);
      continue;
    }
    const label = frameLabel(frame, rootLabel);
    const part = share((tree.total[node] as number) / all);
    const hollow = frame.kind === "inlined" || frame.kind === "folded";
    const outline = hollow ? ` stroke="${colors.outline(frameBand(frame, coloring))}"` : "";
    const texture = w > 3 && TEXTURES[frame.kind];
    const where = frame.kind === "group" || !frame.binary ? "" : `, ${frame.binary}`;
    parts.push(`<g><title>${xml(`${cut(label, LONGEST)}${where}: ${tree.total[node]} samples, ${part}`)}</title>`,
      `<rect ${at} rx="1.5" fill="${fill}"${outline}/>`, texture ? `<rect ${at} fill="url(#${texture})"/>` : "");
    const shared = w > 150 ? part : "";
    const room = Math.floor((w - 9) / CHARACTER) - (shared ? shared.length + 2 : 0);
    const name = w > 26 ? cut(cut(label, room) === label ? label : shortName(label), room) : "";
    const style = frame.kind === "inlined" ? ' font-style="italic"' : frame.kind === "group" || frame.kind === "root" ? ' font-weight="600"' : "";
    if (name) parts.push(`<text x="${n(x + 5)}" y="${n(y + 13.5)}"${style}>${xml(name)}</text>`);
    if (name && shared) parts.push(`<text x="${n(x + w - 5)}" y="${n(y + 13.5)}" text-anchor="end" font-size="11">${shared}</text>`);
    parts.push("</g>");
  }
  const head = title.map((line, i) =>
    `<text x="${PAD}" y="${16 + i * TITLE_LINE}" fill="${i ? tone.ink2 : tone.ink}"${i ? "" : ' font-weight="600"'}>${xml(cut(line, Math.floor(width / CHARACTER)))}</text>`);
  const height = pictureHeight(picture);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Inter, system-ui, sans-serif" font-size="12" fill="${colors.ink}">
${PATTERNS(dark ? "#fff" : "#1c1a17")}<rect width="100%" height="100%" fill="${tone.bg}"/>${head.join("")}
${parts.join("")}</svg>
`;
}
