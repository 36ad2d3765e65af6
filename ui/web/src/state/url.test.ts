import { expect, test } from "vitest";
import { DEFAULT_STATE, type ViewState, formatState, parseState, pathOf } from "./url";

const from = new Date(2024, 5, 14, 2, 12, 4).getTime();
const until = new Date(2024, 5, 14, 2, 21, 37).getTime();

test("the default view needs no query", () => {
  expect(formatState(DEFAULT_STATE)).toBe("");
  expect(parseState("")).toEqual(DEFAULT_STATE);
});

test("every choice survives the way into the URL and back", () => {
  const state: ViewState = {
    page: "compare",
    range: { live: false, from, until },
    window: { from: from - 3_600_000, until },
    query: 'host="web-01", process!="a&b=c%20 +"',
    by: "thread",
    tab: "top",
    zoom: 0xdeadbeef,
    selected: 7,
    search: "/^sre_(a|b)+$/",
    orientation: "flame",
    truth: true,
    transforms: [{ operation: "hide", target: "a;b" }, { operation: "invert", target: "" }], coloring: "type", compact: true, topRows: "binary", lanes: "cpu",
    pan: { x0: 0.25, x1: 0.5 },
    heatMap: [{ from, until: from + 13_000, low: 140, high: 560 }, { from: from + 20_000, until: from + 21_000, low: 0, high: 1000 }],
    baseline: "pin:01HZX3V8K9QWERTYASDFGZXCVB",
    a: "2024-06-13T02:12:04+02:00/02:21:37;process=\"x\"",
    b: "file:build.folded",
    width: "sum",
    shares: true, zone: "Europe/Berlin",
  };
  expect(parseState(`?${formatState(state)}`, pathOf(state.page))).toEqual(state);
});

test("a heat map is open with a rectangle of whole seconds, of a part of each, or without one", () => {
  const rectangle = { from, until: from + 13_000, low: 0, high: 1000 };
  for (const heatMap of [true, [rectangle], [{ ...rectangle, low: 980 }], [rectangle, { ...rectangle, high: 20 }]]) {
    expect(parseState(formatState({ ...DEFAULT_STATE, heatMap })).heatMap).toEqual(heatMap);
  }
  expect(formatState({ ...DEFAULT_STATE, heatMap: [rectangle] })).not.toContain("@");
  for (const broken of ["hm=soon", "hm=2024-06-14T02:12:04Z/02:12:05Z@900-100", "hm=2024-06-14T02:12:04Z/02:12:05Z@0-1001", "hm=2024-06-14T02:12:04Z/02:12:05Z,soon",
    `hm=${Array(33).fill("2024-06-14T02:12:04Z/02:12:05Z").join(",")}`]) {
    expect(parseState(broken).heatMap).toBe(true);
  }
});

test("a rectangle that lies elsewhere is not of the range, and leaves the map open", () => {
  const fixed = { ...DEFAULT_STATE, range: { live: false as const, from, until } };
  const rectangle = { from: from - 3_600_000, until: from - 3_590_000, low: 0, high: 1000 };
  expect(parseState(formatState({ ...fixed, heatMap: [rectangle] })).heatMap).toBe(true);
  const within = [{ ...rectangle, from, until: from + 10_000 }];
  expect(parseState(formatState({ ...fixed, heatMap: within })).heatMap).toEqual(within);
});

test("a live range is no longer than profiles are kept", () => {
  expect(parseState("t=now-99999999d").range).toEqual({ live: true, length: 3660 * 86_400_000 });
});

test("live ranges are short, and keep their length", () => {
  for (const [length, text] of [[300_000, "t=now-5m"], [90_000, "t=now-90s"], [7_200_000, "t=now-2h"]] as const) {
    const query = formatState({ ...DEFAULT_STATE, range: { live: true, length } });
    expect(query).toBe(text);
    expect(parseState(query).range).toEqual({ live: true, length });
  }
});

test("the order of keys is stable, and times are readable", () => {
  const query = formatState({ ...DEFAULT_STATE, search: "x", by: "exe", range: { live: false, from, until } });
  expect(query).toMatch(/^t=2024-06-14T02:12:04.*\/02:21:37&by=exe&s=x$/);
});

test("broken values fall back to the default", () => {
  expect(parseState("t=yesterday&by=a%20b&tab=&z=xyz&o=up&w=1/2&base=monday&width=c&s=%E0%A4%A")).toEqual({
    ...DEFAULT_STATE,
    search: "%E0%A4%A",
  });
  expect(parseState("t=now-0m").range).toEqual(DEFAULT_STATE.range);
});
