import { expect, test } from "vitest";
import { address, linkOf } from "./link";

test("a link names one state, and nothing else is one", () => {
  const id = "01HZX3V8K9QWERTYASDFGZXCVB";
  expect(linkOf(`?p=${id}`)).toBe(id);
  for (const other of ["", "?p=", `?p=${id}&t=now-1h`, `?p=${id}x`, "?p=../../status", "?tp=1", `?q=p=${id}`]) expect(linkOf(other)).toBeUndefined();
});

test("the default view is its path alone", () => {
  expect(address("/compare", "")).toBe("/compare");
  expect(address("/", "t=now-1h")).toBe("/?t=now-1h");
});
