/** Times as the page writes them: 24 h, in the page's zone (zone.ts). All instants are Unix milliseconds. */

import { offsetMinutes, wall } from "./zone";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

const pad = (value: number, width = 2) => String(value).padStart(width, "0");

/** `02:14`. */
export function hourMinute(ms: number): string {
  const date = wall(ms);
  return `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}`;
}

/** `02:14:02`, with milliseconds where the instant has them. */
export function clock(ms: number): string {
  const date = wall(ms);
  const fraction = date.getUTCMilliseconds();
  return `${hourMinute(ms)}:${pad(date.getUTCSeconds())}${fraction ? `.${pad(fraction, 3)}` : ""}`;
}

/** `14 Jun`. */
export function dayMonth(ms: number): string {
  const date = wall(ms);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

/** `Today`, `Yesterday`, `Fri 14 Jun`, and the year where it is not this one. */
export function day(ms: number, now: number): string {
  const date = wall(ms);
  if (sameDay(ms, now)) return "Today";
  const yesterday = wall(now);
  yesterday.setUTCDate(yesterday.getUTCDate() - 1);
  if (date.toISOString().slice(0, 10) === yesterday.toISOString().slice(0, 10)) return "Yesterday";
  const year = date.getUTCFullYear() === wall(now).getUTCFullYear() ? "" : ` ${date.getUTCFullYear()}`;
  return `${DAYS[date.getUTCDay()]} ${dayMonth(ms)}${year}`;
}

/** `Today 02:12:04 – 02:21:37`; the day is written once where both ends share it. */
export function range(from: number, until: number, now: number): string {
  const last = sameDay(from, until) ? "" : `${day(until, now)} `;
  // Where clocks were put forward or back in between, theirs alone would tell another length.
  const [first, second] = offset(from) === offset(until) ? ["", ""] : [` ${zone(from)}`, ` ${zone(until)}`];
  return `${day(from, now)} ${clock(from)}${first} – ${last}${clock(until)}${second}`;
}

/** A length: `15 min`, `2 h 30 min`, `3 d`, `12 s`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1000);
  const units: [string, number][] = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const parts: string[] = [];
  let rest = seconds;
  for (const [name, size] of units.slice(first, first + 2)) {
    const whole = Math.floor(rest / size);
    if (whole) parts.push(`${whole} ${name}`);
    rest -= whole * size;
  }
  return parts.join(" ");
}

/** ISO 8601 with the local offset: `2024-06-14T02:12:04+02:00`. */
export function iso(ms: number): string {
  const date = wall(ms);
  return `${isoDate(date)}T${clock(ms)}${offset(ms)}`;
}

/** An ISO range; the second end drops the date and offset it shares with the first. */
export function isoRange(from: number, until: number): string {
  const same = sameDay(from, until) && offset(from) === offset(until);
  return `${iso(from)}/${same ? clock(until) : iso(until)}`;
}

/** Where times of a link end: profiles of other centuries are a slip of the pen, and axes and the server have their limits. */
const LATEST = Date.UTC(2200, 0);
const instant = (text: string) => (/^\d{4}-\d\d-\d\dT/.test(text) ? Math.min(LATEST, Math.max(0, Date.parse(text))) : Number.NaN);

/** Reads what {@link isoRange} wrote, and its ends in either order; undefined where it is no range. */
export function parseIsoRange(text: string): { from: number; until: number } | undefined {
  const [first, second, more] = text.split("/");
  if (!first || !second || more !== undefined) return undefined;
  // A plus sign turns into a space on its way through some mail and chat programs.
  const start = first.replace(" ", "+");
  const date = start.slice(0, 11);
  const zoneOf = (time: string) => /(Z|[+-]\d\d:\d\d)$/.exec(time)?.[0] ?? "";
  const other = second.replace(" ", "+");
  const end = other.includes("T") ? other : `${date}${other}${zoneOf(other) ? "" : zoneOf(start)}`;
  const [from, until] = [instant(start), instant(end)];
  if (from > until) return { from: until, until: from };
  return until > from ? { from, until } : undefined;
}

/** The zone for the status bar: `UTC+2`, `UTC−3:30`. */
export function zone(ms: number): string {
  const minutes = offsetMinutes(ms);
  if (minutes === 0) return "UTC";
  const size = Math.abs(minutes);
  const rest = size % 60 ? `:${pad(size % 60)}` : "";
  return `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${rest}`;
}

/** Whether two instants lie on one local day. */
export function sameDay(a: number, b: number): boolean {
  return wall(a).toISOString().slice(0, 10) === wall(b).toISOString().slice(0, 10);
}

function isoDate(date: Date): string {
  return `${pad(date.getUTCFullYear(), 4)}-${pad(date.getUTCMonth() + 1)}-${pad(date.getUTCDate())}`;
}

function offset(ms: number): string {
  const minutes = offsetMinutes(ms);
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}
