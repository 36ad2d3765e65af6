import { afterEach, expect, test } from "vitest";
import { timeTicks } from "../timeline/scale";
import { clock, day, iso, isoRange, parseIsoRange, range, zone } from "./time";
import { parseWall, setZone } from "./zone";

afterEach(() => setZone(""));
const at = Date.UTC(2024, 5, 14, 22, 30);

test("times are written in the zone that is set", () => {
  setZone("UTC");
  expect([clock(at), zone(at), iso(at)]).toEqual(["22:30:00", "UTC", "2024-06-14T22:30:00+00:00"]);
  setZone("Asia/Kolkata");
  expect([clock(at), zone(at), iso(at)]).toEqual(["04:00:00", "UTC+5:30", "2024-06-15T04:00:00+05:30"]);
  expect(day(at, at - 6 * 3_600_000)).toBe("Sat 15 Jun");
  expect(range(at - 3_600_000, at + 3_600_000, at)).toBe("Today 03:00:00 – 05:00:00");
  expect(parseIsoRange(isoRange(at, at + 1000))).toEqual({ from: at, until: at + 1000 });
});

test("summer time is that of the instant", () => {
  setZone("Europe/Berlin");
  expect([zone(Date.UTC(2024, 0, 1)), zone(Date.UTC(2024, 6, 1))]).toEqual(["UTC+1", "UTC+2"]);
  // Clocks went forward on 31 March at 01:00 UTC.
  expect(clock(Date.UTC(2024, 2, 31, 0, 59, 59))).toBe("01:59:59");
  expect(clock(Date.UTC(2024, 2, 31, 1))).toBe("03:00:00");
  expect(parseWall("2024-03-31T03:00:00")).toBe(Date.UTC(2024, 2, 31, 1));
  expect(parseWall("2024-07-01T12:00:00")).toBe(Date.UTC(2024, 6, 1, 10));
  expect(parseWall("no time")).toBeNaN();
});

test("ticks of days stand at the zone's midnights", () => {
  setZone("Asia/Kolkata");
  const { ticks } = timeTicks({ from: at, until: at + 5 * 86_400_000 }, 5);
  expect(ticks.map(clock)).toEqual(ticks.map(() => "00:00:00"));
  expect(ticks.length).toBeGreaterThan(2);
  const { ticks: hours } = timeTicks({ from: at, until: at + 86_400_000 }, 4);
  expect(hours.every((tick) => clock(tick).endsWith(":00:00"))).toBe(true);
});

test("a zone nobody knows changes nothing", () => {
  setZone("UTC");
  expect(setZone("Mars/Olympus")).toBe(false);
  expect(zone(at)).toBe("UTC");
});
