/** The time zone that times are written in: the browser's, unless a link or the user says another. */

const MINUTE = 60_000;
/** Zones change their offset at quarters of an hour at most: it is asked for once in each. */
const QUARTER = 15 * MINUTE;
const LIMIT = 5000;

let formatter: Intl.DateTimeFormat | undefined;
let fixed: number | undefined;
const offsets = new Map<number, number>();

/** Sets the zone by its IANA name or `UTC`; empty for the browser's. False, and nothing changed, where nobody knows it. */
export function setZone(name: string): boolean {
  let next: Intl.DateTimeFormat | undefined;
  try {
    const form = { timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" } as const;
    next = name && name !== "UTC" ? new Intl.DateTimeFormat("en-US", form) : undefined;
  } catch {
    return false;
  }
  fixed = name === "UTC" ? 0 : undefined;
  formatter = next;
  offsets.clear();
  return true;
}

function asked(format: Intl.DateTimeFormat, ms: number): number {
  const quarter = Math.floor(ms / QUARTER) * QUARTER;
  const known = offsets.get(quarter);
  if (known !== undefined) return known;
  const part = Object.fromEntries(format.formatToParts(quarter).map(({ type, value }) => [type, Number(value)])) as Record<string, number>;
  const wall = Date.UTC(part.year as number, (part.month as number) - 1, part.day, part.hour, part.minute, part.second);
  const offset = Math.round((wall - quarter) / MINUTE);
  if (offsets.size >= LIMIT) offsets.clear();
  offsets.set(quarter, offset);
  return offset;
}

/** Minutes that the zone's clocks are ahead of UTC at an instant. */
export function offsetMinutes(ms: number): number {
  if (fixed !== undefined) return fixed;
  return formatter ? asked(formatter, ms) : -new Date(ms).getTimezoneOffset();
}

/** What the zone's clocks show, as the UTC fields of the result. */
export const wall = (ms: number): Date => new Date(ms + offsetMinutes(ms) * MINUTE);

/** The instant at which the zone's clocks show the UTC fields of `shown`. */
export function fromWall(shown: number): number {
  const guess = shown - offsetMinutes(shown) * MINUTE;
  return shown - offsetMinutes(guess) * MINUTE;
}

/** The instant that a form's `2024-06-14T02:12:04` means; NaN where it is none. */
export const parseWall = (text: string): number => {
  const shown = Date.parse(`${text}Z`);
  return Number.isNaN(shown) ? shown : fromWall(shown);
};
