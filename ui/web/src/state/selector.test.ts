import { expect, test } from "vitest";
import { equalityOf, quote, withEquality, withoutEquality } from "./selector";

test("a filter joins an empty and a filled selector", () => {
  expect(withEquality("", "process", "redis-server")).toBe('process="redis-server"');
  expect(withEquality('host="web-01"', "process", "redis")).toBe('host="web-01", process="redis"');
});

test("a filter replaces the equality on its label, and keeps other matchers", () => {
  expect(withEquality('process="a", process!="b",host="c"', "process", "d")).toBe(
    'process!="b", host="c", process="d"',
  );
});

test("commas and quotes inside a value do not split it", () => {
  const selector = withEquality('process="a,\\"b"', "thread", "x, y");
  expect(selector).toBe('process="a,\\"b", thread="x, y"');
  expect(equalityOf(selector, "process")).toBe('a,"b');
  expect(equalityOf(selector, "thread")).toBe("x, y");
});

test("any value survives the quotes", () => {
  for (const value of ['a"b', "back\\slash", "line\nbreak", "kworker/0:1", ""]) {
    expect(equalityOf(`process=${quote(value)}`, "process")).toBe(value);
  }
});

test("a filter can be taken away", () => {
  expect(withoutEquality('process="a", host="c"', "process")).toBe('host="c"');
  expect(withoutEquality('process!="a"', "process")).toBe('process!="a"');
  expect(equalityOf('process!="a"', "process")).toBeUndefined();
});

test("every way to write a selector of parts is understood", () => {
  expect(withEquality(`{ process='a' and host="c", }`, "process", "d")).toBe('host="c", process="d"');
  expect(equalityOf("{process = 'it\\'s'}", "process")).toBe("it's");
});

test("alternatives stay alternatives", () => {
  expect(withEquality('process="a" or process="b"', "host", "h")).toBe('(process="a" or process="b"), host="h"');
  expect(withEquality('(process="a" or pid="1") and host="x"', "host", "h")).toBe('(process="a" or pid="1"), host="h"');
  expect(equalityOf('process="a" or process="b"', "process")).toBeUndefined();
  expect(withEquality('process="salt and pepper or both"', "host", "h")).toBe('process="salt and pepper or both", host="h"');
});
