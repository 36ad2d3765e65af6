import { expect, test } from "vitest";
import { offersFor, placeAt, written } from "./complete";

/** The place at the `|` of a text. */
const at = (marked: string) => {
  const cursor = marked.indexOf("|");
  return placeAt(marked.replace("|", ""), cursor);
};

test("a label is offered at the start, after a joint and within a word", () => {
  for (const [text, typed] of [["|", ""], ["pro|", "pro"], ['process="a", |', ""], ['process="a" and ho|', "ho"], ['(host="a" or p|', "p"], ["{|", ""]] as const) {
    expect(at(text)).toMatchObject({ kind: "label", typed });
  }
  expect(at('pro|cess="x"')).toMatchObject({ kind: "label", from: 0, until: 7 });
});

test("operators and values follow", () => {
  expect(at("process |")).toMatchObject({ kind: "operator", label: "process", typed: "" });
  expect(at("process!|")).toMatchObject({ kind: "operator", typed: "!" });
  expect(at("process=|")).toMatchObject({ kind: "value", label: "process", operator: "=", typed: "" });
  expect(at('process=~"red|is"')).toMatchObject({ kind: "value", operator: "=~", typed: "red", from: 9, until: 16 });
  expect(at('a="x", process="re\\"d|')).toMatchObject({ kind: "value", typed: 're"d' });
  expect(at('process="x" |')).toMatchObject({ kind: "joint" });
});

test("where the text is broken nothing is offered", () => {
  for (const text of ['process="a" process|', "=|", "process=redis|", 'process?"|']) expect(at(text)).toBeUndefined();
});

test("offers are what fits, the best first, and hostile values are quoted", () => {
  const labels = ["event", "host", "process"];
  expect(offersFor(at("o|")!, labels, []).map(({ text }) => text)).toEqual(["host", "process"]);
  expect(offersFor(at("pro|")!, labels, []).map(({ text }) => text)).toEqual(["process"]);
  expect(offersFor(at("process|")!, labels, []).map(({ write }) => write)).toEqual(["process=", "process!=", "process=~", "process!~"]);
  const values = ['a "b"\n<b>', "redis"].map((value) => ({ value, note: "" }));
  expect(offersFor(at('process="b|')!, labels, values).map(({ write }) => write)).toEqual(['"a \\"b\\"\\n<b>"']);
});

test("an offer takes the place of what was typed", () => {
  const write = (marked: string, write: string) => {
    const text = marked.replace("|", "");
    return written(text, at(marked)!, { text: write, write, note: "" });
  };
  expect(write('ho|st="a"', "host")).toEqual({ text: 'host="a"', cursor: 4 });
  expect(write('process="re|dis", host="a"', '"nginx"')).toEqual({ text: 'process="nginx", host="a"', cursor: 15 });
  expect(write('process="a" |', ", ")).toEqual({ text: 'process="a", ', cursor: 13 });
});
