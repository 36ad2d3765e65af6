/** What can stand at the cursor of a selector. The server alone decides what is valid; this only offers. Pure. */

import { quote } from "../state/selector";

/** What is being typed, and the stretch of text that an offer takes the place of. */
export type Place = { from: number; until: number; typed: string } & (
  | { kind: "label" }
  | { kind: "operator"; label: string }
  | { kind: "value"; label: string; operator: string }
  | { kind: "joint" }
);

const LABEL = /^[A-Za-z_][A-Za-z0-9_]*/;
const OPERATOR = /^(=~|!~|!=|=)/;
const STRING = /^"(?:[^"\\]|\\.)*"|^'(?:[^'\\]|\\.)*'/s;
const OPEN_STRING = /^(["'])((?:[^"'\\]|\\.)*)$/s;

/** Where the cursor is in the grammar; undefined where nothing is offered. */
export function placeAt(text: string, cursor: number): Place | undefined {
  const before = text.slice(0, cursor);
  let at = 0;
  let expects: "label" | "operator" | "value" | "joint" = "label";
  let label = "";
  let operator = "";
  const place = (kind: Place["kind"], from: number, typed: string, until = cursor): Place =>
    ({ kind, label, operator, from, until, typed }) as Place;
  for (;;) {
    const rest = before.slice(at);
    const space = /^\s*/.exec(rest)?.[0].length ?? 0;
    const word = rest.slice(space);
    if (expects === "label") {
      if (/^[({]/.test(word)) {
        at += space + 1;
        continue;
      }
      const found = LABEL.exec(word)?.[0] ?? "";
      if (found.length === word.length) return place("label", at + space, found, cursor + (LABEL.exec(`a${text.slice(cursor)}`)?.[0].length ?? 1) - 1);
      if (!found) return undefined;
      label = found;
      at += space + found.length;
      expects = "operator";
    } else if (expects === "operator") {
      const found = OPERATOR.exec(word)?.[0];
      if (!word || (word === "!" && !found)) return place("operator", at + space, word);
      if (!found) return undefined;
      // `=` may still become `=~`.
      operator = found;
      at += space + found.length;
      expects = "value";
    } else if (expects === "value") {
      const whole = STRING.exec(word)?.[0];
      if (whole) {
        at += space + whole.length;
        expects = "joint";
        continue;
      }
      const open = OPEN_STRING.exec(word);
      if (!word || open) {
        const typed = open ? (open[2] as string).replace(/\\(.)/g, "$1") : "";
        const after = text.slice(cursor);
        const closing = open ? /^((?:[^"'\\]|\\.)*)["']/s.exec(after)?.[0].length ?? 0 : 0;
        return place("value", at + space, typed, cursor + closing);
      }
      return undefined;
    } else {
      const joint = /^(,|and\b|or\b|[)}])/.exec(word)?.[0];
      if (joint) {
        at += space + joint.length;
        expects = joint === ")" || joint === "}" ? "joint" : "label";
        continue;
      }
      return word === "" || /^[ao]\w*$/.test(word) ? place("joint", at + space, word) : undefined;
    }
  }
}

/** One thing that can be chosen. */
export interface Offer {
  /** What is shown. */
  text: string;
  /** What is written in the place. */
  write: string;
  /** What is told beside it. */
  note: string;
}

const OPERATORS: [string, string][] = [["=", "is"], ["!=", "is not"], ["=~", "matches"], ["!~", "does not match"]];

/** At most so many offers are shown. */
const MOST = 12;

/** Offers for a place; `labels` and `values` are what the server has. */
export function offersFor(place: Place, labels: readonly string[], values: readonly { value: string; note: string }[]): Offer[] {
  const fits = (text: string) => text.toLowerCase().includes(place.typed.toLowerCase());
  const starts = (text: string) => Number(text.toLowerCase().startsWith(place.typed.toLowerCase()));
  const best = (offers: Offer[]) => offers.sort((a, b) => starts(b.text) - starts(a.text)).slice(0, MOST);
  switch (place.kind) {
    case "label": {
      // A whole label goes on with what is asked of it.
      const known = labels.includes(place.typed) ? OPERATORS.map(([sign, note]) => ({ text: sign, write: place.typed + sign, note })) : [];
      return [...known, ...best(labels.filter((name) => fits(name) && name !== place.typed).map((name) => ({ text: name, write: name, note: "" })))];
    }
    case "operator":
      return OPERATORS.filter(([sign]) => sign.startsWith(place.typed)).map(([sign, note]) => ({ text: sign, write: sign, note }));
    case "value":
      return best(values.filter(({ value }) => fits(value)).map(({ value, note }) => ({ text: value || "(none)", write: quote(value), note })));
    case "joint":
      return [[",", "both"], ["or", "either"]].filter(([sign]) => (sign as string).startsWith(place.typed))
        .map(([sign, note]) => ({ text: sign as string, write: sign === "," ? ", " : " or ", note: note as string }));
  }
}

/** The text with an offer in its place, and where the cursor goes. */
export function written(text: string, place: Place, offer: Offer): { text: string; cursor: number } {
  const start = place.kind === "joint" ? text.slice(0, place.from).trimEnd() : text.slice(0, place.from);
  const head = start + offer.write;
  return { text: head + text.slice(place.until), cursor: head.length };
}

/** What is typed as the server takes it: between slashes an expression, else any part of a name. */
export function nameQuery(text: string): string {
  const wanted = text.trim();
  if (wanted.startsWith("/") && wanted.length > 1) return `~${wanted.slice(1).replace(/\/$/, "")}`;
  return `~(?i)${wanted.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")}`;
}
