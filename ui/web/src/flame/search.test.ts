import { expect, test } from "vitest";
import { flameOf } from "./fixture";
import { findMatches, parseQuery } from "./search";
import { buildTree, frameOf } from "./tree";

const tree = buildTree(
  flameOf({ "app;main;parse;parse;lex": 4, "app;main;parse": 3, "app;main;run@libparse.so": 2, "db;main;Query": 11 }),
);
const find = (text: string) => {
  const query = parseQuery(text);
  if (!query || "error" in query) throw new Error(`no query: ${text}`);
  return findMatches(tree, query.test);
};

test("each sample counts once, however often its stack matches", () => {
  expect(find("parse").samples).toBe(4 + 3 + 2);
  expect(find("main").samples).toBe(20);
});

test("only the outermost matches are stops", () => {
  expect(find("parse").tops.map((node) => frameOf(tree, node).name)).toEqual(["parse", "run"]);
});

test("plain text ignores case and reads every sign as itself", () => {
  expect(find("QUERY").samples).toBe(11);
  expect(find("a.n").samples).toBe(0);
});

test("an expression stands between slashes", () => {
  expect(find("/^(lex|query)$/").samples).toBe(15);
  expect(find("/^lex").samples).toBe(4);
});

test("a broken expression says so", () => {
  const query = parseQuery("/(/");
  expect(query).toHaveProperty("error");
  expect(parseQuery("  ")).toBeUndefined();
});
