import { expect, test } from "vitest";
import { DEFAULT_STATE, type ViewState, formatState, parseState } from "./url";

const from = new Date(2024, 5, 14, 2, 12, 4).getTime();
const until = new Date(2024, 5, 14, 2, 21, 37).getTime();

test("the default view needs no query", () => {
  expect(formatState(DEFAULT_STATE)).toBe("");
  expect(parseState("")).toEqual(DEFAULT_STATE);
});

test("every choice survives the way into the URL and back", () => {
  const state: ViewState = {
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
  };
  expect(parseState(`?${formatState(state)}`)).toEqual(state);
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
  expect(parseState("t=yesterday&by=colour&tab=&z=xyz&o=up&w=1/2&s=%E0%A4%A")).toEqual({
    ...DEFAULT_STATE,
    search: "%E0%A4%A",
  });
  expect(parseState("t=now-0m").range).toEqual(DEFAULT_STATE.range);
});
