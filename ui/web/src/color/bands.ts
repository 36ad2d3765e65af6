/** Which colour a frame, a group row or an area of the time line has: colour says whose code it is. */

import { type Oklch, fromHex, toHex } from "./oklch";

/** The bands of user code, as people call them. */
export const BANDS = ["rose", "ochre", "straw", "lime", "green", "cyan", "blue", "violet"] as const;

/** Index of the band of kernel code, after those of user code. */
export const KERNEL_BAND = BANDS.length;

/** Tones of a theme. */
interface Tones {
  /** For the areas of the time line. */
  area: readonly string[];
  /** For frames. */
  frame: readonly string[];
  /** The text on all of them. */
  ink: string;
  root: string;
  truncated: string;
  other: string;
}

// In the order of the bands, the kernel's last.
const LIGHT: Tones = {
  area: ["#eaabaa", "#ac844a", "#c0b365", "#d2d88a", "#6f977c", "#89dae3", "#73b1e6", "#8f78ba", "#9ba2ab"],
  frame: ["#e4bcbe", "#d1b38f", "#e6dca8", "#e8eec7", "#96b7a3", "#bde9ee", "#a4cef6", "#bcaed4", "#cfd5db"],
  ink: "#1c1a17",
  root: "#ecebe7",
  truncated: "#ece6da",
  other: "#c8c5bf",
};
const DARK: Tones = {
  area: ["#c5888c", "#906d3c", "#9e9454", "#b2b77b", "#557c67", "#78b7be", "#558bbd", "#7860a0", "#474e55"],
  frame: ["#705051", "#553b18", "#595023", "#595e31", "#2d4c3a", "#2e6167", "#2a5175", "#4a3e5e", "#363a3d"],
  ink: "#f4f1eb",
  root: "#282623",
  truncated: "#3a352d",
  other: "#3d3a35",
};

const encoder = new TextEncoder();

/** 32-bit FNV-1a of the UTF-8 bytes of `text`: the same on every host and day. */
export function fnv1a(text: string): number {
  return fnv1aOn(0x811c9dc5, text);
}

/** The hash of a text that follows another one, whose hash is given. */
export function fnv1aOn(start: number, text: string): number {
  let hash = start;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Nearly all names are ASCII, where a code unit is the byte.
    if (unit > 0x7f) return fnv1aOfBytes(start, text);
    hash = Math.imul(hash ^ unit, 0x01000193);
  }
  return hash >>> 0;
}

