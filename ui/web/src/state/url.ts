/** The URL holds every visible choice, in short readable keys and a stable order. */

import { DEFAULT_TRANSFORMS, type Transform, formatTransforms, parseTransforms, sameTransforms } from "../flame/transform";
import { isoRange, parseIsoRange } from "../format/time";
import { MOST_RECTANGLES } from "./rectangles";

/** A span of time, half open, Unix milliseconds. */
export interface Span {
  from: number;
  until: number;
}

/** What is looked at: the last `length` milliseconds, following now, or a fixed span. */
export type Range = { live: true; length: number } | ({ live: false } & Span);

export const TABS = ["flame", "top", "sandwich", "tree", "lanes", "source"] as const;
export type Tab = (typeof TABS)[number];

export type Orientation = "icicle" | "flame";

/** What the colour of a frame stands for. */
export const COLORINGS = ["package", "binary", "type"] as const;
export type Coloring = (typeof COLORINGS)[number];

/** What a row of the top table is. */
export const TOP_ROWS = ["function", "file", "binary", "package"] as const;
export type TopRows = (typeof TOP_ROWS)[number];

/** What a lane is. */
export const LANES = ["thread", "cpu"] as const;
export type LanesBy = (typeof LANES)[number];
/** Whole views of the page, each with a path of its own. */
export const PAGES = ["explore", "compare", "inventory", "audit"] as const;
export type Page = (typeof PAGES)[number];

/** A rectangle of the heat map: of each second of a span the milliseconds from `low` on, below `high`. */
export interface Rectangle extends Span {
  low: number;
  high: number;
}

/** The heat map: closed, open, or open with rectangles selected. */
export type HeatMapState = boolean | readonly Rectangle[];

/** What the range is compared with; a pin by its id. */
export type Baseline = "yesterday" | "week" | "median" | "none" | `pin:${string}`;

/** Which side of a comparison makes frames wide. */
export type WidthBy = "a" | "b" | "sum";

/** Everything a link carries. */
export interface ViewState {
  page: Page;
  range: Range;
  /** The span of the time line; null where it is the range itself. */
  window: Span | null;
  query: string;
  by: string;
  tab: Tab;
  /** What is done to the stack tree, in this order. */
  transforms: readonly Transform[];
  coloring: Coloring;
  /** Whether rows of frames are low, so that more of them fit. */
  compact: boolean;
  topRows: TopRows;
  lanes: LanesBy;
  /** Path hash of the zoomed frame; 0 for none. */
  zoom: number;
  /** Path hash of the selected frame; 0 for none. */
  selected: number;
  /** The part of the width that is seen, 0…1, where the graph was moved by hand. */
  pan: { x0: number; x1: number } | null;
  search: string;
  orientation: Orientation;
  /** Whether the Truth drawer is open. */
  truth: boolean;
  heatMap: HeatMapState;
  baseline: Baseline;
  /** The two sides of a comparison, as compare/sides.ts reads them; empty for the baseline and the range. */
  a: string;
  b: string;
  width: WidthBy;
  /** Whether a comparison is of shares of all samples, not of cores. */
  shares: boolean;
  /** Time zone by its IANA name, or `UTC`; empty for the browser's. */
  zone: string;
}

const MINUTE = 60_000;

/** What the page shows when it is opened without a link. */
export const DEFAULT_STATE: ViewState = {
  page: "explore",
  range: { live: true, length: 15 * MINUTE },
  window: null,
  query: "",
  by: "process",
  tab: "flame",
  transforms: DEFAULT_TRANSFORMS,
  coloring: "package",
  compact: false,
  topRows: "function",
  lanes: "thread",
  zoom: 0,
  selected: 0,
  pan: null,
  search: "",
  orientation: "icicle",
  truth: false,
  heatMap: false,
  baseline: "yesterday",
  a: "",
  b: "",
  width: "b",
  shares: false,
  zone: "",
};

