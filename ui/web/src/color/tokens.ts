/** The colours of the page's own parts that canvases need, too; the style sheet has the same ones. */

export interface Tokens {
  bg: string;
  surface: string;
  ink: string;
  ink2: string;
  ink3: string;
  line: string;
  line2: string;
  accent: string;
}

const LIGHT: Tokens = {
  bg: "#faf9f7", surface: "#ffffff", ink: "#1c1a17", ink2: "#57524a", ink3: "#736d64",
  line: "#e6e2db", line2: "#d3cdc3", accent: "#b8420f",
};
const DARK: Tokens = {
  bg: "#141311", surface: "#1b1a17", ink: "#f1eee8", ink2: "#b9b2a7", ink3: "#938c81",
  line: "#2b2925", line2: "#403c36", accent: "#ff9457",
};

/** The system's own colours, for those who have set them. */
const FORCED: Tokens = {
  bg: "Canvas", surface: "Canvas", ink: "CanvasText", ink2: "CanvasText", ink3: "CanvasText",
  line: "GrayText", line2: "GrayText", accent: "Highlight",
};

/** The tokens of a theme; `forced`: the system's own colours. */
export const tokens = (dark: boolean, forced = false): Tokens => (forced ? FORCED : dark ? DARK : LIGHT);

/** A translucent stroke or dot of a texture. */
export const textureInk = (dark: boolean, alpha: number): string =>
  dark ? `rgba(255,255,255,${alpha})` : `rgba(28,26,23,${alpha})`;