function fnv1aOfBytes(start: number, text: string): number {
  let hash = start;
  for (const byte of encoder.encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

// Common binaries whose hash would put neighbours into one band.
const HAND_SET: ReadonlyMap<string, number> = new Map(
  Object.entries({
    0: "redis-server redis-cli memcached mongod mysqld mariadbd ruby cc1 cc1plus clang ld lld",
    1: "libc libm libpthread ld-linux-x86 ld-linux-aarch musl java libjvm",
    2: "node deno bun esbuild",
    3: "libz libzstd libpcre2 liblzma perl php rustc librustc_driver",
    4: "nginx haproxy envoy caddy traefik httpd apache2 cargo go",
    5: "libssl libcrypto containerd dockerd runc containerd-shim kubelet chromium chrome firefox",
    6: "python libpython _sre _json bash sh dash systemd systemd-journal",
    7: "postgres libpq sqlite libsqlite vesta prometheus grafana git",
  }).flatMap(([band, names]) => names.split(" ").map((name) => [name, Number(band)] as const)),
);

const SCRIPT = /\.(py|js|mjs|cjs|ts|rb|php|pl|lua|java|groovy|kt)$/;

/**
 * The key of a binary: its base name without version and suffix (`/lib/libssl.so.3` → `libssl`). A script takes the
 * name of its folder, which is its package.
 */
export function binaryKey(path: string): string {
  if (SCRIPT.test(path)) return path.split("/").at(-2) || path.replace(SCRIPT, "");
  const base = path.replace(/ \(deleted\)$/, "").replace(/^.*\/(?=.)/, "");
  const stem = base.replace(/(\.cpython[^/]*)?\.so(\.[\d.]+)?$/, "");
  return stem.replace(/[-.]?\d[\d.]*$/, "") || base;
}

// Threads of the kernel, by the names they give themselves.
const KERNEL_NAMES =
  /^\[?(kernel|vmlinux|kworker|ksoftirqd|kswapd|kthread|kcompactd|khugepaged|migration|rcu_|swapper|irq\/|jbd2|writeback)/;

/** By key, what a user chose instead of the band that everybody has. */
let chosen: ReadonlyMap<string, number> = new Map();

/** From now on these bands are used; palettes made before stay as they were. */
export function useBands(bands: ReadonlyMap<string, number>): void {
  chosen = bands;
  bandCache.clear();
}

const bandCache = new Map<string, number>();
/** Distinct binaries and label values of one page; beyond it the cache starts anew. */
const BAND_CACHE_LIMIT = 20_000;

/** The band of a binary's path or of a process' name. */
export function bandOf(path: string): number {
  let band = bandCache.get(path);
  if (band === undefined) {
    const key = binaryKey(path);
    band = KERNEL_NAMES.test(path) ? KERNEL_BAND : (chosen.get(key) ?? HAND_SET.get(key) ?? fnv1a(key) % BANDS.length);
    if (bandCache.size >= BAND_CACHE_LIMIT) bandCache.clear();
    bandCache.set(path, band);
  }
  return band;
}

/** The step of a function, by its name or the hash of that, within its band, −2…2, so that neighbours separate without a new hue. */
export function stepOf(name: string | number): number {
  return ((typeof name === "number" ? name : fnv1a(name)) % 5) - 2;
}

/** Steps of lightness: areas are few and may touch, frames are many. */
const AREA_STEP = 0.016;
const FRAME_STEP = 0.0085;

/** Every colour the drawings of one theme need. */
export interface Palette {
  dark: boolean;
  ink: string;
  root: string;
  truncated: string;
  /** Groups beyond the top ones. */
  other: string;
  /** An area of the time line. */
  area(value: string): string;
  /** A group row of the flame graph. */
  group(value: string): string;
  /** A frame that is plain. */
  frame(band: number, step: number): string;
  /** The tint that fills an inlined frame. */
  inlined(band: number): string;
  /** The outline of an inlined frame. */
  outline(band: number): string;
}

function shade(hex: string, change: (tone: Oklch) => Partial<Oklch>): string {
  const tone = fromHex(hex);
  return toHex({ ...tone, ...change(tone) });
}

/** No colours but the system's: what they told is told by outlines, textures and names alone. */
function forcedPalette(dark: boolean): Palette {
  const canvas = () => "Canvas";
  return {
    dark, ink: "CanvasText", root: "Canvas", truncated: "Canvas", other: "Canvas",
    area: canvas, group: canvas, frame: canvas, inlined: canvas, outline: () => "CanvasText",
  };
}

/**
 * Bands of values of a label that is no binary's name, for as many as there are bands: that of its hash, or the next one that none of the
 * others has. What a user chose comes first.
 */
function bandsOfValues(values: ReadonlySet<string>): ReadonlyMap<string, number> {
  const bands = new Map(chosen);
  const taken = new Set([...values].map((value) => chosen.get(value)));
  // In an order that does not hang on who used more CPU.
  for (const value of [...values].filter((one) => !chosen.has(one)).sort()) {
    const own = fnv1a(value) % BANDS.length;
    const free = BANDS.findIndex((_, i) => !taken.has((own + i) % BANDS.length));
    const band = (own + Math.max(0, free)) % BANDS.length;
    taken.add(band);
    bands.set(value, band);
  }
  return bands;
}

/**
 * The palette of a theme; `forced`: the system's own colours; `ranked`: where groups are values of a label that names no binary, those that have
 * a colour. The others are grey, unless a user chose a band for them.
 */
export function palette(dark: boolean, forced = false, ranked?: ReadonlySet<string>): Palette {
  if (forced) return forcedPalette(dark);
  const tones = dark ? DARK : LIGHT;
  const at = (list: readonly string[], band: number | undefined) => (band === undefined ? undefined : list[band]) ?? tones.other;
  const values = ranked && bandsOfValues(ranked);
  const groupBand = (value: string) => (values ? values.get(value) : bandOf(value));
  const frames = tones.frame.flatMap((hex) =>
    [-2, -1, 0, 1, 2].map((step) => (step ? shade(hex, ({ l }) => ({ l: l + step * FRAME_STEP })) : hex)),
  );
  const inlined = tones.frame.map((hex) =>
    shade(hex, ({ l, c }) =>
      dark ? { l: l - 0.12, c: c * 0.75 } : { l: Math.min(0.965, l + 0.085), c: c * 0.38 },
    ),
  );
  const outline = tones.frame.map((hex) =>
    shade(hex, ({ l, c }) => (dark ? { l: l + 0.08 } : { l: l - 0.16, c: c * 1.1 })),
  );
  // In the dark, pale areas would drown the light text of a group row.
  const group = tones.area.map((hex) =>
    shade(hex, ({ l, c }) => (dark ? { l: Math.min(0.475, l - 0.1) } : { l: Math.max(0.66, l), c })),
  );
  return {
    dark,
    ink: tones.ink,
    root: tones.root,
    truncated: tones.truncated,
    other: tones.other,
    area: (value) => {
      const band = groupBand(value);
      if (band === undefined) return tones.other;
      return shade(at(tones.area, band), ({ l }) => ({ l: l + stepOf(value) * AREA_STEP }));
    },
    group: (value) => at(group, groupBand(value)),
    frame: (band, step) => at(frames, band * 5 + step + 2),
    inlined: (band) => at(inlined, band),
    outline: (band) => at(outline, band),
  };
}