/** The longest range that follows now: longer than profiles are kept. */
const LONGEST_LIVE = 3660 * 24 * 60 * MINUTE;

const UNITS: Record<string, number> = { s: 1000, m: MINUTE, h: 60 * MINUTE, d: 24 * 60 * MINUTE };

function formatLength(ms: number): string {
  for (const unit of ["d", "h", "m"]) {
    const size = UNITS[unit] as number;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms / 1000}s`;
}

function parseRange(text: string): Range | undefined {
  const [, amount, unit] = /^now-(\d+(?:\.\d+)?)([smhd])$/.exec(text) ?? [];
  if (amount && unit) {
    const length = Math.min(LONGEST_LIVE, Number(amount) * (UNITS[unit] as number));
    return length > 0 ? { live: true, length } : undefined;
  }
  const span = parseIsoRange(text);
  return span && { live: false, ...span };
}

/** Percent-encodes only what a query must not hold, so that times and labels stay readable. */
function encode(value: string): string {
  // Browsers encode the quote by themselves: what is written here is what stands in the address bar.
  return encodeURIComponent(value).replace(/%(3A|3B|2F|2C|3D|40|7C|5B|5D)/g, decodeURIComponent).replace(/'/g, "%27");
}

function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

const formatHash = (hash: number) => hash.toString(16);
const parseHash = (text: string | undefined) => (text && /^[0-9a-f]{1,8}$/.test(text) ? Number.parseInt(text, 16) : 0);

/** Enough digits for a pixel at the closest zoom. */
const formatPart = (part: number) => String(Number(part.toPrecision(11)));
function parsePan(text: string | undefined): ViewState["pan"] {
  const [x0 = Number.NaN, x1 = Number.NaN] = (text ?? "").split(",").map(Number);
  return x0 >= 0 && x1 <= 1 && x0 < x1 && x1 - x0 < 1 ? { x0, x1 } : null;
}

function formatRectangle({ from, until, low, high }: Rectangle): string {
  const whole = low === 0 && high === 1000;
  return `${isoRange(from, until)}${whole ? "" : `@${low}-${high}`}`;
}

function parseHeatMap(text: string | undefined): HeatMapState {
  if (text === undefined) return false;
  const all = text.split(",").map(parseRectangle);
  return all.length <= MOST_RECTANGLES && all.every((one) => one !== undefined) ? all : true;
}

function parseRectangle(text: string): Rectangle | undefined {
  const [, span = "", low = "0", high = "1000"] = /^(.*?)(?:@(\d{1,4})-(\d{1,4}))?$/.exec(text) ?? [];
  const found = parseIsoRange(span);
  const rectangle = found && { ...found, low: Number(low), high: Number(high) };
  return rectangle && rectangle.low < rectangle.high && rectangle.high <= 1000 ? rectangle : undefined;
}

const BASELINES: readonly string[] = ["yesterday", "week", "median", "none"] satisfies Baseline[];
const isBaseline = (text: string): text is Baseline => BASELINES.includes(text) || /^pin:[0-9A-Z]{26}$/.test(text);

/** The path of a page. */
export const pathOf = (page: Page): string => (page === "explore" ? "/" : `/${page}`);
const pageOf = (path: string): Page => PAGES.find((page) => path === `/${page}`) ?? "explore";

/** The query part of the URL, without the question mark; defaults are left out. */
export function formatState(state: ViewState): string {
  const parts: string[] = [];
  const add = (key: string, value: string) => parts.push(`${key}=${encode(value)}`);
  const { range, window } = state;
  if (!range.live) add("t", isoRange(range.from, range.until));
  else if (range.length !== (DEFAULT_STATE.range as { length: number }).length) add("t", `now-${formatLength(range.length)}`);
  if (window) add("w", isoRange(window.from, window.until));
  if (state.query) add("q", state.query);
  if (state.by !== DEFAULT_STATE.by) add("by", state.by);
  if (state.tab !== DEFAULT_STATE.tab) add("tab", state.tab);
  if (!sameTransforms(state.transforms, DEFAULT_TRANSFORMS)) add("x", formatTransforms(state.transforms));
  if (state.topRows !== DEFAULT_STATE.topRows) add("rows", state.topRows);
  if (state.lanes !== DEFAULT_STATE.lanes) add("lanes", state.lanes);
  if (state.zoom) add("z", formatHash(state.zoom));
  if (state.selected) add("sel", formatHash(state.selected));
  if (state.pan) add("v", `${formatPart(state.pan.x0)},${formatPart(state.pan.x1)}`);
  if (state.search) add("s", state.search);
  if (state.orientation !== DEFAULT_STATE.orientation) add("o", state.orientation);
  if (state.coloring !== DEFAULT_STATE.coloring) add("color", state.coloring);
  if (state.compact) parts.push("compact");
  if (state.heatMap) state.heatMap === true ? parts.push("hm") : add("hm", state.heatMap.map(formatRectangle).join(","));
  if (state.baseline !== DEFAULT_STATE.baseline) add("base", state.baseline);
  if (state.a) add("a", state.a);
  if (state.b) add("b", state.b);
  if (state.width !== DEFAULT_STATE.width) add("width", state.width);
  if (state.shares) add("norm", "total");
  if (state.zone) add("tz", state.zone);
  if (state.truth) parts.push("truth");
  return parts.join("&");
}

/** Reads a URL's query and path; what is unknown or broken falls back to the default. */
export function parseState(query: string, path = "/"): ViewState {
  const values = new Map<string, string>();
  for (const part of query.replace(/^\?/, "").split("&")) {
    const at = part.indexOf("=");
    if (part) values.set(at < 0 ? part : part.slice(0, at), at < 0 ? "" : decode(part.slice(at + 1)));
  }
  const by = values.get("by") ?? "";
  const oneOf = <T extends string>(key: string, names: readonly T[], fallback: T): T =>
    names.find((name) => name === values.get(key)) ?? fallback;
  const transforms = values.get("x");
  const window = parseIsoRange(values.get("w") ?? "");
  const range = parseRange(values.get("t") ?? "") ?? DEFAULT_STATE.range;
  const heatMap = parseHeatMap(values.get("hm"));
  const base = values.get("base") ?? "";
  const width = (["a", "sum"] as const).find((name) => name === values.get("width"));
  return {
    page: pageOf(path),
    range,
    window: range.live ? null : (window ?? null),
    query: values.get("q") ?? "",
    by: /^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(by) ? by : DEFAULT_STATE.by,
    tab: oneOf("tab", TABS, DEFAULT_STATE.tab),
    transforms: transforms === undefined ? DEFAULT_TRANSFORMS : parseTransforms(transforms),
    coloring: oneOf("color", COLORINGS, DEFAULT_STATE.coloring),
    compact: values.has("compact"),
    topRows: oneOf("rows", TOP_ROWS, DEFAULT_STATE.topRows),
    lanes: oneOf("lanes", LANES, DEFAULT_STATE.lanes),
    zoom: parseHash(values.get("z")),
    selected: parseHash(values.get("sel")),
    pan: parsePan(values.get("v")),
    search: values.get("s") ?? "",
    orientation: values.get("o") === "flame" ? "flame" : "icicle",
    truth: values.has("truth"),
    // A rectangle belongs to its range.
    heatMap: typeof heatMap === "object" && !range.live && heatMap.some((one) => one.until <= range.from || one.from >= range.until) ? true : heatMap,
    baseline: isBaseline(base) ? base : DEFAULT_STATE.baseline,
    a: values.get("a") ?? "",
    b: values.get("b") ?? "",
    width: width ?? DEFAULT_STATE.width,
    shares: values.get("norm") === "total",
    zone: /^[A-Za-z0-9_+/-]{1,64}$/.test(values.get("tz") ?? "") ? (values.get("tz") as string) : "",
  };
}
