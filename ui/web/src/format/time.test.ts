import { expect, test } from "vitest";
import { clock, day, duration, iso, isoRange, parseIsoRange, range, zone } from "./time";
import { setZone } from "./zone";

// Local instants, so that the tests hold in every zone they run in.
const at = (d: number, h: number, m: number, s = 0, ms = 0) => new Date(2024, 5, d, h, m, s, ms).getTime();

test("the clock shows milliseconds only where there are some", () => {
  expect(clock(at(14, 2, 14, 2))).toBe("02:14:02");
  expect(clock(at(14, 2, 14, 2, 140))).toBe("02:14:02.140");
});

test("days near now have names", () => {
  const now = at(14, 12, 0);
  expect([at(14, 1, 0), at(13, 23, 0), at(12, 1, 0)].map((ms) => day(ms, now))).toEqual([
    "Today", "Yesterday", "Wed 12 Jun",
  ]);
  expect(day(new Date(2023, 0, 5).getTime(), now)).toBe("Thu 5 Jan 2023");
});

test("a range names its day once", () => {
  const now = at(14, 12, 0);
  expect(range(at(14, 2, 12, 4), at(14, 2, 21, 37), now)).toBe("Today 02:12:04 – 02:21:37");
  expect(range(at(13, 23, 0), at(14, 1, 0), now)).toBe("Yesterday 23:00:00 – Today 01:00:00");
});

test("durations keep their two largest units", () => {
  expect([250, 12_000, 900_000, 9_000_000, 3 * 86_400_000, 90_061_000].map(duration)).toEqual([
    "250 ms", "12 s", "15 min", "2 h 30 min", "3 d", "1 d 1 h",
  ]);
});

test("a range survives the way into the URL and back", () => {
  for (const [from, until] of [
    [at(14, 2, 12, 4), at(14, 2, 21, 37)],
    [at(13, 23, 0, 0, 250), at(14, 1, 0, 0, 500)],
  ] as const) {
    expect(parseIsoRange(isoRange(from, until))).toEqual({ from, until });
  }
});

test("a plus sign eaten on the way is put back", () => {
  const parsed = parseIsoRange("2024-06-14T02:12:04 02:00/02:21:37");
  expect(parsed).toEqual({ from: Date.UTC(2024, 5, 14, 0, 12, 4), until: Date.UTC(2024, 5, 14, 0, 21, 37) });
});

test("a range over the hour that comes twice tells both offsets", () => {
  setZone("Europe/Berlin");
  const change = Date.UTC(2024, 9, 27, 1);
  expect(range(change - 1_800_000, change + 1_800_000, change)).toBe("Today 02:30:00 UTC+2 – 02:30:00 UTC+1");
  expect(range(change, change + 1_800_000, change)).toBe("Today 02:00:00 – 02:30:00");
  setZone("");
});

test("ends may stand in either order, and lie within what the server takes", () => {
  const forth = parseIsoRange("2024-06-14T02:12:04Z/02:21:37");
  expect(parseIsoRange("2024-06-14T02:21:37Z/02:12:04")).toEqual(forth);
  expect(parseIsoRange("2024-06-14T02:12:04Z/02:21:37Z")).toEqual(forth);
  expect(parseIsoRange("0001-01-01T00:00:00Z/1970-01-02T00:00:00Z")).toEqual({ from: 0, until: 86_400_000 });
  expect(parseIsoRange("2024-06-14T00:00:00Z/9999-01-01T00:00:00Z")?.until).toBe(Date.UTC(2200, 0));
  // Date.parse takes these for years and months.
  for (const text of ["1/2", "2024/2025", "5 May 2024/6 May 2024", "0001-01-01T00:00:00Z/0002-01-01T00:00:00Z"]) expect(parseIsoRange(text)).toBeUndefined();
});

test("what is no range is refused", () => {
  for (const text of ["", "x", "2024-06-14T02:12:04Z", "2024-06-14T02:12:04Z/02:12:04", "a/b/c"]) {
    expect(parseIsoRange(text)).toBeUndefined();
  }
});

test("ISO times carry their offset", () => {
  expect(iso(at(14, 2, 12, 4))).toMatch(/^2024-06-14T02:12:04[+-]\d\d:\d\d$/);
  expect(zone(at(14, 2, 0))).toMatch(/^UTC([+−]\d+(:\d\d)?)?$/);
});
